"""Distance correlation: any dependence between two vectors, not just linear.

Székely, Rizzo & Bakirov, "Measuring and testing dependence by correlation of distances", Annals of Statistics
2007; the bias-corrected square of Székely & Rizzo, "The distance correlation t-test of independence in
high dimension", Journal of Multivariate Analysis 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.groups import sample


@dataclass(frozen=True)
class DistanceCorrelation:
    """`biased` is the correlation of 2007, 0..1, which with many dimensions or few samples is well above 0
    for independent vectors too; `squared` is the bias-corrected square, -1..1, 0 in expectation for
    independent ones. Judge leakage by `squared`. Both are nan where a vector never varies.
    """

    biased: float
    squared: float
    count: int


def distance_correlation(
    x: np.ndarray, y: np.ndarray, *, most: int = 2_000, seed: int = 0
) -> DistanceCorrelation:
    """Of `x` and `y`, (N, d) or (N,), on at most `most` samples; ValueError for fewer than four."""
    return distance_correlations(x, [y], most=most, seed=seed)[0]


def distance_correlations(
    x: np.ndarray, others: Sequence[np.ndarray], *, most: int = 2_000, seed: int = 0
) -> tuple[DistanceCorrelation, ...]:
    """Of `x` with each of `others`; the distances of `x` are computed once.

    Memory is about 5 * most² * 8 bytes: 160 MB for 2,000. For a finite list of values give `one_hot` of them.
    """
    chosen = sample(len(x), most, seed)
    if len(chosen) < 4:
        raise ValueError("Distance correlation needs four samples.")
    distances = _distances(np.asarray(x), chosen)
    plain_x, unbiased_x = _centred(distances), _u_centred(distances)
    results = []
    for other in others:
        if len(other) != len(x):
            raise ValueError(f"{len(x)} and {len(other)} samples don't fit.")
        distances = _distances(np.asarray(other), chosen)
        squared = _correlation(plain_x, _centred(distances))
        results.append(
            DistanceCorrelation(
                biased=float(np.sqrt(min(max(squared, 0.0), 1.0))) if np.isfinite(squared) else squared,
                squared=_correlation(unbiased_x, _u_centred(distances)),
                count=len(chosen),
            )
        )
    return tuple(results)


def one_hot(values: np.ndarray) -> np.ndarray:
    """(N, V) float64 for whole numbers (N,): values without order are all equally far apart."""
    return np.asarray(np.unique(values)[None, :] == np.asarray(values)[:, None], dtype=np.float64)


def _distances(x: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    rows = x[chosen].reshape(len(chosen), -1).astype(np.float64)
    rows = rows - rows.mean(axis=0)  # the differences below lose less
    square = (rows**2).sum(axis=1)
    distances = np.sqrt(np.maximum(square[:, None] + square[None, :] - 2 * rows @ rows.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    return distances


def _centred(distances: np.ndarray) -> np.ndarray:
    means = distances.mean(axis=0)
    return distances - means[None, :] - means[:, None] + means.mean()


def _u_centred(distances: np.ndarray) -> np.ndarray:
    n = len(distances)
    sums = distances.sum(axis=0)
    centred = distances - (sums[None, :] + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    scale = np.sqrt(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b) / scale) if scale > 1e-12 * len(a) else float("nan")
