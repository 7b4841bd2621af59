"""SAP: separated attribute predictability.

Kumar, Sattigeri & Balakrishnan, "Variational inference of disentangled latent concepts from unlabeled
observations", ICLR 2018. S[g, f] is how well factor f is predicted from code g alone, as balanced accuracy;
SAP is the mean over the factors of the difference of the two best codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.metrics.groups import Codes, checked_factors, grouped, sample, split

Classifier = Literal["linear", "thresholds"]


@dataclass(frozen=True)
class SAP:
    """`score` in 0..1, higher is better; `scores` (G, F) balanced accuracies; `gaps` (F,)."""

    score: float
    scores: np.ndarray
    gaps: np.ndarray


def sap(
    codes: Codes,
    factors: np.ndarray,
    *,
    classifier: Classifier = "linear",
    most: int | None = 5_000,
    seed: int = 0,
) -> SAP:
    """SAP of `codes` (see `grouped`) for `factors` (N, F), on at most `most` samples; 20 % test.

    With one code there is no second best, whose accuracy then is that of a guess. `classifier`:

    - "linear", a linear support vector machine with C = 0.01 and balanced classes, is what the usual
      evaluations take. Here codes are standardised first, so that their scale doesn't matter. From a code
      of one number it can't tell apart values that lie between others, so a perfect code of one number
      with ten values scores far below 1; codes of several numbers are free of this.
    - "thresholds", any number of thresholds on one number (a decision tree), is the paper's own rule for
      categorical factors. On codes of several numbers it is a tree with as many leaves.
    """
    parts = grouped(codes)
    factors = checked_factors(factors, len(parts[0]))
    chosen = sample(len(factors), most, seed)
    train, test = split(len(chosen))
    y = factors[chosen]
    scores = np.zeros((len(parts), y.shape[1]))
    for g, part in enumerate(parts):
        x = part[chosen]
        spread = x[train].std(axis=0)
        x = (x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1)
        for f in range(y.shape[1]):
            model = _model(classifier, len(np.unique(y[train, f])), seed).fit(x[train], y[train, f])
            scores[g, f] = balanced_accuracy(model.predict(x[test]), y[test, f])
    ordered = np.sort(scores, axis=0)[::-1]
    guess = np.array([1 / len(np.unique(y[:, f])) for f in range(y.shape[1])])
    gaps = ordered[0] - (ordered[1] if len(parts) > 1 else guess)
    return SAP(float(gaps.mean()), scores, gaps)


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the values in `truth` of the share of their samples that are predicted right."""
    return float(np.mean([(predicted[truth == value] == value).mean() for value in np.unique(truth)]))


def _model(classifier: Classifier, values: int, seed: int) -> Any:
    if classifier == "linear":
        from sklearn.svm import LinearSVC

        return LinearSVC(C=0.01, class_weight="balanced", dual=False, random_state=seed)
    from sklearn.tree import DecisionTreeClassifier

    # twice as many leaves as values: a value may lie on both sides of another
    return DecisionTreeClassifier(max_leaf_nodes=2 * values, class_weight="balanced", random_state=seed)
