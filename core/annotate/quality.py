"""What to look at before labels are trusted: progress, balance, confusion, duplicates that disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from core.attributes import Attribute
from core.collection.tables import PERSON, SOURCES, LabelTable


@dataclass(frozen=True, eq=False)
class Confusion:
    """What CLIP said against what people say. `counts` (V, V + 1) int64: row CLIP's value, column the
    person's, the last column “none of them”."""

    attribute: Attribute
    counts: np.ndarray = field(repr=False)

    @property
    def total(self) -> int:
        """Images in it."""
        return int(self.counts.sum())

    @property
    def agreement(self) -> float:
        """Share on which both agree; nan without any."""
        return float(np.trace(self.counts)) / self.total if self.total else float("nan")

    def worst(self, most: int = 5) -> list[tuple[str, str, int]]:
        """The commonest disagreements: CLIP's title, the person's title (“none”), images."""
        titles = [v.title for v in self.attribute.values]
        off = self.counts.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(-off.ravel(), kind="stable")[:most]
        pairs = (np.unravel_index(i, off.shape) for i in order if off.ravel()[i])
        return [(titles[r], (*titles, "none")[c], int(off[r, c])) for r, c in pairs]


@dataclass(frozen=True, eq=False)
class Balance:
    """An attribute's labels. `counts` (V, S) int64: images of each value by source, as SOURCES;
    `none_of_them` images for which a person or an import said so; `unlabelled` those without any label."""

    attribute: Attribute
    counts: np.ndarray = field(repr=False)
    none_of_them: int
    unlabelled: int
    images: int

    @property
    def labelled(self) -> int:
        """Images with a value."""
        return int(self.counts.sum())

    @property
    def by_people(self) -> int:
        """Images to which a person gave a value."""
        return int(self.counts[:, PERSON].sum())

    @property
    def progress(self) -> float:
        """Share of images with a label or “none of them”, from 0 to 1."""
        return (self.labelled + self.none_of_them) / self.images if self.images else 0.0

    @property
    def imbalance(self) -> float:
        """Images of the commonest value for each of the rarest; inf if that has none, nan without labels."""
        totals = self.counts.sum(axis=1)
        if not totals.sum():
            return float("nan")
        return float(totals.max() / totals.min()) if totals.min() else float("inf")


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Images that are the same, or nearly, with different labels: `ids` (M,), `values` (M,) positions, -1 for
    those said to be none of them. Images without a label are left out."""

    attribute: Attribute
    ids: np.ndarray
    values: np.ndarray


def confusion(labels: LabelTable, proposed: np.ndarray | None = None) -> Confusion:
    """Of the images that a person has settled. `proposed` (N,) are CLIP's values, -1 for none; without them
    what CLIP or the probe said last, which is known where it gave a label."""
    said = labels.machine if proposed is None else proposed
    both = (labels.source == PERSON) & (said >= 0)
    count = len(labels.attribute.values)
    person = np.where(labels.value < 0, count, labels.value)[both].astype(np.int64)
    cells = said[both].astype(np.int64) * (count + 1) + person
    return Confusion(
        labels.attribute, np.bincount(cells, minlength=count * (count + 1)).reshape(count, count + 1)
    )


def balance(labels: LabelTable) -> Balance:
    """Class balance and progress of one attribute."""
    count, sources = len(labels.attribute.values), len(SOURCES)
    with_value = labels.value >= 0
    cells = labels.value[with_value].astype(np.int64) * sources + labels.source[with_value]
    counts = np.bincount(cells, minlength=count * sources).reshape(count, sources)
    none_of_them = int(((labels.value < 0) & labels.settled).sum())
    unlabelled = len(labels) - int(with_value.sum()) - none_of_them
    return Balance(labels.attribute, counts, none_of_them, unlabelled, len(labels))


def disagreements(
    groups: Iterable[np.ndarray], labels: LabelTable, positions: Callable[[np.ndarray], np.ndarray]
) -> list[Disagreement]:
    """Groups (ids of duplicates) whose labels differ. `positions` as ImageTable.positions."""
    found = []
    for group in groups:
        ids = np.asarray(group, np.int64)
        at = positions(ids)
        ids, at = ids[at >= 0], at[at >= 0]
        has = (labels.value[at] >= 0) | labels.settled[at]
        values = labels.value[at[has]]
        if len(np.unique(values)) > 1:
            found.append(Disagreement(labels.attribute, ids[has], values))
    return found
