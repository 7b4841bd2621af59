"""A collection's labels from CLIP: its scores, a rule, and what was set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from core.annotate.probe import Probe, Proposals
from core.annotate.rules import Assignment, Rule, TopK, assign
from core.annotate.scores import BLOCK, TEMPERATURE, Scorer, Scores
from core.collection import Change, Collection, LabelTable


class TextModel(Protocol):
    """What scoring needs of a `core.clip.ClipModel`."""

    key: str
    dim: int

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(T, D) unit embeddings."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a rule did, or would do, to an attribute. `labels` are the labels now, `change` what others must
    repaint, None for a trial.

    `set_` (N,) bool: has the label that the rule gave it. `skipped` (N,) bool: the rule had a label for it,
    but a person or an import had settled it. `conflicts` (N,) bool: left without a label because several
    values claimed it.
    """

    assignment: Assignment
    labels: LabelTable = field(repr=False)
    change: Change | None = field(repr=False)

    @property
    def set_(self) -> np.ndarray:
        """(N,) bool."""
        return (self.assignment.values >= 0) & ~self.labels.settled

    @property
    def skipped(self) -> np.ndarray:
        """(N,) bool."""
        return (self.assignment.values >= 0) & self.labels.settled

    @property
    def conflicts(self) -> np.ndarray:
        """(N,) bool."""
        return self.assignment.conflicts & (self.assignment.values < 0) & ~self.labels.settled


def embeddings_of(collection: Collection, model: TextModel, dtype: Any = np.float32) -> np.ndarray:
    """(N, D) of the present images, aligned with `images()`; nan rows where there is none by this model."""
    images = collection.images()
    store = collection.embeddings(model.key, model.dim)
    rows = np.full((len(images), model.dim), np.nan, dtype)
    there = np.flatnonzero(store.have)
    for start in range(0, len(there), BLOCK):
        part = there[start : start + BLOCK]
        rows[part] = store.rows(images.ids[part])
    return rows


def scorer_of(collection: Collection, model: TextModel, temperature: float = TEMPERATURE) -> Scorer:
    """A scorer of the collection's embeddings by this model, aligned with `images()`; nan rows where missing.

    Keeps (N, D) float32 in memory: 205 MB for 100,000 images with 512 numbers.
    """
    return Scorer(embeddings_of(collection, model), model.embed_texts, temperature, model.key)


def label_by_clip(collection: Collection, scores: Scores, rule: Rule, title: str = "") -> Labelled:
    """Set what the rule says, as one step that can be undone, and take back what CLIP said before.

    `scores` must be of the collection's present images. What people and imports say stays; so does what the
    probe says where the rule has nothing to say. The rule is kept with the collection.
    """
    name = scores.attribute.name
    images = collection.images()
    if len(images) != len(scores):
        raise ValueError(f"scores of {len(scores)} images for a collection of {len(images)}")
    assignment = assign(rule, scores)
    reasons = assignment.reasons(np.arange(len(scores)))
    change = collection.set_labels(name, images.ids, assignment.values, "clip", reasons, title)
    keep_rule(collection, name, rule)
    return Labelled(assignment, collection.labels(name), change)


def tried_by_clip(collection: Collection, scores: Scores, rule: Rule) -> Labelled:
    """What `label_by_clip` would do, without doing it."""
    return Labelled(assign(rule, scores), collection.labels(scores.attribute.name), None)


def label_by_probe(
    collection: Collection, probe: Probe, proposals: Proposals, positions: np.ndarray, title: str = ""
) -> Change:
    """Take over the probe's proposals for the images at `positions` (M,), as one step."""
    positions = np.asarray(positions, np.int64)
    positions = positions[proposals.values[positions] >= 0]
    ids = collection.images().ids[positions]
    reasons = proposals.reasons(probe, positions)
    values = proposals.values[positions]
    return collection.set_labels(probe.attribute.name, ids, values, "probe", reasons, title)


def training_labels(labels: LabelTable) -> np.ndarray:
    """(N,) int64: labels by people and imports, -1 elsewhere; what a probe learns from."""
    return np.where(labels.settled, labels.value, -1).astype(np.int64)


def kept_rule(collection: Collection, attribute: str) -> Rule:
    """The rule that the attribute was labelled with last; TopK if there was none, or it can't be read."""
    kept = collection.setting(f"rule:{attribute}")
    if kept is not None:
        try:
            return msgspec.convert(kept, type=Rule)
        except msgspec.ValidationError:
            pass  # of a newer program: the paper's rule is always right to begin with
    return TopK()


def keep_rule(collection: Collection, attribute: str, rule: Rule) -> None:
    """Remember it for the next time."""
    collection.keep_setting(f"rule:{attribute}", msgspec.to_builtins(rule))


def conflict_list(labelled: Labelled, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Each image that was left without a label: its path, and the values that claim it with their scores."""
    scores = labelled.assignment.scores
    names = [value.name for value in scores.attribute.values]
    found = []
    for position in np.flatnonzero(labelled.conflicts).tolist():
        claims = labelled.assignment.claimants(position)
        claimed = {name: round(float(scores.values[position, names.index(name)]), 5) for name in claims}
        found.append({"file": paths[position], "claimed_by": claimed})
    return found
