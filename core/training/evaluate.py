"""What a model is worth, measured on held-out images; the numbers go into its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from core.editing.blend import feather_mask
from core.metrics.probe import leakage
from core.metrics.swaps import swap_outcome
from core.model import Codes, Model
from core.recipe import Swap
from core.training.dataset import Dataset
from core.training.judge import Judge

BATCH = 128
Metrics = dict[str, float | dict[str, float]]


def evaluate(
    model: Model, dataset: Dataset, judge: Judge | None, limit: int = 1500, seed: int = 0
) -> Metrics:
    """Metrics of a model on the `held_out` part of a prepared folder; shares are 0..1.

    - `accuracy`: the classifier's, on labelled images, per attribute.
    - `reconstruction_psnr`: dB inside the photo, decoded against original.
    - `leakage`: accuracy of a logistic regression from residual codes to each attribute, learned on codes of
      training images, and `leakage_majority`, the share of the most frequent value among the same images.
    - with a judge: `swap_success` and `swap_preserved` on decoded swaps, and `swap_success_kept_detail`
      on what *keep detail* shows at the model's resolution.
    """
    held = _sample(dataset.part("held_out"), limit, seed)
    images, inside = pixels_of(held, model.card.image_size)
    codes = encode_all(model, images)
    labels = held.label_array()
    names = [a.name for a in model.card.attributes]
    decoded = decode_all(model, codes)
    metrics: Metrics = {"images": float(len(held)), "accuracy": {}}
    accuracy: dict[str, float] = {}
    for k, name in enumerate(names):
        known = labels[:, k] >= 0
        if known.any():
            accuracy[name] = float((codes.probabilities[k][known].argmax(1) == labels[known, k]).mean())
    metrics["accuracy"] = accuracy
    error = ((decoded - images / 255.0) ** 2).mean(-1)
    per_image = (error * inside).sum((1, 2)) / inside.sum((1, 2)).clip(1)
    metrics["reconstruction_psnr"] = float(np.mean(-10 * np.log10(per_image.clip(1e-8))))
    train = _sample(dataset.part("train"), 3 * limit, seed)
    train_codes = encode_all(model, pixels_of(train, model.card.image_size)[0])
    found, majority = {}, {}
    for k, name in enumerate(names):
        probe = leakage(
            train_codes.residual.cpu().numpy(),
            train.label_array()[:, k],
            codes.residual.cpu().numpy(),
            labels[:, k],
        )
        if probe is not None:
            found[name], majority[name] = probe.accuracy, probe.majority
    metrics["leakage"], metrics["leakage_majority"] = found, majority
    if judge is not None:
        metrics |= _judge_swaps(model, judge, images, codes, decoded)
    return metrics


def _judge_swaps(
    model: Model, judge: Judge, images: np.ndarray, codes: Codes, decoded: np.ndarray
) -> Metrics:
    """Every image is swapped to every value of every attribute that the judge doesn't see in it already."""
    before, before_kept = judge.values(_bytes(decoded)), judge.values(images)
    mask = feather_mask(model.card.image_size)[None, ..., None]
    results: dict[str, dict[str, float]] = {
        "swap_success": {},
        "swap_preserved": {},
        "swap_success_kept_detail": {},
    }
    for k, attribute in enumerate(model.card.attributes):
        decoded_outcomes, kept_outcomes = [], []
        for v, value in enumerate(attribute.values):
            edited = decode_all(model, model.swap(codes, [Swap(attribute.name, value.name)]))
            target = np.full(len(images), v)
            decoded_outcomes.append((judge.values(_bytes(edited)), target, before))
            kept = (images / 255.0 + mask * (edited - decoded)).clip(0, 1)
            kept_outcomes.append((judge.values(_bytes(kept)), target, before_kept))
        outcome = swap_outcome(*_joined(decoded_outcomes), attribute=k)
        results["swap_success"][attribute.name] = outcome.success
        results["swap_preserved"][attribute.name] = outcome.preserved
        results["swap_success_kept_detail"][attribute.name] = swap_outcome(
            *_joined(kept_outcomes), attribute=k
        ).success
    return dict(results)


def _joined(
    parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    after, target, before = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return after, target, before


def pixels_of(dataset: Dataset, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, size, size, 3) uint8 images and (n, size, size) bool masks of a whole part."""
    images, masks = [], []
    for start in range(0, len(dataset), BATCH):
        batch, mask = dataset.batch(np.arange(start, min(start + BATCH, len(dataset))), size)
        images.append(((batch.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy())
        masks.append(mask[:, 0].numpy() > 0)
    return np.concatenate(images), np.concatenate(masks)


def encode_all(model: Model, images: np.ndarray) -> Codes:
    """`Model.encode` in batches."""
    parts = [model.encode(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return Codes(
        torch.cat([p.residual for p in parts]),
        torch.cat([p.attributes for p in parts]),
        tuple(np.concatenate(k) for k in zip(*(p.probabilities for p in parts), strict=True)),
    )


def decode_all(model: Model, codes: Codes) -> np.ndarray:
    """`Model.decode` in batches."""
    made = []
    for start in range(0, len(codes.residual), BATCH):
        rows = slice(start, start + BATCH)
        made.append(
            model.decode(replace(codes, residual=codes.residual[rows], attributes=codes.attributes[rows]))
        )
    return np.concatenate(made)


def _bytes(images: np.ndarray) -> np.ndarray:
    return (images * 255).round().astype(np.uint8)


def _sample(dataset: Dataset, limit: int, seed: int) -> Dataset:
    if len(dataset) <= limit:
        return dataset
    return dataset.take(np.sort(np.random.default_rng(seed).choice(len(dataset), limit, replace=False)))
