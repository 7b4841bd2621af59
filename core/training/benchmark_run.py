"""What a model is worth on a benchmark, whose factors are all known: the numbers that papers report.

Attribute codes are what a model gives to images without labels: the embeddings of an attribute's values,
mixed by the classifier's probabilities, one vector an attribute. All is measured on the held-out images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from core.errors import StudioError
from core.metrics.dci import dci
from core.metrics.dcor import distance_correlations, one_hot
from core.metrics.mig import mig
from core.metrics.probe import Probe, probe
from core.metrics.sap import sap
from core.model import Model
from core.training.benchmark_data import read_factors
from core.training.dataset import Dataset
from core.training.evaluate import decode_all, encode_all, pixels_of

FEWEST = 20  # images below which there is nothing to measure


def measure_benchmark(
    model: Model, dataset: Dataset, limit: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Numbers of a model on the `held_out` part of a benchmark's folder; shares are 0..1, ready for JSON.

    - `disentanglement`, `completeness`, `informativeness`, `sap`, `mig`: of the attributes' codes for the
      attributes' factors (see `core.metrics`).
    - `accuracy`: the classifier's, by attribute.
    - `leakage`: what logistic regression reads of each attribute from the residual code, with `majority`
      and `chance` that it is to be compared with; and `distance_correlation`, the bias-corrected square of
      the residual code and the attribute, 0 in expectation where they are independent.
    - `residual`: what the same regression reads of the factors that are no attributes, which the residual
      code is there to hold.
    - `leakage_bent` and `residual_bent`: what a support vector machine reads of both, which is not bound to
      straight lines.
    - `reconstruction_mse`: mean squared error of decoded pixels in 0..1.

    `limit` measures on fewer images. StudioError if the folder is no benchmark, has too few held-out images,
    or other attributes than the model.
    """
    names, factors = read_factors(dataset.folder)
    held = dataset.part("held_out")
    if limit is not None:
        held = held.take(np.arange(min(limit, len(held))))  # they are in random order already
    if len(held) < FEWEST:
        raise StudioError(
            f"{len(held)} held-out images are too few to measure.", f"Hold out {FEWEST} or more."
        )
    truth = factors[held.rows]
    attributes = [a.name for a in model.card.attributes]
    if not set(attributes) <= set(names.names):
        raise StudioError(
            f"The model's attributes are not factors of {names.benchmark}.", "Choose another model or folder."
        )
    others = [name for name in names.names if name not in attributes]
    y = truth[:, [names.names.index(name) for name in attributes]]
    rest = truth[:, [names.names.index(name) for name in others]]
    single = [n for n, column in zip(attributes, y.T, strict=True) if len(np.unique(column)) < 2]
    if single:
        raise StudioError(
            f"All held-out images have the same {single[0]}.", "Hold out more images to measure on."
        )

    images, _ = pixels_of(held, model.card.image_size)
    codes = encode_all(model, images)
    residual = codes.residual.cpu().numpy()
    groups = [codes.attributes[:, k].cpu().numpy() for k in range(len(attributes))]
    scores = dci(groups, y, seed=seed)
    leaks = probe(residual, y, attributes, seed=seed)
    kept = probe(residual, rest, others, seed=seed) if others else ()
    bent_leaks = probe(residual, y, attributes, seed=seed, bent=True)
    bent_kept = probe(residual, rest, others, seed=seed, bent=True) if others else ()
    dependence = distance_correlations(residual, [one_hot(column) for column in y.T], seed=seed)
    error = (decode_all(model, codes) - images / np.float32(255)) ** 2
    result = {
        "benchmark": names.benchmark,
        "original": names.original,
        "images": len(held),
        "attributes": attributes,
        "residual_factors": others,
        "disentanglement": scores.disentanglement,
        "completeness": scores.completeness,
        "informativeness": scores.informativeness,
        "sap": sap(groups, y, seed=seed).score,
        "mig": mig(groups, y, seed=seed).score,
        "accuracy": {
            name: float((codes.probabilities[k].argmax(1) == y[:, k]).mean())
            for k, name in enumerate(attributes)
        },
        "leakage": {p.name: _shares(p) for p in leaks},
        "distance_correlation": {name: d.squared for name, d in zip(attributes, dependence, strict=True)},
        "residual": {p.name: _shares(p) for p in kept},
        "leakage_bent": {p.name: _shares(p) for p in bent_leaks},
        "residual_bent": {p.name: _shares(p) for p in bent_kept},
        "reconstruction_mse": float(error.mean()),
    }
    return _finite(result)


def _shares(probe: Probe) -> dict[str, float]:
    return {
        "accuracy": probe.accuracy.share,
        "low": probe.accuracy.low,
        "high": probe.accuracy.high,
        "balanced_accuracy": probe.balanced_accuracy,
        "majority": probe.majority,
        "chance": probe.chance,
    }


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no words for."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
