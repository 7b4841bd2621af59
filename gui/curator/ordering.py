"""Which images the grid shows, and in what order: arrays in, positions out. Qt-free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.annotate import Assignment, Scores
from core.collection import CLIP, IMPORT, PERSON, PROBE, ImageTable, LabelTable

# name, title, and whether the largest comes first
ORDERS = (
    ("score", "Score", True),
    ("margin", "Margin, smallest first", False),
    ("entropy", "Entropy, largest first", True),
    ("rank", "Rank", False),
    ("conflict", "Conflicts first", True),
    ("disagreement", "CLIP and learned differ", True),
    ("name", "File name", False),
    ("date", "Date, newest first", True),
)
FILTERS = (
    ("all", "All images"),
    ("unlabelled", "Unlabelled"),
    ("labelled", "Labelled"),
    ("conflicts", "Conflicts"),
    ("disagreement", "Differing from learned"),
    ("clip", "Labelled by CLIP"),
    ("probe", "Learned labels"),
    ("import", "Imported"),
    ("person", "Changed by me"),
)
_SOURCES = {"clip": CLIP, "probe": PROBE, "import": IMPORT, "person": PERSON}


@dataclass(frozen=True)
class Arrangement:
    """What a person chose: `value` is whose scores count (-1: each image's own best), `labelled` keeps only
    images with that label (-1: any, -2: “none of them”)."""

    order: str = "score"
    reverse: bool = False
    show: str = "all"
    value: int = -1
    labelled: int = -1


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the images of one attribute, all aligned with `images`.

    `learned` (N, V) float32 are the probe's probabilities, None where there is no probe.
    """

    images: ImageTable
    labels: LabelTable
    scores: Scores | None = None
    assignment: Assignment | None = None
    learned: np.ndarray | None = None


def proposals(known: Known) -> np.ndarray:
    """(N,) int16: what Enter accepts: a machine's label, or else its last word, or else the best score."""
    labels = known.labels
    found = np.where(labels.source < IMPORT, labels.value, np.int16(-1))
    found = np.where(found < 0, labels.machine, found)
    if known.scores is not None:
        found = np.where(found < 0, known.scores.best, found)
    return found.astype(np.int16)


def learned_values(learned: np.ndarray) -> np.ndarray:
    """(N,) int16: the probe's value of each image, -1 where it has none."""
    known = np.isfinite(learned).all(axis=1)
    return np.where(known, np.where(np.isnan(learned), -1, learned).argmax(axis=1), -1).astype(np.int16)


def shown_scores(known: Known, value: int) -> np.ndarray:
    """(N,) float32: the score of `value`, or of each image's label, or else of its best; nan: unknown."""
    count = len(known.images)
    if known.scores is None:
        return np.full(count, np.nan, np.float32)
    if value >= 0:
        return known.scores.values[:, value]
    column = np.where(known.labels.value >= 0, known.labels.value, known.scores.best).clip(0)
    return known.scores.values[np.arange(count), column]


def arrange(known: Known, wanted: Arrangement) -> np.ndarray:
    """(M,) int64 positions of the images to show, in order; equal ones in the order of their positions."""
    rows = np.flatnonzero(_mask(known, wanted))
    keys = _keys(known, wanted)
    if keys is None:
        order = np.argsort(np.array(known.images.paths, object)[rows], kind="stable")
    else:
        order = np.argsort(keys[rows], kind="stable")  # nan comes last
    return rows[order[::-1] if wanted.reverse else order]


def _mask(known: Known, wanted: Arrangement) -> np.ndarray:
    labels = known.labels
    mask = np.ones(len(known.images), bool)
    if wanted.labelled >= 0:
        mask &= labels.value == wanted.labelled
    elif wanted.labelled == -2:
        mask &= (labels.value < 0) & labels.settled
    if wanted.show == "unlabelled":
        mask &= labels.source == 0
    elif wanted.show == "labelled":
        mask &= labels.source > 0
    elif wanted.show == "conflicts":
        mask &= known.assignment.conflicts if known.assignment is not None else False
    elif wanted.show == "disagreement":
        mask &= _differs(known)
    elif wanted.show in _SOURCES:
        mask &= labels.source == _SOURCES[wanted.show]
    return mask


def _differs(known: Known) -> np.ndarray:
    """(N,) bool: the probe says another value than CLIP's scores."""
    if known.learned is None or known.scores is None:
        return np.zeros(len(known.images), bool)
    learned = learned_values(known.learned)
    return (learned >= 0) & (known.scores.best >= 0) & (learned != known.scores.best)


def _keys(known: Known, wanted: Arrangement) -> np.ndarray | None:
    """(N,) float: rising keys, None for names."""
    order, scores = wanted.order, known.scores
    if order == "name":
        return None
    if order == "date":
        return -known.images.modified
    nothing = np.zeros(len(known.images), np.float32)
    if scores is None:
        return nothing
    if order == "score":
        return -shown_scores(known, wanted.value)
    if order == "margin":
        return scores.margin
    if order == "entropy":
        return -scores.entropy
    if order == "rank":
        return scores.rank[:, wanted.value] if wanted.value >= 0 else scores.rank.min(axis=1)
    if order == "conflict":
        if known.assignment is None:
            return scores.margin
        return np.where(known.assignment.conflicts, 0, 1e6) + np.nan_to_num(scores.margin, nan=1e3)
    if known.learned is None:
        return nothing
    difference = np.abs(known.learned - scores.probability).max(axis=1)
    return -np.where(_differs(known), 1 + difference, difference)
