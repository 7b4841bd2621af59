"""The classifier that begins with ImageNet's weights, and the linear parts of generator and encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

from core.errors import StudioError
from core.nets.build import NetworkConfig, Networks
from core.nets.classifier import filled
from core.nets.encoder import THUMBNAIL, ResidualEncoder
from core.nets.generator import StyleGenerator
from core.nets.layers import Trunk
from core.nets.lite import Lite0, load_imagenet, to_batch_norm
from core.precision import choose_precision, has_bfloat16
from core.training import losses, stages
from core.training.augment import vary_grain
from core.training.batch import make_batch
from core.training.dataset import Dataset
from core.training.leakage import LinearLeakage
from core.training.pretrained import find_pretrained, pretrain
from core.training.state import STAGES, TrainState
from main import main
from tests.synthetic import FOLDED, tiny_config, write_dataset
from tests.test_clip_fused import unsettle


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    """Timm's EfficientNet-Lite0 with random weights and statistics."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    unsettle(network)
    return network


def test_it_sees_what_the_reference_sees(reference: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(reference.state_dict(), tmp_path / "lite0.pth")
    network = Lite0()
    load_imagenet(network, tmp_path / "lite0.pth")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = reference.global_pool(reference.forward_features(images))  # type: ignore[operator]
        assert torch.allclose(network(images), wanted, atol=1e-4 * float(wanted.abs().max()))
        assert [m.shape[2] for m in network.maps(images)] == [32, 16, 8, 4]


def test_the_reference_can_begin_with_what_it_knows() -> None:
    torch.manual_seed(1)
    network = Lite0()
    other = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    other.load_state_dict(to_batch_norm(network, other))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = network(images)
        assert torch.allclose(other(images), wanted, atol=1e-4 * float(wanted.abs().max()))


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("other.pth", "text.pth", "missing.pth"):
        with pytest.raises(StudioError, match="no EfficientNet-Lite0"):
            load_imagenet(Lite0(), tmp_path / name)
    with pytest.raises(StudioError, match="no pretrained weights"):
        find_pretrained(str(tmp_path / "missing.pth"))
    trunk = Networks(tiny_config().network, [2, 3])
    with pytest.raises(StudioError, match="kind lite0"):
        pretrain("imagenet", trunk)


def test_the_package_of_the_recipe_holds_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = Networks(tiny_config(*FOLDED).network, [2, 3])
    pretrain("imagenet", networks)
    features = networks.classifier.features
    assert isinstance(features, Lite0) and float(features.stem.scale.detach().std()) > 0.1
    # without it the command says so before it makes anything
    monkeypatch.setattr("core.training.pretrained.PACKAGE", "no_such_package")
    data = write_dataset(tmp_path / "data", 12)
    assert main(["train", "faces-starter", "--data", str(data), "--run", str(tmp_path / "run")]) == 1
    assert "Install the Python package no-such-package" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_folded_networks_have_the_sizes_they_say() -> None:
    config = NetworkConfig(
        image_size=64, fold=2, base_side=16, residual_dim=5, embedding_dim=4, style_dim=16,
        generator_widths=(16, 16, 8, 8), encoder_widths=(8, 8, 16, 16), classifier="lite0",
    )  # fmt: skip
    networks = Networks(config, [2, 3])
    images = torch.randn(3, 3, 64, 64)
    assert networks.residual_encoder(images).shape == (3, 5)
    assert networks.generator(torch.randn(3, config.code_dim(2))).shape == images.shape
    with pytest.raises(ValueError, match="do not take"):
        Trunk(3, 64, (8, 8, 16, 16, 16), fold=2)
    # the base alone makes the picture where the deep part draws nothing
    generator = networks.generator
    assert isinstance(generator, StyleGenerator) and generator.base is not None
    for layer in generator.to_rgb:
        torch.nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
    torch.nn.init.normal_(generator.base.weight)
    codes = torch.randn(2, config.code_dim(2))
    flat = generator.base(codes).reshape(2, 3, 16, 16)
    flat = F.interpolate(flat, size=(64, 64), mode="bilinear")
    assert torch.allclose(generator(codes), flat, atol=1e-5)


def test_codes_are_read_from_pictures_before_the_encoder_learns(tmp_path: Path) -> None:
    """Codes that are components are a linear function of the pictures: solved for, and then at rest."""
    from core.training.loop import Trainer
    from core.training.run import Run

    config = tiny_config(*FOLDED, "disentanglement.images=0")
    dataset = Dataset.open(write_dataset(tmp_path / "data", 160))
    trainer = Trainer(config, dataset, Run.start(tmp_path / "run", config), torch.device("cpu"))
    trainer._enter(STAGES.index("disentanglement"))
    codes = trainer.state.residuals.weight.detach().clone()
    generator = trainer.state.networks.generator
    made = generator.base(trainer_codes(trainer, codes)).reshape(-1, 3, 16, 16)
    wanted = F.adaptive_avg_pool2d(dataset.batch(np.arange(len(dataset)), 32)[0], 16)
    assert float((made - wanted).detach().square().mean()) < 0.5 * float(wanted.var(0).mean())
    trainer._enter(STAGES.index("amortisation"))
    encoder = trainer.state.networks.residual_encoder
    assert isinstance(encoder, ResidualEncoder)
    images = dataset.batch(np.arange(len(dataset)), 32)[0]
    error = float((encoder(images) - codes).detach().square().mean())
    assert error < 0.3 * float(codes.var(0).mean())
    assert encoder.base.in_features == 3 * THUMBNAIL**2
    assert not encoder.base.weight.requires_grad and encoder.head.weight.requires_grad


def test_the_pictures_base_is_solved_for_anew_before_stage_3(tmp_path: Path) -> None:
    """What the encoder's codes say of the pictures is drawn, and a swap changes what it changed before."""
    from core.training.loop import Trainer
    from core.training.run import Run

    config = tiny_config(
        *FOLDED, "network.base_side=8", "disentanglement.images=0", "synthesis.residual_noise=0.01"
    )
    dataset = Dataset.open(write_dataset(tmp_path / "data", 160))
    trainer = Trainer(config, dataset, Run.start(tmp_path / "run", config), torch.device("cpu"))
    nets, average = trainer.state.networks, trainer.state.average
    trainer._enter(STAGES.index("disentanglement"))
    trainer._enter(STAGES.index("amortisation"))
    with torch.no_grad():
        for networks in (nets, average):
            networks.generator.base.weight.mul_(0.3)  # as though it had been solved for other codes
    images, mask = dataset.batch(np.arange(len(dataset)), 32)

    def errors_and_changes() -> tuple[float, torch.Tensor]:
        with torch.no_grad():
            residuals = nets.residual_encoder(images)
            codes = trainer_codes(trainer, residuals)
            swapped = codes.clone()
            swapped[:, : nets.embeddings.dim] = nets.embeddings.tables[0][1]
            made = nets.generator(codes)
            return float(((made - images) * mask).square().mean()), nets.generator(swapped) - made

    error, change = errors_and_changes()
    trainer._enter(STAGES.index("synthesis"))
    less, same = errors_and_changes()
    assert less < 0.6 * error
    assert float(change.abs().max()) > 0.01 and torch.allclose(same, change, atol=1e-4)
    assert torch.allclose(average.generator.base.weight, nets.generator.base.weight)


def trainer_codes(trainer, residuals: torch.Tensor) -> torch.Tensor:
    """Joined codes of all images, with the labels' or the classifier's values."""
    images = trainer.dataset.batch(np.arange(len(trainer.dataset)), trainer.size)[0]
    nets = trainer.state.networks
    with torch.no_grad():
        values = [v.softmax(1) for v in nets.classifier(images)]
        attributes = nets.embeddings.assign(values, torch.from_numpy(trainer.sampler.labels))
    return torch.cat([attributes.flatten(1), residuals], 1)


@pytest.mark.parametrize("name", STAGES)
def test_shorter_numbers_give_nearly_the_same_losses(name: str, tmp_path: Path) -> None:
    config = tiny_config(*FOLDED, "synthesis.swapping=0.1", "synthesis.leakage=0.1")
    dataset = Dataset.open(write_dataset(tmp_path / "data", 16))
    counts = [len(a.values) for a in dataset.attributes]
    images, mask = dataset.batch(np.arange(12), 32)
    labels = torch.from_numpy(dataset.label_array()[:12])
    batch = make_batch(images, images, mask, labels, torch.arange(12), 16, torch.Generator().manual_seed(0))
    found = []
    for precision in (torch.float32, torch.bfloat16):
        state = TrainState.fresh(config, counts, 16, torch.device("cpu"))
        state.precision = precision
        state.features = stages.perceptual_features(state.networks.classifier)
        state.optimizers = stages.make_optimizers(config, state, name)
        found.append(stages.step(config, state, batch, name, 0.5))
        assert all(p.dtype == torch.float32 for p in state.networks.parameters())
    assert found[0].keys() == found[1].keys()
    for key, value in found[0].items():
        assert float(found[1][key]) == pytest.approx(float(value), rel=0.05, abs=2e-3), key


def test_the_precision_is_the_devices_unless_named() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("bfloat16", cpu) == torch.bfloat16
    assert choose_precision("float32", cpu) == torch.float32
    assert choose_precision("auto", cpu) == (torch.bfloat16 if has_bfloat16(cpu) else torch.float32)
    assert not has_bfloat16(torch.device("mps"))


def test_the_first_layers_rest_while_the_classifier_learns_faces() -> None:
    config = tiny_config(*FOLDED)
    state = TrainState.fresh(config, [2, 3], 4, torch.device("cpu"))
    stages.make_optimizers(config, state, "warmup")
    features = state.networks.classifier.features
    assert isinstance(features, Lite0)
    assert not features.stem.weight.requires_grad
    assert not any(p.requires_grad for p in features.stages[1].parameters())
    assert all(p.requires_grad for p in features.stages[2].parameters())


def test_swap_losses_with_known_answers() -> None:
    sure = torch.tensor([[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0]])
    logits = [sure, sure.flip(1)]
    attribute, value = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1])
    before = torch.tensor([[1, 1], [0, -1], [-1, 0]])
    changed, kept = losses.swap(logits, attribute, value, before, torch.tensor(3.0))
    assert float(changed) == pytest.approx(0.0, abs=1e-6) and float(kept) == pytest.approx(0.0, abs=1e-6)
    # what is not seen at all costs 1 / 0.7 an image, and no more however sure the classifier is
    most = 1 / losses.BOUND
    changed, kept = losses.swap(logits, attribute, 1 - value, before, torch.tensor(3.0))
    assert float(changed) == pytest.approx(most, abs=1e-3) and float(kept) == pytest.approx(0.0, abs=1e-6)
    before[0, 1] = 0
    kept = losses.swap(logits, attribute, value, before, torch.tensor(3.0))[1]
    assert float(kept) == pytest.approx(most / 3, abs=1e-3)


def test_the_bounded_entropy_is_the_papers() -> None:
    p = torch.tensor([0.1, 0.5, 0.9])
    logits = torch.stack([p.log(), (1 - p).log()], 1)
    wanted = (1 - p**0.7) / 0.7
    assert torch.allclose(losses.bounded_entropy(logits, torch.zeros(3, dtype=torch.int64)), wanted)


def test_missing_labels_are_what_the_classifier_is_sure_of() -> None:
    labels = torch.tensor([[-1, 1], [-1, -1]])
    p = [torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]]), torch.tensor([[0.9, 0.1]] * 3)]
    p = [values[[0, 2]] for values in p]
    assert filled(labels, p).tolist() == [[0, 1], [1, 0]]
    p[0][1] = 0.5
    assert filled(labels, p).tolist() == [[0, 1], [-1, 0]]


def test_leakage_grows_with_the_width_of_codes_not_its_square() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (400, 1))
    codes = torch.randn(400, 4) + 2.0 * labels
    leakage = LinearLeakage(4, [2])
    leakage.fit(codes, labels)
    near, wide = leakage(codes), leakage(codes * 100)
    assert float(near.mean()) > 0.2 and float(wide.mean()) < 2000 * float(near.mean())
    assert float(leakage(codes.mean(0, keepdim=True))) == pytest.approx(0.0, abs=1e-6)


def test_grain_is_drawn_for_each_image_by_itself() -> None:
    images = torch.zeros(6, 3, 16, 16)
    whole = vary_grain(images, 0.25, 6, slice(None), np.random.default_rng(0))
    part = vary_grain(images[::2], 0.25, 6, slice(0, None, 2), np.random.default_rng(0))
    assert torch.equal(whole[::2], part)
    spread = whole.std((1, 2, 3))
    assert bool((spread == 0).any()) and bool((spread > 0).any()) and float(spread.max()) < 0.3
