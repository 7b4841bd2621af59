"""MIG: the mutual information gap.

Chen, Li, Grosse & Duvenaud, "Isolating sources of disentanglement in variational autoencoders", NeurIPS
2018. I[g, f] is the mutual information of code g and factor f; MIG is the mean over the factors of the
difference of the two largest, divided by the factor's entropy. As usual, codes are discretised and
information is that of the counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.metrics.groups import Codes, checked_factors, grouped, sample


@dataclass(frozen=True)
class MIG:
    """`score` in 0..1, higher is better; `information` (G, F) in nats; `entropy` and `gaps` (F,)."""

    score: float
    information: np.ndarray
    entropy: np.ndarray
    gaps: np.ndarray


def mig(
    codes: Codes, factors: np.ndarray, *, bins: int = 20, most: int | None = 10_000, seed: int = 0
) -> MIG:
    """MIG of `codes` (see `grouped`) for `factors` (N, F), on at most `most` samples.

    A code of one number is cut into `bins` of equal width, as in the usual evaluation. A code of several
    numbers is cut by k-means into as many cells, or as many as the largest factor has values if that is
    more. Counts overestimate information by about (cells - 1)(values - 1) / 2N nats, for every code;
    a factor with more values than `bins` can't reach 1 from a code of one number.
    With one code the second largest information is 0.
    """
    parts = grouped(codes)
    factors = checked_factors(factors, len(parts[0]))
    chosen = sample(len(factors), most, seed)
    y = np.stack([np.unique(column, return_inverse=True)[1].reshape(-1) for column in factors[chosen].T])
    cells = max(bins, int(y.max()) + 1)
    information = np.zeros((len(parts), len(y)))
    for g, part in enumerate(parts):
        x = part[chosen]
        code = _binned(x[:, 0], bins) if x.shape[1] == 1 else _clustered(x, cells, seed)
        information[g] = [mutual_information(code, values) for values in y]
    entropy = np.array([mutual_information(values, values) for values in y])
    ordered = np.sort(information, axis=0)[::-1]
    second = ordered[1] if len(parts) > 1 else np.zeros(len(y))
    gaps = (ordered[0] - second) / entropy
    return MIG(float(gaps.mean()), information, entropy, gaps)


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information in nats of two arrays (N,) of whole numbers from 0."""
    joint = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float(max((joint[some] * np.log(joint[some] / independent[some])).sum(), 0.0))


def _binned(x: np.ndarray, bins: int) -> np.ndarray:
    edges = np.histogram_bin_edges(x, bins)
    return np.clip(np.digitize(x, edges[1:-1]), 0, bins - 1)


def _clustered(x: np.ndarray, cells: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(x, axis=0))
    return (
        KMeans(min(cells, distinct), n_init=2, max_iter=50, random_state=seed).fit_predict(x).astype(np.int64)
    )
