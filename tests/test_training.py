"""Training through the real loop: all stages, resume, failure."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs
from safetensors.torch import load_file

from core.errors import StudioError
from core.model import Model
from core.nets.classifier import AttributeClassifier
from core.recipe import Swap
from core.training import losses, stages
from core.training.batch import make_batch
from core.training.config import load_config
from core.training.dataset import Dataset, Index, balance_weights, write_index
from core.training.loop import Trainer, train
from core.training.run import Run
from core.training.state import STAGES, TrainState
from tests.synthetic import draw_faces, faces_attributes, tiny_config, write_dataset

CPU = torch.device("cpu")


def test_trained_model_saves_and_loads_the_same(tiny_model: Path) -> None:
    model = Model.load(tiny_model, "cpu")
    images, _ = draw_faces(3, 32, seed=9)
    codes = model.encode(images)
    decoded = model.decode(codes)
    assert decoded.shape == (3, 32, 32, 3)
    assert decoded.min() >= 0 and decoded.max() <= 1
    assert all(np.allclose(p.sum(1), 1, atol=1e-5) for p in codes.probabilities)
    again = Model.load(tiny_model, "cpu")
    np.testing.assert_array_equal(again.decode(again.encode(images)), decoded)


def test_swap_moves_only_its_attribute_by_its_strength(tiny_model: Path) -> None:
    model = Model.load(tiny_model, "cpu")
    codes = model.encode(draw_faces(2, 32, seed=3)[0])
    k = model.card.attributes.index("hair_color")
    table = model.networks.embeddings.tables[k]
    value = model.card.attributes["hair_color"].index("blond")
    full = model.swap(codes, [Swap("hair_color", "blond")])
    assert torch.allclose(full.attributes[:, k], table[value].expand(2, -1), atol=1e-6)
    others = [i for i in range(len(model.card.attributes)) if i != k]
    assert torch.equal(full.attributes[:, others], codes.attributes[:, others])
    assert torch.equal(full.residual, codes.residual)
    half = model.swap(codes, [Swap("hair_color", "blond", 0.5)])
    assert torch.allclose(half.attributes[:, k], (codes.attributes[:, k] + table[value]) / 2, atol=1e-6)
    assert torch.equal(model.swap(codes, [Swap("hair_color", "blond", 0.0)]).attributes, codes.attributes)
    with pytest.raises(StudioError, match="no value"):
        model.swap(codes, [Swap("hair_color", "green")])


def test_a_damaged_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("card.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    raw = bytearray((tmp_path / "weights.safetensors").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(raw)
    with pytest.raises(StudioError, match="damaged"):
        Model.load(tmp_path, "cpu")
    (tmp_path / "card.json").write_text('{"name": 3}')
    with pytest.raises(StudioError, match="not valid"):
        Model.load(tmp_path, "cpu")
    with pytest.raises(StudioError, match="no model"):
        Model.load(tmp_path / "nowhere", "cpu")


def test_the_classifier_learns_what_is_drawn(tmp_path: Path) -> None:
    config = tiny_config(
        "warmup.steps=150", "disentanglement.steps=0", "amortisation.steps=0", "synthesis.steps=0"
    )
    dataset = Dataset.open(write_dataset(tmp_path / "data", 400))
    model = train(config, dataset.part("train"), Run.start(tmp_path / "run", config), "cpu")
    assert model is not None
    images, labels = draw_faces(200, 32, seed=5)
    probabilities = model.encode(images).probabilities
    for name in ("hair_color", "glasses"):
        k = model.card.attributes.index(name)
        assert (probabilities[k].argmax(1) == labels[:, k]).mean() > 0.9


def _gradient_setup(tmp_path: Path, labels: torch.Tensor) -> tuple[TrainState, stages.Losses]:
    config = tiny_config(
        "disentanglement.classification=0", "disentanglement.entropy=0", "reconstruction.perceptual=0"
    )
    dataset = Dataset.open(write_dataset(tmp_path / "data", 16))
    state = TrainState.fresh(config, [len(a.values) for a in dataset.attributes], 16, torch.device("cpu"))
    state.optimizers = stages.make_optimizers(config, state, "disentanglement")
    images, mask = dataset.batch(np.arange(8), 32)
    batch = make_batch(
        images, images, mask, labels, torch.arange(8), config.network.residual_dim, torch.Generator()
    )
    return state, stages.step(config, state, batch, "disentanglement", 0.5)


def test_unlabelled_images_do_not_move_value_embeddings(tmp_path: Path) -> None:
    state, _ = _gradient_setup(tmp_path, torch.full((8, 7), -1))
    for table in state.networks.embeddings.tables:
        assert table.grad is None or not table.grad.any()
    assert state.networks.classifier.head.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_a_label_moves_its_own_embedding_and_not_the_classifier(tmp_path: Path) -> None:
    state, _ = _gradient_setup(tmp_path, torch.zeros(8, 7, dtype=torch.int64))
    for table in state.networks.embeddings.tables:
        assert table.grad is not None
        assert table.grad[0].abs().sum() > 0
        assert not table.grad[1:].any()
    gradient = state.networks.classifier.head.weight.grad
    assert gradient is None or not gradient.any()


def test_reconstruction_ignores_what_the_photo_lacks() -> None:
    wanted, made = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    made[..., :2] = 1.0
    mask = torch.ones(1, 1, 4, 4)
    assert losses.reconstruction(made, wanted, mask, 1, 0, 0).item() == pytest.approx(0.5)
    mask[..., :2] = 0
    assert losses.reconstruction(made, wanted, mask, 1, 0, 0).item() == 0


def test_classification_and_entropy_use_disjoint_images() -> None:
    logits = [torch.tensor([[10.0, 0.0], [0.0, 0.0]])]
    labels = torch.tensor([[0], [-1]])
    assert losses.classification(logits, labels).item() == pytest.approx(0, abs=1e-3)
    assert losses.entropy(logits, labels).item() == pytest.approx(np.log(2), abs=1e-6)


def test_balance_favours_rare_values() -> None:
    labels = np.array([[0]] * 90 + [[1]] * 10)
    weights = balance_weights(labels, 1.0)
    assert weights[-1] / weights[0] == pytest.approx(5.0)  # common values are not held below the mean


def test_batches_give_what_was_stored(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 20))
    positions = np.array([7, 3, 3, 12])
    images, mask = dataset.batch(positions, 32)
    stored = torch.from_numpy(np.asarray(dataset.images[positions])).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert torch.allclose(torch.where(mask > 0, images, 0), torch.where(mask > 0, stored, 0), atol=1e-6)
    assert mask[3, 0, :4].sum() == 0 and mask[0].all()


def test_settings_can_be_overridden_and_are_checked(tmp_path: Path) -> None:
    preset = tmp_path / "p.toml"
    preset.write_text('name = "a"\ntitle = "A"\n')
    config = load_config(preset, ["disentanglement.steps=7", "title=Other words", "network.kind=vae"])
    assert (config.disentanglement.steps, config.title, config.network.kind) == (7, "Other words", "vae")
    for wrong in ("disentanglement.stepz=7", "seed=often", "nothing"):
        with pytest.raises(StudioError):
            load_config(preset, [wrong])


SCRIPT = """
    import sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from core.training.dataset import Dataset
    from core.training.loop import train
    from core.training.run import Run
    from tests.synthetic import tiny_config
    folder = Path(sys.argv[1])
    config = tiny_config("synthesis.adversarial_after=0.0", "synthesis.swapping=0.1")
    run = Run(folder) if folder.exists() else Run.start(folder, config)
    train(config, Dataset.open(Path(sys.argv[2])).part("train"), run, "cpu").save(folder / "model")
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    root = Path(__file__).parent.parent
    subprocess.run([*command, str(tmp_path / "whole"), str(data)], cwd=root, check=True)
    killed, kills = tmp_path / "killed", 0
    while True:
        child = subprocess.Popen([*command, str(killed), str(data)], cwd=root)
        before = _stages_seen(killed)
        while child.poll() is None and kills < 3:
            # kill in the middle of a stage that this process entered itself, each time a later one
            if _stages_seen(killed) > before + 1:
                child.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        if child.wait() == 0:
            break
    assert kills == 3
    whole, resumed = (load_file(f / "model" / "weights.safetensors") for f in (tmp_path / "whole", killed))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def _stages_seen(run: Path) -> int:
    events = run / "events.jsonl"
    return events.read_text().count('"kind": "stage"') if events.exists() else 0


def test_a_diverged_run_stops_and_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    config = tiny_config("disentanglement.lr_generator=1e30", "warmup.steps=8")
    dataset = Dataset.open(write_dataset(tmp_path / "data")).part("train")
    run = Run.start(tmp_path / "run", config)
    with pytest.raises(StudioError, match="diverged in stage disentanglement"):
        train(config, dataset, run, "cpu")
    stored = run.load_checkpoint()
    assert stored is not None
    assert all(bool(t.isfinite().all()) for t in stored[0].values())


def test_a_run_stops_when_asked_and_goes_on(tmp_path: Path) -> None:
    config = tiny_config(
        "warmup.steps=4", "disentanglement.steps=4", "amortisation.steps=2", "synthesis.steps=2"
    )
    dataset = Dataset.open(write_dataset(tmp_path / "data")).part("train")
    run = Run.start(tmp_path / "run", config)
    stop = run.folder / "control" / "stop"
    stop.touch()
    assert train(config, dataset, run, "cpu") is None
    stop.unlink()
    again, same = Run.resume(run.folder)
    assert same == config
    assert train(config, dataset, again, "cpu") is not None
    with pytest.raises(StudioError, match="holds a run already"):
        Run.start(run.folder, config)


class _Impatient:
    """Wants an answer again and again, in the middle of steps: after ever more looks."""

    held_out = None

    def __init__(self) -> None:
        self.looks, self.patience, self.answered = 0, 0, 0
        self.in_stages: set[int] = set()

    def waits(self) -> bool:
        self.looks += 1
        return self.looks > self.patience

    def answer(self, trainer: Trainer) -> None:
        self.looks, self.patience = 0, self.patience + 5
        self.answered += 1
        self.in_stages.add(trainer.state.stage)

    def after_step(self, trainer: Trainer) -> None:
        self.looks = self.patience = 0


def test_a_step_that_is_broken_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.training.interrupt.LOOK_EVERY", -1.0)
    config = tiny_config(
        "warmup.steps=2", "disentanglement.steps=3", "amortisation.steps=2", "synthesis.steps=3",
        "synthesis.adversarial=0.1", "synthesis.adversarial_after=0.0", "synthesis.leakage=0.1",
        "synthesis.swapping=0.1", "guide.steps=2",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 60)).part("train")
    plain = train(config, dataset, Run.start(tmp_path / "plain", config), "cpu")
    watch = _Impatient()
    broken = train(config, dataset, Run.start(tmp_path / "broken", config), "cpu", watch=watch)
    # every step was broken off in its forward and in its backward half, in every stage
    assert watch.answered > 10 * 4 and watch.in_stages == {0, 1, 2, 3, 4}
    assert plain is not None and broken is not None
    a, b = plain.networks.state_dict(), broken.networks.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_batch_in_pieces_gives_the_whole_batchs_gradients(tmp_path: Path) -> None:
    """Parts of unequal masks and labels add up, in every stage."""
    config = tiny_config(
        "synthesis.adversarial=0.1", "synthesis.adversarial_after=0.0", "disentanglement.rehearsal=0.5",
        "disentanglement.rehearsal_after=0.0", "synthesis.swapping=0.1", "guide.steps=1",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 24))
    counts = [len(a.values) for a in dataset.attributes]
    images, mask = dataset.batch(np.arange(11), 32)
    labels = torch.from_numpy(dataset.label_array()[:11])
    batch = make_batch(images, images, mask, labels, torch.arange(11), 16, torch.Generator().manual_seed(0))
    for name in STAGES:
        found = []
        for pieces in (1, 4):
            state = TrainState.fresh(config, counts, 24, torch.device("cpu"))
            state.features = stages.perceptual_features(state.networks.classifier)
            state.optimizers = stages.make_optimizers(config, state, name)
            losses_of = stages.step(config, state, batch, name, 0.5, pieces)
            gradients = {n: p.grad for n, p in state.networks.named_parameters() if p.grad is not None}
            if name == "disentanglement":
                assert state.residuals.weight.grad is not None
                gradients["codes"] = state.residuals.weight.grad.to_dense()
            if name == "guide":
                assert len(state.guides) == 1
                gradients = {n: p.grad for n, p in state.guides[0].named_parameters() if p.grad is not None}
            if name == "synthesis":
                assert state.discriminator is not None
                gradients |= {n: p.grad for n, p in state.discriminator.named_parameters()}  # type: ignore[misc]
            found.append((losses_of, gradients))
        (loss_a, one), (loss_b, four) = found
        assert one.keys() == four.keys() and len(one) > 4
        for key in one:
            scale = float(one[key].abs().max())
            assert torch.allclose(one[key], four[key], atol=1e-4 * scale + 1e-7), (name, key)
        for key in loss_a:
            assert float(loss_a[key]) == pytest.approx(float(loss_b[key]), rel=1e-4), (name, key)


def test_stage_3_may_have_a_noise_of_its_own(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 24))
    images, mask = dataset.batch(np.arange(8), 32)
    labels = torch.from_numpy(dataset.label_array()[:8])
    batch = make_batch(images, images, mask, labels, torch.arange(8), 16, torch.Generator().manual_seed(0))
    silent = replace(batch, noise=torch.zeros_like(batch.noise))
    errors = []
    config = tiny_config("disentanglement.residual_noise=2.0")
    for own in (None, 0.0):
        config = structs.replace(config, synthesis=structs.replace(config.synthesis, residual_noise=own))
        for drawn in (batch, silent):
            state = TrainState.fresh(config, [len(a.values) for a in dataset.attributes], 24, CPU)
            state.features = stages.perceptual_features(state.networks.classifier)
            state.optimizers = stages.make_optimizers(config, state, "synthesis")
            errors.append(float(stages.step(config, state, drawn, "synthesis", 0.5)["pixels"]))
    # that of stage 1 where nothing else is said; else its own, which is none here
    assert errors[0] != errors[1] and errors[2] == errors[3] == errors[1]


def test_short_memory_makes_batches_smaller_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(
        "warmup.steps=2", "warmup.batch=16", "disentanglement.steps=2", "amortisation.steps=1",
        "synthesis.steps=2",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 60)).part("train")
    plain = train(config, dataset, Run.start(tmp_path / "plain", config), "cpu")
    forward, most = AttributeClassifier.forward, 5

    def small(self: AttributeClassifier, images: torch.Tensor) -> list[torch.Tensor]:
        if len(images) > most and torch.is_grad_enabled() and self.training:
            raise torch.OutOfMemoryError("no memory for that many")
        return forward(self, images)

    monkeypatch.setattr(AttributeClassifier, "forward", small)
    run, said = Run.start(tmp_path / "run", config), []
    model = train(config, dataset, run, "cpu", say=said.append)
    assert model is not None and plain is not None
    assert len(said) == 2 and "4 images at a time" in said[1]
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert [e["pieces"] for e in events if e["kind"] == "memory"] == [2, 4]
    # the same training, in smaller pieces
    for a, b in zip(plain.networks.parameters(), model.networks.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-2)

    most = 0
    with pytest.raises(StudioError, match="one image at a time"):
        train(config, dataset, Run.start(tmp_path / "none", config), "cpu")


def test_the_best_checkpoint_is_kept_beside_the_last(tmp_path: Path) -> None:
    config = tiny_config(
        "warmup.steps=2", "disentanglement.steps=2", "amortisation.steps=1", "synthesis.steps=9",
        "checkpoint_every=3",
    )  # fmt: skip
    whole = Dataset.open(write_dataset(tmp_path / "data", 60))
    run = Run.start(tmp_path / "run", config)
    train(config, whole.part("train"), run, "cpu", held_out=whole.part("held_out"))
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    errors = [e["held_out_error"] for e in events if e["kind"] == "best"]
    assert errors and errors == sorted(errors, reverse=True)
    best = Run(run.folder)
    best.checkpoint_file = best.best_file
    stored = best.load_checkpoint()
    assert stored is not None and stored[1]["best"] == errors[-1]


def test_memory_stays_flat_however_many_images(tmp_path: Path) -> None:
    """A million images of 64 px, 12 GB in a sparse file: only the rows of batches are ever read."""
    script = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from core.training.dataset import Dataset
        dataset = Dataset.open(Path(sys.argv[1]))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rng = np.random.default_rng(0)
        for _ in range(40):
            dataset.batch(rng.choice(len(dataset), 64), 64)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    count = 1_000_000
    np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (count, 64, 64, 3))
    attributes = faces_attributes()
    np.save(tmp_path / "labels.npy", np.full((count, len(attributes)), -1, np.int8))
    write_index(tmp_path, Index(attributes, ["drawn"], [0] * count, [0] * count))
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True
    )
    # pages of a map count while they are in memory: 40 batches of 64 images touch 40 MB of them
    assert int(done.stdout) < 150
