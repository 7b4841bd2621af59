"""Probes: what a simple classifier reads from codes.

Leakage is what logistic regression reads of an attribute from the residual code, which should be no more
than a guess; the same probe says how informative codes are of factors that they should hold. ZeroDIM
reports its leakage so, after Gabbay & Hoshen, "Demystifying inter-class disentanglement", ICLR 2020. A linear
probe sees linear traces only; a support vector machine with Gaussian kernels (Cortes and Vapnik 1995) sees
bent ones too, such as an angle, whose codes lie on a circle. `core.metrics.dcor` sees any.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.groups import sample
from core.metrics.intervals import Share, wilson
from core.metrics.sap import balanced_accuracy

BENT_MOST = 10_000


@dataclass(frozen=True)
class Probe:
    """What the probe of one attribute reads. Shares are of the test samples.

    `accuracy` has its 95 % interval; `majority` is the share that always guessing the commonest value of
    the training samples gets right, and `chance` 1 / values; `above_guess` is accuracy minus majority, which
    is 0 in expectation where there is no leakage, and may be a little below.
    """

    name: str
    accuracy: Share
    train_accuracy: float
    balanced_accuracy: float
    majority: float
    chance: float
    count: int

    @property
    def above_guess(self) -> float:
        """Accuracy minus majority."""
        return self.accuracy.share - self.majority


def probe(
    codes: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str] | None = None,
    *,
    most: int | None = 20_000,
    test_share: float = 0.2,
    folds: int = 1,
    seed: int = 0,
    bent: bool = False,
) -> tuple[Probe, ...]:
    """One probe for each column of `labels` (N, K), -1 where unknown, from `codes` (N, d) or (N, K, D).

    A logistic regression, or, for what is `bent`, a support vector machine: its time grows with the square of
    the samples, of which it takes at most `BENT_MOST`. Codes are standardised by the training samples.
    It is tested on `test_share` of the samples, or, with `folds`, anew on so many disjoint such shares: with
    five of a fifth on every sample once (cross-validation), which tells more where few are labelled.
    Attributes of which fewer than two values are known in the training samples are left out. ValueError where
    shapes don't fit, or there are not so many shares.
    """
    x = np.asarray(codes, dtype=np.float64).reshape(len(codes), -1)
    labels = np.asarray(labels).reshape(len(labels), -1)
    names = [str(k) for k in range(labels.shape[1])] if names is None else list(names)
    if not 1 <= folds <= round(1 / test_share):
        raise ValueError(f"{folds} folds of {test_share} are more than there is.")
    if len(x) != len(labels) or len(names) != labels.shape[1]:
        raise ValueError(f"Codes {x.shape}, labels {labels.shape} and {len(names)} names don't fit.")
    return tuple(
        found
        for k, name in enumerate(names)
        if (found := _probe_one(x, labels[:, k], name, most, test_share, folds, seed, bent)) is not None
    )


def _probe_one(
    x: np.ndarray,
    labels: np.ndarray,
    name: str,
    most: int | None,
    test_share: float,
    folds: int,
    seed: int,
    bent: bool,
) -> Probe | None:
    if bent:
        most = min(most or BENT_MOST, BENT_MOST)
    known = np.flatnonzero(labels >= 0)
    known = known[sample(len(known), most, seed)]
    found, truth, guessed, trained = [], [], [], []
    for fold in range(folds):
        test, train = _stratified(labels[known], test_share, fold)
        test, train = known[test], known[train]
        values, counts = np.unique(labels[train], return_counts=True)
        if len(values) < 2 or not len(test):
            return None
        predicted, right = _predict(x[train], labels[train], x[test], bent)
        found.append(predicted)
        truth.append(labels[test])
        guessed.append(labels[test] == values[counts.argmax()])
        trained.append(right)
    predicted, tested = np.concatenate(found), np.concatenate(truth)
    return Probe(
        name=name,
        accuracy=wilson(int((predicted == tested).sum()), len(tested)),
        train_accuracy=float(np.mean(trained)),
        balanced_accuracy=balanced_accuracy(predicted, tested),
        majority=float(np.concatenate(guessed).mean()),
        chance=1 / len(values),
        count=len(known),
    )


def _predict(
    codes: np.ndarray, labels: np.ndarray, others: np.ndarray, bent: bool
) -> tuple[np.ndarray, float]:
    """Values of `others`, learned from codes (N, d) and labels (N,), and its share of right ones on these."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    mean, spread = codes.mean(axis=0), codes.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    with warnings.catch_warnings():
        # 1000 steps on standardised codes: what is left to gain then is far below the interval
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SVC(C=10.0) if bent else LogisticRegression(max_iter=1000)
        model.fit((codes - mean) / scale, labels)
    return model.predict((others - mean) / scale), float(model.score((codes - mean) / scale, labels))


def _stratified(labels: np.ndarray, test_share: float, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of test and training samples: the `fold`th `test_share` of every value (they are in random
    order)."""
    chosen = np.zeros(len(labels), dtype=bool)
    for value in np.unique(labels):
        of_value = np.flatnonzero(labels == value)
        first, last = (round(len(of_value) * test_share * part) for part in (fold, fold + 1))
        chosen[of_value[first:last]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)
