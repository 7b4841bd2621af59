"""Benchmarks from images to numbers: preparation, metrics on known codes, the command, VGG16's features."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.attributes import AttributeSet
from core.benchmarks.base import Grid, attributes_of
from core.benchmarks.catalogue import NAMES
from core.cli import benchmark as command
from core.errors import StudioError
from core.model import Codes, Model
from core.training.benchmark_data import prepare_benchmark, read_factors
from core.training.benchmark_run import measure_benchmark
from core.training.dataset import Dataset
from core.training.loop import train
from core.training.perceptual import VGG16_LAYERS, VGG16Features, features_record, load_features
from core.training.run import Run
from main import main
from tests.synthetic import tiny_config, write_dataset


class Dots:
    """Three factors; an image's left, middle and right are as bright as theirs."""

    name = "dots"
    factor_names = ("a", "b", "c")
    factor_sizes = (4, 5, 200)

    def __init__(self) -> None:
        self.grid = Grid(self.factor_sizes)

    def __len__(self) -> int:
        return len(self.grid)

    def factors(self, indices: np.ndarray) -> np.ndarray:
        return self.grid.factors(indices)

    def images(self, indices: np.ndarray) -> np.ndarray:
        part = self.factors(indices) * np.array([60, 50, 1])
        return part.repeat([2, 2, 4], 1)[:, None, :, None].repeat(8, 1).astype(np.uint8)


class Known:
    """A model whose codes are computed from the images: those of the attributes, and the residual."""

    def __init__(self, leaks: bool) -> None:
        self.leaks = leaks
        self.card = SimpleNamespace(attributes=attributes_of(Dots(), ["b", "a"]), image_size=8)

    def encode(self, images: np.ndarray) -> Codes:
        a, b, c = (images[:, 0, x, 0].astype(np.int64) // s for x, s in ((0, 60), (2, 50), (4, 1)))
        attributes = torch.from_numpy(np.stack([np.stack([b, -b], 1), np.stack([a, a * a], 1)], 1)).float()
        residual = torch.from_numpy(np.stack([c >= 100, c % 7, a if self.leaks else c % 3], 1)).float()
        return Codes(residual, attributes, (np.eye(5)[b], np.eye(4)[a]))

    def decode(self, codes: Codes) -> np.ndarray:
        return np.zeros((len(codes.residual), 8, 8, 1), np.float32)


def test_a_benchmark_is_prepared_with_some_labels_and_all_factors(tmp_path: Path) -> None:
    benchmark, told = Dots(), []
    prepare_benchmark(
        benchmark, tmp_path, ["c", "a"], 1100, 50, 400, seed=3, progress=lambda *n: told.append(n)
    )
    dataset = Dataset.open(tmp_path)
    names, factors = read_factors(tmp_path)
    assert names.names == benchmark.factor_names and told == [(1000, 1500), (1500, 1500)]
    indices = benchmark.grid.indices(factors)
    assert len(np.unique(indices)) == 1500
    np.testing.assert_array_equal(dataset.images, benchmark.images(indices))
    labels, known = dataset.label_array(), dataset.label_array() >= 0
    # 200 values don't fit in a byte
    np.testing.assert_array_equal(labels[known], factors[:, [2, 0]][known])
    assert known[:1100].sum(0).tolist() == [50, 50] and known[1100:].all()
    assert (len(dataset.part("train")), len(dataset.part("held_out"))) == (1100, 400)
    prepare_benchmark(benchmark, tmp_path / "again", ["c", "a"], 1100, 50, 400, seed=3)
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "labels.npy"), labels)


@pytest.mark.parametrize(
    ("attributes", "numbers", "sentence"),
    [
        (["a"], (4000, 10, 1), "can't be drawn"),
        (["a"], (10, 11, 1), "can't be drawn"),
        (["d"], (10, 1, 1), "no factor"),
        ([], (10, 1, 1), "not named"),
    ],
)
def test_what_a_benchmark_cannot_give_is_said(tmp_path, attributes, numbers, sentence) -> None:
    with pytest.raises(StudioError, match=sentence):
        prepare_benchmark(Dots(), tmp_path, attributes, *numbers)


@pytest.mark.parametrize("leaks", [False, True])
def test_known_codes_have_the_numbers_they_should(tmp_path: Path, leaks: bool) -> None:
    prepare_benchmark(Dots(), tmp_path, ["b", "a"], 50, 10, 600)
    result = measure_benchmark(Known(leaks), Dataset.open(tmp_path))  # type: ignore[arg-type]
    json.dumps(result, allow_nan=False)
    for name in ("disentanglement", "completeness", "informativeness"):
        assert result[name] > 0.95
    assert result["mig"] > 0.9 and result["sap"] > 0.3
    assert result["accuracy"] == {"b": 1.0, "a": 1.0}
    leak = result["leakage"]["a"]
    assert leak["chance"] == 0.25
    if leaks:
        assert leak["accuracy"] > 0.9 and result["leakage_bent"]["a"]["accuracy"] > 0.9
        assert result["distance_correlation"]["a"] > 0.1
    else:
        assert leak["accuracy"] < 0.45 and abs(result["distance_correlation"]["a"]) < 0.05
    assert result["leakage"]["b"]["accuracy"] < 0.45
    assert list(result["residual"]) == list(result["residual_bent"]) == ["c"]
    assert result["residual_factors"] == ["c"]
    with pytest.raises(StudioError, match="too few"):
        measure_benchmark(Known(leaks), Dataset.open(tmp_path), limit=5)  # type: ignore[arg-type]


def test_other_folders_and_models_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    data = write_dataset(tmp_path / "faces", 20)
    with pytest.raises(StudioError, match="holds no benchmark"):
        measure_benchmark(Model.load(tiny_model, "cpu"), Dataset.open(data))
    prepare_benchmark(Dots(), tmp_path / "dots", ["a"], 5, 1, 30)
    with pytest.raises(StudioError, match="not factors of dots"):
        measure_benchmark(Model.load(tiny_model, "cpu"), Dataset.open(tmp_path / "dots"))


SMALL = (
    "warmup.steps=3", "warmup.batch=8", "disentanglement.steps=4", "disentanglement.batch=8",
    "amortisation.steps=2", "amortisation.batch=8", "synthesis.steps=3", "synthesis.batch=8",
    "benchmark.held_out=120", 'benchmark.attributes=["scale","shape"]',
)  # fmt: skip


def test_a_benchmark_runs_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    settings = [part for text in SMALL for part in ("--set", text)]
    line = ["benchmark", "dsprites", "--preset", "dsprites-quick", "--images", "60", "--labels", "20",
            "--seed", "4", "--run", str(folder), "--device", "cpu", *settings]  # fmt: skip
    stop = folder / "control" / "stop"
    assert main([*line, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert json.loads((folder / "metrics.json").read_text()) == result
    assert result["residual_factors"] == ["orientation", "x", "y"] and result["labels"] == 20
    assert not result["original"] and result["images"] == 120
    assert Model.load(folder / "model", "cpu").card.network.image_channels == 1
    events = [json.loads(text) for text in (folder / "events.jsonl").read_text().splitlines()]
    assert events[0]["kind"] == "start" and events[0]["perceptual"] == {}
    # the same command again has nothing left to train, also where somebody had asked it to stop
    stop.touch()
    weights = (folder / "model" / "weights.safetensors").read_bytes()
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "| D | C | I | SAP | MIG |" in said and "| scale |" in said and "| orientation |" in said
    assert (folder / "model" / "weights.safetensors").read_bytes() == weights
    for other, sentence in (
        ([*line, "--set", "disentanglement.steps=5"], "other settings"),
        ([*line, "--original", str(tmp_path)], "Leave --original out"),
        (["benchmark", "shapes3d", "--preset", "dsprites-quick"], "is not for shapes3d"),
    ):
        assert main(other) == 1
        assert sentence in capsys.readouterr().err
    assert main(["benchmark", "faces"]) == 2
    assert main([*line, "--labels", "-1"]) == 2


def test_the_command_knows_every_benchmark() -> None:
    assert command.NAMES == NAMES


# ---- VGG16


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A file of the layers of torchvision's VGG16 before its classifier, not trained."""
    from torchvision.models import vgg

    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["D"])
    path = tmp_path_factory.mktemp("vgg") / "vgg16-00000000.pth"
    torch.save({f"features.{name}": t for name, t in features.state_dict().items()}, path)
    return path, features


def test_vgg16_gives_what_torchvisions_does(
    vgg16: tuple[Path, torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, theirs = vgg16
    ours = load_features(path)
    assert isinstance(ours, VGG16Features) and not any(p.requires_grad for p in ours.parameters())
    images = torch.rand(1, 3, 32, 32)
    normal = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    with torch.no_grad():
        maps = ours.maps(images * 2 - 1)
        for layer, found in zip(VGG16_LAYERS, maps, strict=True):
            assert torch.allclose(theirs[: layer + 1](normal), found, atol=1e-4)  # type: ignore[index]
        assert ours.maps(torch.zeros(1, 1, 32, 32))[0].shape == (1, 64, 32, 32)
    assert features_record(path)["name"] == "vgg16"
    few = {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    save_file(few, tmp_path / "few.safetensors")
    torch.save(few, tmp_path / "few.pth")
    for name in ("few.safetensors", "few.pth"):
        with pytest.raises(StudioError, match="no perceptual features"):
            load_features(tmp_path / name)


def test_a_run_with_vgg16_says_so_and_goes_on(
    vgg16: tuple[Path, torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a slow machine's step would else be broken off, and the run still be in the warm-up
    monkeypatch.setattr("core.training.interrupt.LOOK_EVERY", math.inf)
    config = tiny_config(
        f"reconstruction.perceptual_file={vgg16[0]}", "warmup.steps=1", "disentanglement.steps=2",
        "disentanglement.batch=2", "amortisation.steps=1", "synthesis.steps=1", "synthesis.batch=2",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 40)).part("train")
    run = Run.start(tmp_path / "run", config)
    run.folder.joinpath("control", "stop").touch()
    for _ in range(2):  # the first step of the warm-up, the first of stage 1
        assert train(config, dataset, run, "cpu") is None
    first = json.loads((run.folder / "events.jsonl").read_text().split("\n")[0])
    assert first["kind"] == "start" and first["perceptual"] == features_record(vgg16[0])
    run.folder.joinpath("control", "stop").unlink()
    stored = run.load_checkpoint()
    assert stored is not None and not any(name.startswith("features.") for name in stored[0])
    run.save_checkpoint(stored[0], {**stored[1], "features": "another"})
    with pytest.raises(StudioError, match="not the one"):
        train(config, dataset, run, "cpu")
    run.save_checkpoint(stored[0], stored[1])
    assert train(config, dataset, run, "cpu") is not None
    assert run.seconds() > 0


def test_images_without_attributes_are_not_trained_on(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 20)
    dataset = Dataset.open(data)
    dataset.index.attributes = AttributeSet("none", "None", ())
    with pytest.raises(StudioError, match="no attributes"):
        train(tiny_config(), dataset, Run.start(tmp_path / "run", tiny_config()), "cpu")
