"""What corrections teach, how precise labels are, and what quality views show."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.annotate import TopK
from core.annotate.flow import (
    kept_rule,
    label_by_clip,
    label_by_probe,
    scorer_of,
    training_labels,
    tried_by_clip,
)
from core.annotate.precision import audited, estimate, estimates, sample_to_check, sentence
from core.annotate.probe import MINIMUM, learn, propose, readiness
from core.annotate.quality import balance, confusion, disagreements
from core.attributes import Attribute, AttributeSet, Value
from core.collection import CLIP, PERSON, PROBE, Collection
from core.errors import StudioError
from core.metrics.intervals import wilson

DIM = 16
COLOURS = Attribute(
    "colour",
    "Colour",
    (Value("red", "Red", ("red",)), Value("green", "Green", ("green",)), Value("blue", "Blue", ("blue",))),
)


def clusters(count: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings (count, 16) around the first three axes, and which axis each belongs to."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    rows = np.eye(DIM)[labels] + rng.normal(scale=spread, size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


class Axes:
    """A model whose texts are the axes that `clusters` has."""

    key, dim = "axes", DIM

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        return np.eye(DIM, dtype=np.float32)[[("red", "green", "blue").index(text) for text in texts]]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """60 images with embeddings; red, green and blue are 20 each, in this order."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(60):
        Image.fromarray(np.full((4, 4, 3), 4 * i, np.uint8)).save(folder / f"{i:02d}.png")
    found = Collection.create(folder, AttributeSet("colours", "Colours", (COLOURS,)))
    found.scan()
    rng = np.random.default_rng(1)
    rows = np.repeat(np.eye(DIM)[:3], 20, axis=0) + rng.normal(scale=0.05, size=(60, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store = found.embeddings("axes", DIM)
    store.write(store.missing(), rows.astype(np.float32))
    yield found
    found.close()


# ---------------------------------------------------------------------------------------------------- probe


def test_a_probe_learns_and_its_probabilities_are_calibrated() -> None:
    embeddings, labels = clusters(3000, 0.45)
    given = np.where(np.arange(3000) < 1000, labels, -1)
    probe = learn(embeddings, given, COLOURS)
    assert probe.count == 1000 and probe.left_out == ()
    found = probe.probabilities(embeddings)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    rest = np.arange(3000) >= 1000
    right = found.argmax(axis=1)[rest] == labels[rest]
    # what it says of itself by cross-validation holds for images it hasn't seen
    assert probe.accuracy.low - 0.02 < right.mean() < probe.accuracy.high + 0.02
    assert 0.7 < right.mean() < 0.99, "a task without doubt would prove nothing"
    assert probe.calibration_error < 0.05
    assert abs(found[rest].max(axis=1).mean() - right.mean()) < 0.03


def test_values_with_too_few_labels_are_left_out_and_named() -> None:
    embeddings, labels = clusters(400, 0.2)
    blue = np.flatnonzero(labels == 2)
    labels[blue[MINIMUM - 1 :]] = -1
    probe = learn(embeddings, labels, COLOURS)
    assert probe.left_out == ("Blue",) and probe.values.tolist() == [0, 1]
    assert (probe.probabilities(embeddings)[:, 2] == 0).all()


def test_too_few_labels_are_said_with_how_many_more() -> None:
    labels = np.array([0] * MINIMUM + [1] * 3 + [-1] * 5)
    assert readiness(labels, COLOURS).endswith("5 more of “Green” will do.")
    assert readiness(np.full(4, -1), COLOURS).endswith("8 more of “Red” and 8 more of “Green” will do.")
    with pytest.raises(StudioError, match="5 more of “Green”"):
        learn(np.ones((16, DIM), np.float32), labels, COLOURS)


def test_equal_embeddings_and_missing_ones_do_not_break_it() -> None:
    labels = np.array([0, 1] * 20)
    embeddings = np.ones((40, DIM), np.float32)
    probe = learn(embeddings, labels, COLOURS)
    np.testing.assert_allclose(probe.probabilities(embeddings)[:, :2], 0.5, atol=0.05)
    embeddings[3] = np.nan
    assert learn(embeddings, labels, COLOURS).count == 39
    assert np.isnan(probe.probabilities(embeddings)[3]).all()


def test_proposals_are_sure_unsettled_and_tell_what_differs() -> None:
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.2, 0.8], [0.02, 0.98], [np.nan, np.nan]])
    present = np.array([0, 1, -1, -1, -1])
    found = propose(probabilities, present, np.array([False, False, False, True, False]))
    assert found.values.tolist() == [0, 0, -1, -1, -1]
    assert found.differs.tolist() == [False, True, False, False, False]
    assert np.isnan(found.probability[4])


# ---------------------------------------------------------------------------------------------------- flow


def test_clip_labels_a_collection_and_people_stay_right(collection: Collection) -> None:
    ids = collection.images().ids
    collection.set_labels("colour", ids[:2], 1, "person")
    scores = scorer_of(collection, Axes()).score(COLOURS)
    tried = tried_by_clip(collection, scores, TopK(20))
    assert (collection.labels("colour").source[2:] == 0).all(), "a trial changes nothing"
    done = label_by_clip(collection, scores, TopK(20))
    np.testing.assert_array_equal(tried.assignment.values, done.assignment.values)
    labels = collection.labels("colour")
    assert labels.value.tolist() == [1] * 2 + [0] * 18 + [1] * 20 + [2] * 20
    assert np.flatnonzero(done.skipped).tolist() == [0, 1] and done.set_.sum() == 58
    assert np.flatnonzero(audited(labels)).tolist() == [0, 1]
    reason = collection.reason("colour", int(ids[5]))
    assert reason is not None and reason["prompt"] == "red" and reason["model"] == "axes"
    assert 1 <= reason["rank"] <= 20 and reason["rule"].startswith("the 20 best")
    assert kept_rule(collection, "colour") == TopK(20)
    # a stricter rule takes back what CLIP no longer says, as one step
    label_by_clip(collection, scores, TopK(5))
    assert (collection.labels("colour").source == CLIP).sum() == 15 - len(
        set(np.flatnonzero(scores.rank[:, 0] < 5)) & {0, 1}
    )
    collection.undo()
    np.testing.assert_array_equal(collection.labels("colour").value, labels.value)


def test_corrections_teach_and_proposals_become_labels(collection: Collection) -> None:
    ids = collection.images().ids
    # people say that the second and third cluster are one colour
    collection.set_labels("colour", ids[:10], 0, "person")
    collection.set_labels("colour", ids[30:50], 1, "person")
    scorer = scorer_of(collection, Axes())
    labels = collection.labels("colour")
    probe = learn(scorer.embeddings, training_labels(labels), COLOURS)
    found = propose(probe.probabilities(scorer.embeddings), labels.value, labels.settled, 0.8)
    assert (found.values[10:20] == 0).all() and (found.values[50:] == 1).all()
    assert (found.values[:10] == -1).all(), "what a person has said is no proposal"
    label_by_probe(collection, probe, found, np.arange(50, 60))
    labels = collection.labels("colour")
    assert (labels.source[50:] == PROBE).all() and (labels.value[50:] == 1).all()
    reason = collection.reason("colour", int(ids[55]))
    assert reason is not None and reason["rule"] == "learned from 30 labels" and reason["probability"] >= 0.8


# ------------------------------------------------------------------------------------------------ precision


def test_an_estimate_is_wilsons_interval_and_counts_the_checks_that_halve_it() -> None:
    found = estimate(45, 50)
    by_hand = wilson(45, 50)
    assert (found.share, found.low, found.high) == (0.9, by_hand.low, by_hand.high)
    more = found.checks_to_halve
    hits = round(0.9 * (50 + more))
    assert estimate(hits, 50 + more).width <= found.width / 2 * 1.02
    fewer = 50 + more - 10
    assert estimate(round(0.9 * fewer), fewer).width > found.width / 2
    none = estimate(0, 0)
    assert math.isnan(none.share) and (none.low, none.high) == (0, 1)
    assert wilson(2, none.checks_to_halve).high - wilson(2, none.checks_to_halve).low < 0.62
    assert estimate(20, 20).low > 0.8 and estimate(20, 20).checks_to_halve > 20
    with pytest.raises(ValueError, match="hits"):
        estimate(3, 2)


def test_precision_is_of_what_clip_proposed_and_a_person_checked(collection: Collection) -> None:
    ids = collection.images().ids
    label_by_clip(collection, scorer_of(collection, Axes()).score(COLOURS), TopK(20))
    collection.set_labels("colour", ids[:3], 0, "person")  # right
    collection.set_labels("colour", ids[3:4], 2, "person")  # wrong
    collection.set_labels("colour", ids[20:21], -1, "person")  # none of them
    red, green, blue = estimates(collection.labels("colour"))
    assert (red.estimate.correct, red.estimate.checked, red.proposed) == (3, 4, 16)
    assert (green.estimate.correct, green.estimate.checked, green.proposed) == (0, 1, 19)
    assert blue.estimate.checked == 0
    assert sentence(COLOURS, blue) == "Colour, Blue: nothing checked yet."
    assert sentence(COLOURS, red).startswith("Colour, Red: 3 of 4 checked labels are right (30% to 95%); ")
    sample = sample_to_check(collection.labels("colour"), 0, 100)
    assert sorted(sample.tolist()) == list(range(4, 20)) and sample.tolist() != sorted(sample.tolist())
    # clearing a check takes it out of the estimate
    collection.set_labels("colour", ids[:1], -1, "none")
    assert estimates(collection.labels("colour"))[0].estimate.checked == 3


# -------------------------------------------------------------------------------------------- quality views


def test_confusion_and_balance(collection: Collection) -> None:
    ids = collection.images().ids
    label_by_clip(collection, scorer_of(collection, Axes()).score(COLOURS), TopK(19))
    collection.set_labels("colour", ids[:4], 0, "person")
    collection.set_labels("colour", ids[20:23], 2, "person")
    collection.set_labels("colour", ids[40:41], -1, "person")
    labels = collection.labels("colour")
    proposed = np.repeat([0, 1, 2], 20)
    found = confusion(labels, proposed)
    assert found.counts.tolist() == [[4, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]
    assert found.total == 8 and found.agreement == 0.5
    assert found.worst() == [("Green", "Blue", 3), ("Blue", "none", 1)]
    said = confusion(labels)
    assert said.total <= 8 and (said.counts <= found.counts).all()
    sums = balance(labels)
    assert sums.images == 60 and sums.none_of_them == 1 and sums.by_people == 7
    assert sums.labelled + sums.none_of_them + sums.unlabelled == 60
    assert sums.counts[:, PERSON].tolist() == [4, 0, 3]
    assert sums.progress == (60 - sums.unlabelled) / 60 and 1 < sums.imbalance < 2


def test_an_empty_view_is_no_error() -> None:
    from core.collection import LabelTable

    zero = np.zeros(0)
    empty = LabelTable(COLOURS, zero.astype(np.int16), zero.astype(np.uint8), zero, zero.astype(np.int16),
                       zero.astype(np.uint8))  # fmt: skip
    assert math.isnan(confusion(empty).agreement) and balance(empty).progress == 0
    assert math.isnan(balance(empty).imbalance)
    assert [e.estimate.checked for e in estimates(empty)] == [0, 0, 0]


def test_duplicates_with_different_labels_are_found(collection: Collection) -> None:
    folder, ids = collection.folder, collection.images().ids
    for i in (0, 1, 2):
        (folder / f"copy {i}.png").write_bytes((folder / f"{i:02d}.png").read_bytes())
    collection.scan()
    images = collection.images()
    collection.set_labels("colour", ids[:3], 0, "person")
    copies = [int(images.ids[images.paths.index(f"copy {i}.png")]) for i in (0, 1, 2)]
    collection.set_labels("colour", copies[:2], [0, 2], "person")
    found = disagreements(collection.duplicates(), collection.labels("colour"), images.positions)
    assert [(d.ids.tolist(), d.values.tolist()) for d in found] == [([int(ids[1]), copies[1]], [0, 2])]
