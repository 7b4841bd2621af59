"""How far swaps go, how it is found, and directions taken out of residual codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.attributes import Attribute, AttributeSet, Value
from core.errors import StudioError
from core.metrics.probe import probe
from core.model import Model, load_card
from core.nets.build import Networks
from core.nets.strengths import FURTHEST, SwapStrengths
from core.recipe import Swap
from core.training import finetune
from core.training.calibration import GOAL, Seen, calibrate
from core.training.dataset import Dataset
from core.training.erasure import erase, refit
from core.training.evaluate import encode_all, pixels_of
from core.training.loop import train
from core.training.run import Run
from core.training.solving import ridge
from main import main
from tests.synthetic import FOLDED, draw_faces, tiny_config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(write_dataset(tmp_path_factory.mktemp("calibrated") / "data", 1500, hidden=0.1))


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Path:
    """A model with linear parts, as the starter model has them."""
    folder = tmp_path_factory.mktemp("folded")
    config = tiny_config(*FOLDED, "guide.steps=0", "network.residual_dim=24", "network.base_side=8")
    model = train(config, data.part("train"), Run.start(folder / "run", config), "cpu")
    assert model is not None
    model.save(folder / "model")
    return folder / "model"


# ---- strengths


def test_swaps_reach_by_the_numbers() -> None:
    strengths = SwapStrengths([2, 3])
    tables = [torch.tensor([[0.0], [4.0]]), torch.tensor([[0.0], [3.0], [6.0]])]
    codes = torch.tensor([[[0.0], [6.0]], [[4.0], [3.0]]])
    to_second = torch.tensor([[1, -1], [1, -1]])
    # to the embedding, and nothing else
    assert strengths(codes, tables, to_second).flatten().tolist() == [4, 6, 4, 3]
    assert torch.equal(strengths(codes, tables, torch.full((2, 2), -1)), codes)
    with torch.no_grad():
        strengths.reach[1] = 1.25
    # 25 % beyond, of which an image that is there already sees nothing
    assert strengths(codes, tables, to_second).flatten().tolist() == [5, 6, 4, 3]
    half = strengths(codes, tables, to_second, torch.tensor([[0.5, 0.0]]))
    assert half.flatten().tolist() == [2.5, 6, 4, 3]
    both = strengths(codes, tables, torch.tensor([[1, 0], [0, 2]]))
    assert both.flatten().tolist() == [5, 0, 0, 6]
    strengths.reset()
    assert strengths(codes, tables, to_second).flatten().tolist() == [4, 6, 4, 3]


def test_strengths_are_kept_with_a_model_and_older_models_have_none(tiny_model: Path, tmp_path: Path) -> None:
    model = Model.load(tiny_model, "cpu")
    codes = model.encode(draw_faces(2, 32, seed=3)[0])
    plain = model.swap(codes, [Swap("smile", "smiling")])
    k = model.card.attributes.index("smile")
    row = int(model.networks.strengths.starts[k]) + model.card.attributes["smile"].index("smiling")
    with torch.no_grad():
        model.networks.strengths.reach[row] = 1.25
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", "cpu")
    further = again.swap(again.encode(draw_faces(2, 32, seed=3)[0]), [Swap("smile", "smiling")])
    # weights are kept in 16 bits
    moved, wanted = plain.attributes[:, k] - codes.attributes[:, k], further.attributes[:, k]
    torch.testing.assert_close(wanted, codes.attributes[:, k] + 1.25 * moved, atol=1e-2, rtol=1e-2)
    weights = load_file(tmp_path / "model" / "weights.safetensors")
    older = {name: t for name, t in weights.items() if not name.startswith("strengths.")}
    assert len(older) == len(weights) - 1
    save_file(older, tmp_path / "model" / "weights.safetensors")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    (tmp_path / "model" / "card.json").write_text(json.dumps(card | {"weights_sha256": ""}))
    old = Model.load(tmp_path / "model", "cpu")
    assert (old.networks.strengths.reach == 1).all()


def test_a_fine_tuned_model_keeps_its_bases_strengths(tiny_model: Path) -> None:
    base = Model.load(tiny_model, "cpu")
    old = base.card.attributes
    hair, smile = old["hair_color"], old["smile"]
    own = base.networks.strengths
    with torch.no_grad():
        own.reach[int(own.starts[old.index("hair_color")]) + hair.index("blond")] = 1.3
    hat = Attribute("hat", "Hat", (Value("none", "None"), Value("hat", "Hat")))
    shorter = msgspec.structs.replace(hair, values=hair.values[::-1][:3])
    domain = AttributeSet("other", "Other", (hat, smile, shorter))
    grown = Networks(base.card.network, [len(a.values) for a in domain])
    finetune.grow(base.networks, base.card, domain, grown)
    row = int(grown.strengths.starts[2]) + shorter.index("blond")
    assert grown.strengths.reach[row].item() == pytest.approx(1.3)
    assert (grown.strengths.reach != 1).sum() == 1


# ---- calibration


def test_what_is_beyond_the_goal_is_worth_little() -> None:
    def seen(success: float, kept: float) -> float:
        return Seen(success, np.array([1.0, kept, kept])).score

    assert seen(GOAL, GOAL) > seen(1.0, GOAL - 0.02) > seen(1.0, 0.8)
    assert seen(0.9, 0.8) > seen(0.7, 0.88) > seen(0.75, 0.8)


def test_calibration_finds_strengths_that_score_no_worse(tiny_model: Path, data: Dataset) -> None:
    model = Model.load(tiny_model, "cpu")
    before = {name: t.clone() for name, t in model.networks.state_dict().items()}
    told: list[tuple[int, int]] = []
    found = calibrate(model, data, 48, progress=lambda done, of: told.append((done, of)))
    count = sum(len(a.values) for a in model.card.attributes)
    assert told == [(i + 1, count) for i in range(count)]
    strengths = model.networks.strengths
    assert (strengths.reach != 1).any() and (strengths.reach >= 1).all()
    assert (strengths.reach <= FURTHEST).all()
    # nothing but strengths has changed
    for name, tensor in model.networks.state_dict().items():
        assert name.startswith("strengths.") or torch.equal(tensor, before[name])
    assert sum(after - first for first, after in found.values()) > 0
    # from the same images the same, whatever it was before
    reach = strengths.reach.clone()
    assert calibrate(model, data, 48) == found
    assert torch.equal(strengths.reach, reach)


def test_calibrate_makes_a_new_model(
    folded: Path, data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folded / "weights.safetensors").read_bytes()
    command = ["calibrate", str(folded), "--data", str(data.folder), "--device", "cpu", "--images", "24"]
    out = tmp_path / "new"
    only = ["--attribute", "glasses", "--attribute", "hair_color"]
    assert main([*command, *only, "--out", str(out), "--erase", "hair_color:2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == str(out) and set(said) >= {"success", "preserved"}
    card = load_card(out)
    assert (card.training["erased"], card.training["calibration_images"]) == ("hair_color:2", 24)
    assert card.training["calibrated"] == "glasses, hair_color"
    assert card.metrics == {} and (folded / "weights.safetensors").read_bytes() == before
    strengths = Model.load(out, "cpu").networks.strengths
    assert (strengths.reach[: int(strengths.starts[card.attributes.index("hair_color")])] == 1).all()
    assert main([*command, "--out", str(out)]) == 1
    assert "is not empty" in capsys.readouterr().err
    for wrong, told in (("hair", "is not a direction"), ("hair_color:9", "there is no number 9"),
                        ("hat:1", "no attribute")):  # fmt: skip
        assert main([*command, "--out", str(tmp_path / "no"), "--erase", wrong]) == 1
        assert told in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


# ---- erasure


def test_erased_directions_tell_a_probe_nothing(folded: Path, data: Dataset, tmp_path: Path) -> None:
    model = Model.load(folded, "cpu")
    part = data.part("train")
    images, labels = pixels_of(part, 32)[0], part.label_array()
    before = encode_all(model, images).residual.numpy()
    k = model.card.attributes.index("hair_color")
    erase(model, data, [("hair_color", number) for number in (1, 2, 3, 4)])
    after = encode_all(model, images).residual.numpy()
    assert not np.allclose(before, after, atol=1e-3)
    np.testing.assert_allclose(after.mean(0), before.mean(0), atol=1e-3)
    # codes of all hair colours have the same mean, so that no linear probe tells them apart

    def apart(codes: np.ndarray) -> float:
        means = [codes[labels[:, k] == value].mean(0) for value in range(5)]
        return float(np.ptp(np.stack(means), axis=0).max())

    assert apart(after) < 0.05 * apart(before)
    (there,), (gone,) = (probe(c, labels[:, [k]], folds=5) for c in (before, after))
    assert there.above_guess > 0.1 and gone.above_guess < 0.03
    with pytest.raises(StudioError, match="can't be changed so"):
        shutil.copytree(folded, tmp_path / "copy")
        model.networks.residual_encoder = torch.nn.Sequential()
        erase(model, data, [("smile", 1)])


def test_the_linear_part_makes_good_what_it_can(folded: Path, data: Dataset) -> None:
    model = Model.load(folded, "cpu")
    images = pixels_of(data.part("train"), 32)[0][:200]

    def error() -> float:
        return float(((model.decode(model.encode(images)) - images / 255) ** 2).mean())

    with torch.no_grad():
        model.networks.generator.base.weight[:, -24:] *= 0.5
    worse = error()
    refit(model, data, 0.0)
    assert error() < worse


def test_ridge_is_least_squares_and_explains_by_the_last_entries_only() -> None:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(500, 3, generator=rng)
    y = x @ torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]) + torch.tensor([0.5, -1.0])
    weight, bias = ridge(x, y, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(
        weight.T, torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), atol=1e-2, rtol=0
    )
    torch.testing.assert_close(bias, torch.tensor([0.5, -1.0]), atol=1e-2, rtol=0)
    last, _ = ridge(x, y, torch.zeros(3, dtype=torch.float64), last=1)
    assert not last[:, :2].any() and last[0, 2].item() == pytest.approx(3.0, abs=1e-2)
