"""Swaps as a judge sees them: does the swapped attribute become what it should, and do the others stay?

The judge is a classifier that the model never learned from. An attribute's success is the share of the
swapped images that the judge gives the target; its preservation of another attribute is the share whose value
of that one the judge gives as before. A judge also changes its mind on decoded images without a swap, so
take what it says of the unswapped decoded image as "before", and see `agreement` for how much that was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.intervals import Share, wilson


@dataclass(frozen=True)
class SwapScore:
    """Of swaps of the attribute `name`: `success`, and `preserved` for each other attribute by name.

    Success counts only images whose value was not the target before.
    """

    name: str
    success: Share
    preserved: dict[str, Share]

    @property
    def preservation(self) -> float:
        """Mean over the other attributes; nan where there are none."""
        shares = [share.share for share in self.preserved.values()]
        return float(np.mean(shares)) if shares else float("nan")


def swap_score(
    before: np.ndarray, after: np.ndarray, attribute: int, target: np.ndarray | int, names: Sequence[str]
) -> SwapScore:
    """Score from the judge's values `before` and `after` (N, K) whole numbers, -1 where it can't say.

    `attribute` is the swapped column and `target` (N,), or one for all, what it was swapped to. Images
    of which the judge can't say the value are left out. ValueError where shapes don't fit.
    """
    before, after = np.asarray(before), np.asarray(after)
    if before.shape != after.shape or before.ndim != 2 or before.shape[1] != len(names):
        raise ValueError(f"Before {before.shape}, after {after.shape} and {len(names)} names don't fit.")
    target = np.broadcast_to(np.asarray(target), (len(before),))
    changed = (before[:, attribute] != target) & (before[:, attribute] >= 0) & (after[:, attribute] >= 0)
    success = wilson(int((after[changed, attribute] == target[changed]).sum()), int(changed.sum()))
    preserved = {
        name: agreement(before[changed, k], after[changed, k])
        for k, name in enumerate(names)
        if k != attribute
    }
    return SwapScore(names[attribute], success, preserved)


def agreement(before: np.ndarray, after: np.ndarray) -> Share:
    """How often two arrays (N,) of the judge's values are the same, where both are known."""
    known = (np.asarray(before) >= 0) & (np.asarray(after) >= 0)
    return wilson(int((np.asarray(before)[known] == np.asarray(after)[known]).sum()), int(known.sum()))


def random_targets(before: np.ndarray, sizes: Sequence[int], seed: int = 0) -> np.ndarray:
    """(N, K) values that differ from `before` (N, K), all others equally likely; any where before is -1."""
    rng = np.random.default_rng(seed)
    before = np.asarray(before)
    result = np.zeros(before.shape, dtype=np.int64)
    for k, size in enumerate(sizes):
        step = rng.integers(1, size, len(before))
        unknown = before[:, k] < 0
        result[:, k] = np.where(unknown, rng.integers(0, size, len(before)), (before[:, k] + step) % size)
    return result


def score_swaps(
    count: int,
    swap: Callable[[slice, int, np.ndarray], np.ndarray],
    judge: Callable[[np.ndarray], np.ndarray],
    before: np.ndarray,
    sizes: Sequence[int],
    names: Sequence[str],
    *,
    batch: int = 64,
    seed: int = 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[SwapScore, ...]:
    """Swap every attribute of `count` images to random other values, in batches, and score each attribute.

    `swap(rows, attribute, targets)` gives the swapped images of those rows; `judge(images)` their values
    (n, K); `before` (count, K) is the judge's on the unswapped decoded images; `sizes` the number of values
    of each attribute. Attributes that were not finished when `cancelled` are left out.
    """
    targets = random_targets(before, sizes, seed)
    scores: list[SwapScore] = []
    for k in range(len(names)):
        after = np.empty_like(np.asarray(before))
        for start in range(0, count, batch):
            if cancelled():
                return tuple(scores)
            rows = slice(start, min(start + batch, count))
            after[rows] = judge(swap(rows, k, targets[rows, k]))
        scores.append(swap_score(before, after, k, targets[:, k], names))
    return tuple(scores)
