"""Calibration: how far a finished model's swaps go.

For each value a few reaches (`core.nets.strengths`) are tried on training images, and the model's own
classifier counts what is seen of the swap and of what was to stay, all values being equally likely. Networks
rest: one number a value can't draw what pleases a classifier and nobody else, as weights that follow its
gradient would. A swap never goes less far than to the embedding, as the classifier is content before people
are. Not in the paper. Neither held-out images nor the judge of the swaps take part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.errors import StudioError
from core.model import Codes, Model, to_bytes, to_tensor
from core.nets.strengths import FURTHEST
from core.recipe import Swap
from core.training.dataset import Dataset, drawing_weights, log_priors
from core.training.evaluate import decode_all, encode_all, pixels_of
from core.training.finetune import fit_dataset

IMAGES = 96  # that a value is tried on
POOL = 6  # so many times as many are looked at: most already show what is common
GOAL = 0.95  # of swaps that are seen, and of other attributes that stay: more than this is worth little
LITTLE = 0.1
STEP = 0.15  # between the reaches that are tried
BATCH = 64


@dataclass(frozen=True)
class Seen:
    """What the classifier sees of swaps to a value: shares of the images that did not show it.

    `kept` (K,) is of each attribute, 1 for the one that was swapped.
    """

    success: float
    kept: np.ndarray

    @property
    def score(self) -> float:
        """Both up to the goal, and a little of what is beyond it."""
        preserved = float(self.kept.sum() - 1) / max(1, len(self.kept) - 1)
        return _worth(self.success) + _worth(preserved)


def _worth(share: float) -> float:
    return min(share, GOAL) + LITTLE * share


def calibrate(
    model: Model,
    dataset: Dataset,
    images: int = IMAGES,
    seed: int = 0,
    attributes: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[float, float]]:
    """Set the reach of a model's swaps, from the `train` part of a prepared folder.

    Only of the named `attributes`, if there are any: all others go to the embedding.

    Returns the shares of swaps seen and of others kept, as its classifier counts them, before and after, each
    the mean of all values. `progress` is told the values done, and how many there are. StudioError without
    images, or for an attribute that there is not.
    """
    part = fit_dataset(dataset.part("train"), model.card.attributes)
    if not len(part):
        raise StudioError("There are no images to calibrate on.", "Prepare a folder with images first.")
    labels = part.label_array()
    weights, labelled = drawing_weights(labels, 0.5)
    rng = np.random.default_rng(seed)
    few = rng.choice(len(part), min(POOL * images, len(part)), replace=False, p=weights)
    pictures, _ = pixels_of(part.take(few), model.card.image_size)
    counts = [len(a.values) for a in model.card.attributes]
    search = _Search(model, encode_all(model, pictures), log_priors(labels, labelled, counts), images)
    model.networks.strengths.reset()
    wanted = [model.card.attributes.index(name) for name in attributes] or range(len(counts))
    pairs = [(k, v) for k in wanted for v in range(counts[k])]
    before, after = [], []
    for done, (k, v) in enumerate(pairs):
        first, best = search.value(k, v)
        before.append(first)
        after.append(best)
        if progress is not None:
            progress(done + 1, len(pairs))
    return {
        "success": (float(np.mean([s.success for s in before])), float(np.mean([s.success for s in after]))),
        "preserved": (_preserved(before), _preserved(after)),
    }


def _preserved(seen: list[Seen]) -> float:
    return float(np.mean([(s.kept.sum() - 1) / max(1, len(s.kept) - 1) for s in seen]))


class _Search:
    """The reach of one value after the other, tried on the same images."""

    def __init__(self, model: Model, codes: Codes, priors: list[torch.Tensor], images: int) -> None:
        self.model, self.codes, self.images = model, codes, images
        self.priors = [p.to(model.device) for p in priors]
        self.before = self._values(to_bytes(decode_all(model, codes)))

    def value(self, k: int, v: int) -> tuple[Seen, Seen]:
        """Set the reach of value `v` of attribute `k`; what is seen at 1, and with what was set."""
        others = np.flatnonzero(self.before[:, k] != v)[: self.images]
        if not len(others):  # all show it: nothing is known, and it stays as it is
            nothing = Seen(1.0, np.ones(self.before.shape[1]))
            return nothing, nothing
        strengths = self.model.networks.strengths
        row, tried = int(strengths.starts[k]) + v, {}
        for reach in np.arange(1, FURTHEST, STEP).tolist():
            with torch.no_grad():
                strengths.reach[row] = reach
            tried[reach] = self._look(others, k, v)
        best = max(tried, key=lambda reach: tried[reach].score)
        with torch.no_grad():
            strengths.reach[row] = best
        return tried[1.0], tried[best]

    def _look(self, rows: np.ndarray, k: int, v: int) -> Seen:
        attribute = self.model.card.attributes.attributes[k]
        codes = replace(
            self.codes, residual=self.codes.residual[rows], attributes=self.codes.attributes[rows]
        )
        swapped = self.model.swap(codes, [Swap(attribute.name, attribute.values[v].name)])
        after, before = self._values(to_bytes(decode_all(self.model, swapped))), self.before[rows]
        kept = (after == before).mean(0)
        kept[k] = 1.0
        return Seen(float((after[:, k] == v).mean()), kept)

    @torch.inference_mode()
    def _values(self, images: np.ndarray) -> np.ndarray:
        """(N, K) the classifier's values in (N, S, S, 3) uint8 images, were all equally frequent."""
        found = []
        for start in range(0, len(images), BATCH):
            logits = self.model.networks.classifier(
                to_tensor(images[start : start + BATCH], self.model.device)
            )
            even = [(v - p).argmax(1) for v, p in zip(logits, self.priors, strict=True)]
            found.append(torch.stack(even, 1).cpu().numpy())
        return np.concatenate(found)
