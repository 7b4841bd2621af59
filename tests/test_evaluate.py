"""Evaluation and its judge, on drawings whose labels are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.cli.evaluate import judge_for
from core.errors import StudioError
from core.model import Model, load_card
from core.paths import resources
from core.recipe import Refinement
from core.training.dataset import Dataset
from core.training.evaluate import encode_all, evaluate, pixels_of, recall
from core.training.fidelity import refined_metrics
from core.training.finetune import FittedJudge
from core.training.judge import SHIPPED, SIZE, Judge, images_of, shipped_judge, train_judge
from core.training.perceptual import load_features, save_features
from tests.synthetic import draw_faces, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("judged") / "data"
    return Dataset.open(write_dataset(folder, 1200, hidden=0.0))


@pytest.fixture(scope="module")
def judge(data: Dataset) -> Judge:
    return train_judge(data, 32, 120, batch=32)


def test_the_judge_sees_what_is_drawn(judge: Judge, data: Dataset) -> None:
    images, labels = draw_faces(200, 32, seed=11)
    seen = judge.values(images)
    for name in ("hair_color", "glasses"):
        k = data.attributes.index(name)
        assert (seen[:, k] == labels[:, k]).mean() > 0.9


def test_a_saved_judge_judges_the_same(judge: Judge, tmp_path: Path) -> None:
    judge.save(tmp_path / "judge.safetensors")
    images, _ = draw_faces(20, 32, seed=12)
    again = Judge.load(tmp_path / "judge.safetensors")
    np.testing.assert_array_equal(again.values(images), judge.values(images))
    (tmp_path / "broken.safetensors").write_bytes(b"no judge")
    with pytest.raises(StudioError, match="holds no judge"):
        Judge.load(tmp_path / "broken.safetensors")


def test_a_judge_is_for_the_images_that_it_did_not_learn_from(
    judge: Judge, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(data, index=msgspec.structs.replace(data.index, names=[f"{i}.jpg" for i in data.rows]))
    (tmp_path / SHIPPED).parent.mkdir()
    Judge(judge.network, judge.size, images_of(named)).save(tmp_path / SHIPPED)
    monkeypatch.setattr("core.training.judge.resources", lambda: tmp_path)
    found = shipped_judge(named)
    assert found is not None and found.learned == images_of(named)
    # of images without names nobody knows, and of those split otherwise it may have seen what is held out
    assert not images_of(data) and shipped_judge(data) is None
    split = list(reversed(named.index.split))
    other = replace(named, index=msgspec.structs.replace(named.index, split=split))
    assert shipped_judge(other) is None
    assert judge_for(named, None, SIZE, 1).learned == found.learned


def test_the_judge_that_comes_along_is_there() -> None:
    judge = Judge.load(resources() / SHIPPED)
    assert len(judge.learned) == 64 and judge.size == SIZE
    card = load_card(resources() / "models" / "starter-faces")
    assert judge.network.value_counts == [len(a.values) for a in card.attributes]


def test_evaluation_measures_shares_of_held_out_images(tiny_model: Path, judge: Judge, data: Dataset) -> None:
    model = Model.load(tiny_model, "cpu")
    metrics = evaluate(model, data, judge, limit=60)
    names = {a.name for a in model.card.attributes}
    assert metrics["images"] == len(data.part("held_out")) > 60 == metrics["swapped_images"]
    for key in ("accuracy", "swap_success", "swap_preserved", "swap_success_kept_detail"):
        shares = metrics[key]
        assert isinstance(shares, dict) and set(shares) == names
        assert all(0 <= share <= 1 for share in shares.values())
    # the classifier has seen such drawings; the reconstruction is at least better than a black picture
    accuracy, psnr = metrics["accuracy"], metrics["reconstruction_psnr"]
    assert isinstance(accuracy, dict) and accuracy["hair_color"] > 0.5
    assert isinstance(psnr, float) and psnr > 8
    # swaps are of 60 images, all else of all that are held out
    fewer = evaluate(model, data, None, limit=20)
    assert fewer == {key: value for key, value in metrics.items() if key in fewer}
    assert fewer.keys().isdisjoint({"swap_success", "swapped_images", "judge_accuracy"})
    with pytest.raises(StudioError, match="No images are held out"):
        evaluate(model, replace(data, rows=data.part("train").rows), None)


def test_recall_counts_every_value_alike() -> None:
    labels = np.array([[0, 1]] * 8 + [[1, -1]] * 2)
    found = np.array([[0, 1]] * 7 + [[1, -1]] + [[0, 0], [1, 0]])
    # seven of eight, and one of two; of the second attribute one value is there, once unseen
    assert recall(found, labels, ["a", "b"]) == {"a": pytest.approx((7 / 8 + 1 / 2) / 2), "b": 1.0}
    assert recall(found, np.full((10, 2), -1), ["a", "b"]) == {}


def test_swaps_after_refine_are_judged_by_one_that_was_fitted_too(
    tiny_model: Path, judge: Judge, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.training.fidelity.STEPS", Refinement(steps=4))
    model = Model.load(tiny_model, "cpu")
    images, inside = pixels_of(data.take(np.arange(2)), model.card.image_size)
    codes = encode_all(model, images)
    fitted = FittedJudge(judge, data.attributes, model.card.attributes)
    found = refined_metrics(model, fitted, images, inside, codes)
    names = {a.name for a in model.card.attributes}
    for key in ("unrefined_swap_success", "refined_swap_success", "refined_swap_success_kept_detail"):
        shares = found[key]
        assert isinstance(shares, dict) and set(shares) == names
    assert found == refined_metrics(model, judge, images, inside, codes)
    before, after = found["unrefined_psnr"], found["refined_psnr"]
    assert isinstance(before, float) and isinstance(after, float) and after > before
    assert "refined_swap_success" not in refined_metrics(model, None, images, inside, codes)


def test_perceptual_features_come_back_from_their_file(tiny_model: Path, tmp_path: Path) -> None:
    import torch

    from core.nets.layers import Trunk

    model = Model.load(tiny_model, "cpu")
    trunk = model.networks.classifier.features
    assert isinstance(trunk, Trunk)
    save_features(trunk, model.card.network.classifier_widths, 32, tmp_path / "features.safetensors")
    again = load_features(tmp_path / "features.safetensors")
    images = torch.randn(2, 3, 32, 32)
    for a, b in zip(trunk.maps(images), again.maps(images), strict=True):
        assert torch.allclose(a, b, atol=1e-2)
    (tmp_path / "none.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(StudioError, match="no perceptual features"):
        load_features(tmp_path / "none.safetensors")
