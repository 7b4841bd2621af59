"""DCI: disentanglement, completeness and informativeness.

Eastwood & Williams, "A framework for the quantitative evaluation of disentangled representations",
ICLR 2018. A predictor of each factor gives the importance R[g, f] >= 0 of code g for factor f;
disentanglement is 1 minus the entropy of a code's importances over the factors, weighted by the code's
share of all importance; completeness is 1 minus the entropy of a factor's importances over the codes;
informativeness is how well the factors are predicted. As usual since Locatello and others (ICML 2019),
the predictor is gradient-boosted trees and informativeness is their accuracy on held-out samples (higher is
better; the original has an error).

A code may be a vector: its importance is the sum over its numbers. ZeroDIM's published D, C and I are of the
attributes' codes alone, without the residual; give the residual as one more group for the stricter question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.metrics.boosting import fit_exact, fit_histogram
from core.metrics.groups import Codes, checked_factors, grouped, sample, split

Trees = Literal["histogram", "exact"]


@dataclass(frozen=True)
class DCI:
    """All scores are in 0..1, higher is better.

    `importance` (G, F), columns sum to 1; `accuracy` and `accuracy_train` (F,); `per_code` (G,) and
    `per_factor` (F,) are disentanglement and completeness before they are averaged.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    informativeness_train: float
    importance: np.ndarray
    accuracy: np.ndarray
    accuracy_train: np.ndarray
    per_code: np.ndarray
    per_factor: np.ndarray


def dci(
    codes: Codes, factors: np.ndarray, *, trees: Trees = "histogram", most: int | None = 10_000, seed: int = 0
) -> DCI:
    """DCI of `codes` (see `grouped`) for `factors` (N, F) whole numbers, on at most `most` samples.

    80 % of the samples train the trees, 20 % measure informativeness. `trees`:

    - "exact" is scikit-learn's GradientBoostingClassifier with its defaults, as the usual evaluations and
      the paper's have it: minutes to hours.
    - "histogram" has the same rounds, rate, depth and definition of importance, but numbers binned to 255
      levels (see `core.metrics.boosting`). On 1,600 to 3,200 training samples D and C were within 0.03 of
      the exact ones and I within 0.03, and all within 0.002 where codes were clean; on 320 noisy samples D
      was 0.07 lower.
    """
    parts = grouped(codes)
    factors = checked_factors(factors, len(parts[0]))
    chosen = sample(len(factors), most, seed)
    train, test = split(len(chosen))
    x = np.concatenate(parts, axis=1)[chosen]
    y = factors[chosen]
    owner = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
    fit = fit_exact if trees == "exact" else fit_histogram

    importance = np.zeros((len(parts), y.shape[1]))
    accuracy, accuracy_train = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for f in range(y.shape[1]):
        model, by_number = fit(x[train], y[train, f], seed)
        importance[:, f] = np.bincount(owner, by_number, minlength=len(parts))
        accuracy_train[f] = model.score(x[train], y[train, f])
        accuracy[f] = model.score(x[test], y[test, f])
    return _scores(importance, accuracy, accuracy_train)


def disentanglement(importance: np.ndarray) -> tuple[float, np.ndarray]:
    """The score and the codes' own (G,) from importances (G, F); 1 where there is a single factor."""
    per_code = 1 - _entropy(importance)
    return float(_share(importance.sum(axis=1)) @ per_code), per_code


def completeness(importance: np.ndarray) -> tuple[float, np.ndarray]:
    """The score and the factors' own (F,) from importances (G, F); 1 where there is a single code."""
    per_factor = 1 - _entropy(importance.T)
    return float(_share(importance.sum(axis=0)) @ per_factor), per_factor


def _scores(importance: np.ndarray, accuracy: np.ndarray, accuracy_train: np.ndarray) -> DCI:
    d, per_code = disentanglement(importance)
    c, per_factor = completeness(importance)
    return DCI(
        disentanglement=d,
        completeness=c,
        informativeness=float(accuracy.mean()),
        informativeness_train=float(accuracy_train.mean()),
        importance=importance,
        accuracy=accuracy,
        accuracy_train=accuracy_train,
        per_code=per_code,
        per_factor=per_factor,
    )


def _entropy(rows: np.ndarray) -> np.ndarray:
    """Entropy of each row in units of its highest; a row of zeros has the highest."""
    if rows.shape[1] == 1:
        return np.zeros(len(rows))
    total = rows.sum(axis=1, keepdims=True)
    p = np.where(total > 0, rows / np.where(total > 0, total, 1), 1 / rows.shape[1])
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / np.log(rows.shape[1])


def _share(amounts: np.ndarray) -> np.ndarray:
    total = amounts.sum()
    return amounts / total if total > 0 else np.full(len(amounts), 1 / len(amounts))
