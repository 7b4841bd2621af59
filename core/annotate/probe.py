"""What people's labels teach: a linear probe on CLIP's embeddings, with probabilities that can be believed.

Multinomial logistic regression. Its strength of regularisation and the temperature that calibrates it (Guo et
al. 2017; Platt 1999 with the slope only) are chosen by cross-validation, from predictions of labels that the
fold's probe has not seen; so are the accuracy and the calibration error that it reports. All of that speaks
of images like those that were labelled: who labels only the doubtful ones gets a probe that is modest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.attributes import Attribute
from core.errors import StudioError
from core.metrics.intervals import Share, wilson

# labels of a value below which it isn't learned, and folds of the cross-validation
MINIMUM = 8
FOLDS = 4
# inverse strengths of regularisation that are tried, for features of unit variance
STRENGTHS = (1e-3, 1e-2, 1e-1)
# labels by which they are chosen; the last fit takes all
MOST_TO_CHOOSE = 1000
TEMPERATURES = np.geomspace(0.2, 20, 60)
BINS = 10


@dataclass(frozen=True, eq=False)
class Probe:
    """A probe of one attribute. `values` (C,) int16: positions of the C values that it knows.

    `accuracy` (with its 95 % interval) and `calibration_error` (expected, from 0 to 1) are cross-validated;
    `left_out` names the values with too few labels, which are never proposed; `count` labels were used.
    """

    attribute: Attribute
    values: np.ndarray
    weights: np.ndarray = field(repr=False)  # (C, D)
    bias: np.ndarray = field(repr=False)  # (C,)
    temperature: float
    accuracy: Share
    calibration_error: float
    count: int
    left_out: tuple[str, ...]

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, V) float32 for `embeddings` (N, D) float32; nan rows for nan rows, 0 for values left out."""
        logits = (embeddings @ self.weights.T + self.bias) / np.float32(self.temperature)
        found = np.zeros((len(embeddings), len(self.attribute.values)), np.float32)
        found[:, self.values] = _softmax(logits)
        found[np.isnan(logits).any(axis=1)] = np.nan
        return found


@dataclass(frozen=True, eq=False)
class Proposals:
    """What the probe would say of N images: `values` (N,) int16, -1 where it proposes nothing;
    `probability` (N,) float32 of its best value, nan where unknown; `differs` (N,) bool: a proposal that
    isn't the image's present label."""

    values: np.ndarray
    probability: np.ndarray
    differs: np.ndarray

    def reasons(self, probe: Probe, positions: np.ndarray) -> list[dict[str, Any] | None]:
        """Why, for the labels that are taken over from it."""
        names = [value.name for value in probe.attribute.values]
        rule = f"learned from {probe.count:,} labels"
        return [
            {"value": names[v], "probability": round(p, 4), "rule": rule} if v >= 0 else None
            for v, p in zip(
                self.values[positions].tolist(), self.probability[positions].tolist(), strict=True
            )
        ]


def readiness(labels: np.ndarray, attribute: Attribute) -> str:
    """What is missing before a probe can be learned from `labels` (N,), -1 unknown; empty if nothing is."""
    counts = np.bincount(labels[labels >= 0], minlength=len(attribute.values))
    if (counts >= MINIMUM).sum() >= 2:
        return ""
    best = np.argsort(-counts, kind="stable")[:2]
    lacking = [
        f"{MINIMUM - counts[v]} more of “{attribute.values[v].title}”" for v in best if counts[v] < MINIMUM
    ]
    return (
        f"To learn {attribute.title}, two values need {MINIMUM} labels by people each: "
        f"{' and '.join(lacking)} will do."
    )


def learn(embeddings: np.ndarray, labels: np.ndarray, attribute: Attribute) -> Probe:
    """Learn from the rows of `embeddings` (N, D) float32 whose label (N,) is not -1.

    Labels should be people's or imported. Rows that are nan are left out. StudioError where there are too few
    labels, in the words of `readiness`.
    """
    labels = np.where(np.isfinite(embeddings[:, 0]), labels, -1)
    missing = readiness(labels, attribute)
    if missing:
        raise StudioError(missing, "Label them, then try again.")
    counts = np.bincount(labels[labels >= 0], minlength=len(attribute.values))
    values = np.flatnonzero(counts >= MINIMUM).astype(np.int16)
    rows = np.flatnonzero(np.isin(labels, values))
    x, y = embeddings[rows], np.searchsorted(values, labels[rows])
    mean = x.mean(axis=0)
    spread = float(np.sqrt(((x - mean) ** 2).mean())) or 1.0
    x = ((x - mean) / spread).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    strength = _choose_strength(x[:MOST_TO_CHOOSE], y[:MOST_TO_CHOOSE], len(values))
    logits = _out_of_fold(x, y, len(values), strength)
    temperature = _temperature(logits, y)
    hits = int((logits.argmax(axis=1) == y).sum())
    weights, bias = _fit(x, y, len(values), strength)
    weights = weights / np.float32(spread)
    return Probe(
        attribute,
        values,
        weights,
        bias - weights @ mean,
        temperature,
        wilson(hits, len(y)),
        _calibration_error(_softmax(logits / temperature), y),
        len(y),
        tuple(v.title for i, v in enumerate(attribute.values) if i not in values),
    )


def propose(
    probabilities: np.ndarray, present: np.ndarray, settled: np.ndarray, least: float = 0.9
) -> Proposals:
    """What to propose for images that no person or import has settled, where the probe is `least` sure.

    `probabilities` (N, V); `present` (N,) labels, -1 for none; `settled` (N,) bool.
    """
    known = np.isfinite(probabilities[:, 0])
    filled = np.where(known[:, None], probabilities, 0)
    best = filled.argmax(axis=1)
    top = filled[np.arange(len(filled)), best]
    values = np.where(known & ~settled & (top >= least), best, -1).astype(np.int16)
    return Proposals(
        values, np.where(known, top, np.nan).astype(np.float32), (values >= 0) & (values != present)
    )


def _choose_strength(x: np.ndarray, y: np.ndarray, classes: int) -> float:
    """The strength with the lowest cross-validated loss, each calibrated."""
    losses = []
    for strength in STRENGTHS:
        logits = _out_of_fold(x, y, classes, strength)
        losses.append(_loss(logits / _temperature(logits, y), y))
    return STRENGTHS[int(np.argmin(losses))]


def _out_of_fold(x: np.ndarray, y: np.ndarray, classes: int, strength: float) -> np.ndarray:
    """(n, C) float64: of each sample the logits by a probe that was learned without its fold.

    Every value is spread evenly over the folds, so that each fold's probe knows all of them.
    """
    fold = np.empty(len(y), int)
    for value in range(classes):
        of_value = np.flatnonzero(y == value)
        fold[of_value] = np.arange(len(of_value)) % FOLDS
    logits = np.empty((len(y), classes))
    for number in range(FOLDS):
        test = fold == number
        weights, bias = _fit(x[~test], y[~test], classes, strength)
        logits[test] = x[test] @ weights.T + bias
    return logits


def _fit(x: np.ndarray, y: np.ndarray, classes: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (C, D) and bias (C,) float32 of a logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is left to gain is far below the interval
        model = LogisticRegression(C=strength, max_iter=60, tol=1e-3).fit(x, y)
    weights, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row of logits for the second value
        weights = np.concatenate([np.zeros_like(weights), weights])
        bias = np.concatenate([np.zeros_like(bias), bias])
    whole, whole_bias = np.zeros((classes, x.shape[1]), np.float32), np.full(classes, -30, np.float32)
    whole[model.classes_], whole_bias[model.classes_] = weights, bias
    return whole, whole_bias


def _temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature with the lowest loss; convex in its inverse, so that a fine grid finds it."""
    return float(min(TEMPERATURES, key=lambda t: _loss(logits / t, y)))


def _loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log-likelihood."""
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(y)), y]).mean())


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def _calibration_error(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Expected calibration error of the best value, in ten bins."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(float(sure[bins == b].sum()) - float(right[bins == b].sum())) for b in range(BINS)]
    return sum(gaps) / len(y)
