"""Rules that make labels of scores. What several values claim is a conflict: listed, never silently dropped.

TopK is ZeroDIM's rule (section 4.2): each value's K best images get it, and an image that several values
claim gets none. The others are for when that isn't enough: see each rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, assert_never

import msgspec
import numpy as np

from core.annotate.scores import Scores
from core.errors import StudioError

# the paper's K for 70,000 faces
PAPER_K = 1000


class TopK(msgspec.Struct, frozen=True, tag="topk"):
    """The `k` best images of each value; conflicts get no label. 0 stands for `default_k`."""

    k: int = 0


class BalancedTopK(msgspec.Struct, frozen=True, tag="balanced"):
    """As TopK, but each value gets `k` images where there are enough.

    An image that several values claim goes to the one it ranks best for, and the others go on down their
    lists: a stable matching (Gale & Shapley 1962), the best that the values can get. 0 stands for
    `default_k`.
    """

    k: int = 0


class Threshold(msgspec.Struct, frozen=True, tag="threshold"):
    """Every image whose score reaches its value's threshold; conflicts get no label.

    `scores` by the value's name; a value without a threshold gets no labels.
    """

    scores: dict[str, float] = {}


class Margin(msgspec.Struct, frozen=True, tag="margin"):
    """The best value where its score is at least `margin` above the runner-up's and at least `threshold`.

    Values nearer than `margin` to the best claim the image too: a conflict, which gets no label.
    """

    margin: float = 0.0
    threshold: float = -1.0


Rule = TopK | BalancedTopK | Threshold | Margin


def default_k(images: int, values: int) -> int:
    """K where none is given: a tenth of an even share, at most the paper's 1,000.

    The share is small because K should stay below a value's true count, which for rare values (glasses)
    is far below even; 70,000 images with up to 7 values give the paper's K.
    """
    if images < 1 or values < 1:
        return 0
    return max(1, min(PAPER_K, images // (10 * values)))


@dataclass(frozen=True, eq=False)
class Assignment:
    """What a rule says of N images.

    `values` (N,) int16: the value each gets, -1 for none. `claims` (N, V) bool: the values that the rule
    would have given it. `rule` has its K filled in.
    """

    rule: Rule
    scores: Scores = field(repr=False)
    values: np.ndarray = field(repr=False)
    claims: np.ndarray = field(repr=False)

    @cached_property
    def conflicts(self) -> np.ndarray:
        """(N,) bool: claimed by several values. BalancedTopK settles these; other rules give no label."""
        return self.claims.sum(axis=1) > 1

    @cached_property
    def counts(self) -> np.ndarray:
        """(V,) int64: images that get each value."""
        return np.bincount(self.values[self.values >= 0], minlength=self.claims.shape[1])

    def claimants(self, position: int) -> tuple[str, ...]:
        """Names of the values that claim an image, the one with the best rank first."""
        return self._claimants(np.array([position]))[0]

    def reason(self, position: int) -> dict[str, Any] | None:
        """Why the image at `position` gets its label; None without one. See `reasons`."""
        return self.reasons(np.array([position]))[0]

    def reasons(self, positions: np.ndarray | Sequence[int]) -> list[dict[str, Any] | None]:
        """Why: a mapping for each image that gets a label, None for the others.

        `value` its name; `prompt` the value's prompt that the image fits best; `score` of the value; `margin`
        to the best other value, negative if that scores higher, left out if there is none; `probability`;
        `rank` from 1 among `of` images; `rule` in words; `model`; `conflict`, the names of all claimants,
        only where there were several.
        """
        positions = np.asarray(positions, np.int64)
        labelled = np.flatnonzero(self.values[positions] >= 0)
        found: list[dict[str, Any] | None] = [None] * len(positions)
        rows = positions[labelled]
        values = self.values[rows]
        scores = self.scores
        prompts = scores.best_prompt(rows, values)
        own = scores.values[rows, values]
        others = scores.filled[rows]
        others[np.arange(len(rows)), values] = -np.inf
        margins = own - others.max(axis=1)
        columns = zip(
            labelled.tolist(),
            rows.tolist(),
            values.tolist(),
            prompts.tolist(),
            own.tolist(),
            margins.tolist(),
            scores.probability[rows, values].tolist(),
            scores.rank[rows, values].tolist(),
            self._claimants(rows),
            strict=True,
        )
        rule, of = describe(self.rule), int(scores.known.sum())
        names = [value.name for value in scores.attribute.values]
        for place, _, value, prompt, score, margin, probability, rank, claimants in columns:
            reason: dict[str, Any] = {
                "value": names[value],
                "prompt": scores.texts[prompt],
                "score": round(score, 5),
                "probability": round(probability, 4),
                "rank": rank + 1,
                "of": of,
                "rule": rule,
                "model": scores.model,
            }
            if np.isfinite(margin):
                reason["margin"] = round(margin, 5)
            if len(claimants) > 1:
                reason["conflict"] = list(claimants)
            found[place] = reason
        return found

    def _claimants(self, rows: np.ndarray) -> list[tuple[str, ...]]:
        names = [value.name for value in self.scores.attribute.values]
        claims, ranks = self.claims[rows], self.scores.rank[rows]
        order = np.where(claims, ranks, np.iinfo(np.int32).max).argsort(axis=1, kind="stable")
        counts = claims.sum(axis=1)
        pairs = zip(order.tolist(), counts.tolist(), strict=True)
        return [tuple(names[v] for v in values[:n]) for values, n in pairs]


@dataclass(frozen=True)
class Preview:
    """What a rule would do, without doing it: `counts` (V,) of labels, `conflicts` without a label, `skipped`
    images that a person or an import has settled already, and `rule` with its K filled in."""

    rule: Rule
    counts: tuple[int, ...]
    conflicts: int
    skipped: int


def assign(rule: Rule, scores: Scores, eligible: np.ndarray | None = None) -> Assignment:
    """Apply a rule. Only `eligible` (N,) bool images take part, as if there were no others.

    StudioError where the rule's numbers make no sense.
    """
    part = scores.known if eligible is None else scores.known & eligible
    rule = settled(rule, int(part.sum()), scores)
    if isinstance(rule, BalancedTopK):
        values, claims = _balanced(rule.k, scores, part)
        return Assignment(rule, scores, values, claims)
    claims = _claims(rule, scores, part)
    values = np.where(claims.sum(axis=1) == 1, claims.argmax(axis=1), -1).astype(np.int16)
    return Assignment(rule, scores, values, claims)


def preview(
    rule: Rule, scores: Scores, settled_images: np.ndarray | None = None, eligible: np.ndarray | None = None
) -> Preview:
    """Counts for a control that moves.

    `settled_images` (N,) bool, as LabelTable.settled: those keep the label they have.
    """
    found = assign(rule, scores, eligible)
    kept = np.zeros(len(scores), bool) if settled_images is None else settled_images
    values = np.where(kept, -1, found.values)
    counts = np.bincount(values[values >= 0], minlength=found.claims.shape[1])
    conflicts = int((found.conflicts & (found.values < 0) & ~kept).sum())
    skipped = int((kept & (found.values >= 0)).sum())
    return Preview(found.rule, tuple(counts.tolist()), conflicts, skipped)


def settled(rule: Rule, images: int, scores: Scores) -> Rule:
    """The rule with its K filled in, after a check of its numbers for the attribute."""
    attribute = scores.attribute
    if isinstance(rule, TopK | BalancedTopK):
        if rule.k < 0:
            raise StudioError(f"{rule.k} images of each value are no number.", "Give 1 or more.")
        with_prompts = int((~np.isnan(scores.values)).any(axis=0).sum())
        return rule if rule.k else msgspec.structs.replace(rule, k=default_k(images, with_prompts))
    if isinstance(rule, Threshold):
        for name in rule.scores:
            attribute.index(name)
        if not rule.scores:
            raise StudioError("No value has a threshold.", "Give one for at least one value.")
        if not all(-1 <= score <= 1 for score in rule.scores.values()):
            raise StudioError("A threshold is not from -1 to 1.", "Scores are cosines: give another.")
    elif not (rule.margin >= 0 and -1 <= rule.threshold <= 1):
        raise StudioError("The margin is below 0, or the threshold not from -1 to 1.", "Give others.")
    return rule


def describe(rule: Rule) -> str:
    """The rule in words."""
    if isinstance(rule, TopK):
        return f"the {rule.k:,} best of each value, without conflicts" if rule.k else "the best of each value"
    if isinstance(rule, BalancedTopK):
        return f"the {rule.k:,} best of each value, conflicts settled by rank" if rule.k else "balanced"
    if isinstance(rule, Threshold):
        parts = ", ".join(f"{name} {score:.3f}" for name, score in rule.scores.items())
        return f"scores of at least: {parts}"
    if isinstance(rule, Margin):
        also = f" and a score of {rule.threshold:.3f}" if rule.threshold > -1 else ""
        return f"a margin of at least {rule.margin:.3f}{also}"
    assert_never(rule)


def _claims(rule: TopK | Threshold | Margin, scores: Scores, part: np.ndarray) -> np.ndarray:
    """(N, V) bool."""
    filled = scores.filled
    if isinstance(rule, TopK):
        wanted = np.where(part[:, None], filled, np.float32(-np.inf))
        return np.stack([_best(column, rule.k) for column in wanted.T], axis=1)
    if isinstance(rule, Threshold):
        least = np.array([rule.scores.get(v.name, np.inf) for v in scores.attribute.values], np.float32)
        return (filled >= least) & part[:, None]
    best = filled.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # -inf less -inf in unknown rows, which take no part
        claims = best - filled < np.float32(rule.margin)
    claims[np.arange(len(filled)), filled.argmax(axis=1)] = True
    return claims & (best >= np.float32(rule.threshold)) & part[:, None]


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """(N,) bool: the `k` highest of scores (N,), of equal ones the first; never one of -inf."""
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = scores > least
        ties = np.flatnonzero(scores == least)
        chosen[ties[: k - int(chosen.sum())]] = True
    else:
        chosen = np.ones(len(scores), bool)
    return chosen & (scores > -np.inf)


def _lists(scores: Scores, part: np.ndarray) -> list[np.ndarray]:
    """For each value the images that take part, from best to worst; none for a value without prompts."""
    scored = ~np.isnan(scores.values)
    return [order[part[order] & scored[order, value]] for value, order in enumerate(scores.order)]


def _balanced(k: int, scores: Scores, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stable matching in rounds: values ask for as many images as they lack, images keep the best offer."""
    lists = _lists(scores, part)
    count, values = scores.values.shape
    holder = np.full(count, -1, np.int16)
    claims = np.zeros((count, values), bool)
    # what an image goes by: its rank for the value, equal ranks by the value's position
    rank = scores.rank.astype(np.int64) * values + np.arange(values)
    standing = np.full(count, np.iinfo(np.int64).max)
    asked = [0] * values
    while True:
        held = np.bincount(holder[holder >= 0], minlength=values)
        moved = False
        for value in range(values):
            lacks = min(k - int(held[value]), len(lists[value]) - asked[value])
            if lacks <= 0:
                continue
            moved = True
            images = lists[value][asked[value] : asked[value] + lacks]
            asked[value] += lacks
            claims[images, value] = True
            won = images[rank[images, value] < standing[images]]
            standing[won], holder[won] = rank[won, value], value
        if not moved:
            return holder, claims
