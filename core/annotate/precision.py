"""How many of CLIP's labels are right, estimated from those that a person has checked.

A label is audited when CLIP (or the probe) proposed it and a person then said what is true: the same value,
another, or none of them. The estimate holds for all proposals if those checked are like the rest; who checks
the doubtful ones first sees a lower share. `sample_to_check` picks some without preference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.attributes import Attribute
from core.collection.tables import PERSON, LabelTable
from core.metrics.intervals import wilson

Z = 1.96
# as many as a person would ever want to be told
MOST_CHECKS = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """Of `checked` labels `correct` were right: a `share` with its 95 % interval `low`..`high` (Wilson).

    Nothing checked: share is nan, the interval 0..1. `checks_to_halve`: how many more checks would make the
    interval half as wide, if they come out as those before.
    """

    correct: int
    checked: int
    share: float
    low: float
    high: float
    checks_to_halve: int

    @property
    def width(self) -> float:
        """Of the interval."""
        return self.high - self.low


@dataclass(frozen=True)
class ValueEstimate:
    """The estimate for one value. `proposed`: images that have it from CLIP or the probe, unchecked."""

    value: str
    title: str
    proposed: int
    estimate: Estimate


def estimate(correct: int, checked: int) -> Estimate:
    """From counts; ValueError unless 0 <= correct <= checked."""
    found = wilson(correct, checked, Z)
    if not checked:
        return Estimate(0, 0, math.nan, 0.0, 1.0, _checks(0.5, 0, 0.5))
    more = _checks(found.share, checked, (found.high - found.low) / 2)
    return Estimate(correct, checked, found.share, found.low, found.high, more)


def audited(labels: LabelTable) -> np.ndarray:
    """(N,) bool: proposed by CLIP or the probe, then settled by a person."""
    return (labels.machine >= 0) & (labels.source == PERSON)


def estimates(labels: LabelTable) -> list[ValueEstimate]:
    """One for each value, in their order."""
    checked = audited(labels)
    right = checked & (labels.value == labels.machine)
    open_ = (labels.machine >= 0) & ~labels.settled & (labels.value == labels.machine)
    count = len(labels.attribute.values)
    totals, hits, proposed = (
        np.bincount(labels.machine[which], minlength=count) for which in (checked, right, open_)
    )
    return [
        ValueEstimate(v.name, v.title, int(proposed[i]), estimate(int(hits[i]), int(totals[i])))
        for i, v in enumerate(labels.attribute.values)
    ]


def sample_to_check(labels: LabelTable, value: int, count: int, seed: int = 0) -> np.ndarray:
    """(up to count,) positions of unchecked images that CLIP or the probe labelled `value`, at random."""
    rows = np.flatnonzero((labels.value == value) & (labels.source > 0) & ~labels.settled)
    return np.random.default_rng(seed).permutation(rows)[:count]


def sentence(attribute: Attribute, found: ValueEstimate) -> str:
    """For a person: “Glasses: 47 of 50 checked labels are right (84 % to 98 %); 160 more checks would …”."""
    known = found.estimate
    if not known.checked:
        return f"{attribute.title}, {found.title}: nothing checked yet."
    return (
        f"{attribute.title}, {found.title}: {known.correct:,} of {known.checked:,} checked labels are right "
        f"({known.low:.0%} to {known.high:.0%}); {known.checks_to_halve:,} more checks would halve the "
        f"interval."
    )


def _width(share: float, count: int) -> float:
    """Width of Wilson's interval for a share of `count`, which need not make a whole number."""
    if count == 0:
        return 1.0
    half = math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) * Z / (1 + Z**2 / count)
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    return min(1.0, middle + half) - max(0.0, middle - half)


def _checks(share: float, checked: int, width: float) -> int:
    """The fewest more checks after which the interval is no wider than `width`."""
    low, high = 0, 1
    while _width(share, checked + high) > width and high < MOST_CHECKS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _width(share, checked + middle) <= width else (middle, high)
    return min(high, MOST_CHECKS)
