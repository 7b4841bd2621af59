"""Every preset: it parses, names what there is, and takes two steps of each of its stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.attributes import AttributeSet, load_attribute_set
from core.benchmarks.catalogue import NAMES
from core.paths import resources
from core.training.config import load_config
from core.training.dataset import Dataset, Index, write_index
from core.training.loop import SAMPLED, train
from core.training.perceptual import VGG16Features, find_features
from core.training.run import Run
from core.training.state import STAGES
from main import main
from tests.synthetic import faces_attributes, write_dataset

PRESETS = sorted((resources() / "presets").glob("*.toml"))
# 256 and 128 px networks are cut to 32 px, with as many levels less
SMALLER = (
    "network.image_size=32", "network.fold=1", "warmup.pretrained=", "network.style_dim=32",
    "network.generator_widths=[32,32,16,16]",
    "network.encoder_widths=[8,16,16,32]", "network.classifier_widths=[8,16,16,32]",
    "network.discriminator_widths=[8,16,16,32]",
)  # fmt: skip


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(VGG16Features().state_dict(), path)
    return path


def attributes_for(name: str, factors: tuple[str, ...]) -> AttributeSet:
    file = resources() / "attributes" / f"{name}.toml"
    if file.exists():
        return load_attribute_set(file)
    assert name in NAMES
    faces = faces_attributes().attributes
    return AttributeSet(name, name, faces[: len(factors)])


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_takes_two_steps_of_every_stage(preset: Path, vgg16: Path, tmp_path: Path) -> None:
    whole = load_config(preset)
    assert whole.name == preset.stem or preset.stem.startswith("faces-starter")
    assert len(whole.network.generator_widths) == len(whole.network.encoder_widths)
    stages = [stage for stage in STAGES if getattr(whole, stage).steps]
    overrides = [f"{s}.steps=2" for s in stages] + [f"{s}.batch=3" for s in STAGES]
    overrides += SMALLER if whole.network.kind == "style" else ()
    if whole.reconstruction.perceptual_file:
        overrides.append(f"reconstruction.perceptual_file={vgg16}")
    config = load_config(preset, overrides)
    attributes = attributes_for(whole.attributes, whole.benchmark.attributes)
    assert len(attributes) >= 2

    rng = np.random.default_rng(0)
    size, channels, count = config.network.image_size, config.network.image_channels, 12
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "images.npy", rng.integers(0, 2, (count, size, size, channels), np.uint8) * 255)
    labels = np.stack([rng.integers(-1, len(a.values), count) for a in attributes], 1).astype(np.int8)
    np.save(folder / "labels.npy", labels)
    write_index(folder, Index(attributes, ["drawn"], [0] * count, [0] * count))
    run = Run.start(tmp_path / "run", config)
    model = train(config, Dataset.open(folder), run, "cpu")
    assert model is not None
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert [e["stage"] for e in events if e["kind"] == "step" and e["step"] == 2] == stages
    # a benchmark's pictures have one channel, its samples three
    assert len(list((run.folder / "samples").glob("*.png"))) == sum(s in stages for s in SAMPLED)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_presets_own_sizes_fit_its_networks(preset: Path) -> None:
    from core.nets.build import Networks, build_discriminator

    config = load_config(preset)
    with torch.device("meta"):
        networks = Networks(config.network, [3, 4])
        images = torch.zeros(1, config.network.image_channels, *[config.network.image_size] * 2)
        residual = networks.residual_encoder(images)
        codes = torch.zeros(1, config.network.code_dim(2))
        assert residual.shape == (1, config.network.residual_dim)
        assert networks.generator(codes).shape == images.shape
        assert [v.shape[1] for v in networks.classifier(images)] == [3, 4]
        if config.synthesis.adversarial:
            assert build_discriminator(config.network)(images).shape == (1,)
    if config.benchmark.name:
        assert config.benchmark.name in NAMES
        assert not config.mirror and config.benchmark.labels == 1000


def test_missing_vgg16_is_said_before_a_run_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    data = write_dataset(tmp_path / "data", 12)
    line = ["train", "ffhq-clip", "--data", str(data), "--run", str(tmp_path / "run"), "--device", "cpu"]
    assert main(line) == 1
    assert "VGG16 weights, which are not on this machine" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    # where torch keeps them they are found
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    assert find_features("vgg16") == kept


def test_the_shipped_features_stand_in_for_vgg16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.training.perceptual import feature_maps, features_record, load_features

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    shipped = find_features("default")
    assert shipped == find_features("faces") == find_features("") == resources() / "features.safetensors"
    assert features_record(shipped)["name"] == "faces"
    maps = feature_maps(load_features(shipped), torch.zeros(1, 3, 64, 64))
    assert [m.shape[2] for m in maps] == [64, 32, 16]
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    assert find_features("default") == kept
