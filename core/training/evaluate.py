"""What a model is worth, measured on held-out images; the numbers go into its card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from core.editing.blend import feather_mask
from core.editing.detail import change_of_pictures
from core.errors import StudioError
from core.metrics.probe import probe
from core.metrics.sap import balanced_accuracy
from core.metrics.swaps import swap_score
from core.model import Codes, Model, to_bytes
from core.recipe import Swap
from core.training.dataset import Dataset
from core.training.finetune import AnyJudge, fit_dataset

BATCH = 128
MOST = 20_000  # held-out images that are measured: so many tell a share to half a point
FOLDS = 5  # of the leakage's probe: few images are labelled for hair, and so all of them tell
Metrics = dict[str, float | dict[str, float]]


def evaluate(
    model: Model, dataset: Dataset, judge: AnyJudge | None, limit: int = 1500, seed: int = 0
) -> Metrics:
    """Metrics of a model on the `held_out` part of a prepared folder, up to `MOST` images; shares are 0..1.

    - `accuracy`: the classifier's, on labelled images, per attribute.
    - `reconstruction_psnr`: dB inside the photo, decoded against original.
    - `leakage`: accuracy of a logistic regression from residual codes to each attribute, cross-validated
      (`FOLDS`) on the same images, and `leakage_majority`, what guessing the commonest value gets right.
    - with a judge, of the attributes that it knows: `judge_accuracy` on the labelled photos themselves, and
      `judge_recall`, the mean over the values, all of which it takes for equally likely;
      `swap_success` and `swap_preserved` on decoded swaps, and both `..._kept_detail` on what *keep detail*
      shows at the model's resolution. Swaps, of which every image has many, are those of `limit` images.

    StudioError where no images are held out.
    """
    whole = dataset.part("held_out")
    if not len(whole):
        raise StudioError("No images are held out to measure on.", "Prepare more images.")
    # the images may be labelled for other attributes than the model's
    held = fit_dataset(sample(whole, MOST, seed), model.card.attributes)
    labels = held.label_array()
    names = [a.name for a in model.card.attributes]
    seen = [_see(model, judge, *pixels) for pixels in _pixels(held, model.card.image_size)]
    found, residual, psnr = (np.concatenate(parts) for parts in zip(*(s[:3] for s in seen), strict=True))
    metrics: Metrics = {"images": float(len(held)), "accuracy": accuracy(found, labels, names)}
    metrics["reconstruction_psnr"] = float(np.mean(psnr))
    probes = probe(residual, labels, names, folds=FOLDS, seed=seed)
    metrics["leakage"] = {p.name: p.accuracy.share for p in probes}
    metrics["leakage_majority"] = {p.name: p.majority for p in probes}
    if judge is not None:
        judged = np.concatenate([s[3] for s in seen])
        metrics["judge_accuracy"] = accuracy(judged, labels, names)
        metrics["judge_recall"] = recall(judged, labels, names)
        swapped = sample(whole, limit, seed)
        metrics["swapped_images"] = float(len(swapped))
        images, inside = pixels_of(swapped, model.card.image_size)
        codes = encode_all(model, images)
        metrics |= judge_swaps(model, judge, images, inside, codes, partial(decode_all, model))
    return metrics


def _see(model: Model, judge: AnyJudge | None, images: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """Of images (N, S, S, 3) uint8 and `inside` (N, S, S): values (N, K), residual codes, dB (N,).

    Values are the classifier's, dB those of the decoded images where they are photo; with a judge its values
    (N, K) come last.
    """
    codes = model.encode(images)
    error = ((model.decode(codes) - unit(images)) ** 2).mean(-1)
    share = (error * inside).sum((1, 2)) / inside.sum((1, 2)).clip(1)
    found = np.stack([p.argmax(1) for p in codes.probabilities], 1)
    seen = [found, codes.residual.cpu().numpy(), -10 * np.log10(share.clip(1e-8))]
    return seen if judge is None else [*seen, judge.values(images)]


def accuracy(found: np.ndarray, labels: np.ndarray, names: list[str]) -> dict[str, float]:
    """Share of right values by attribute, where `labels` (N, K) and what was `found` are known (>= 0)."""
    known = (labels >= 0) & (found >= 0)
    right = known & (found == labels)
    return {
        name: float(right[:, k].sum() / known[:, k].sum())
        for k, name in enumerate(names)
        if known[:, k].any()
    }


def recall(found: np.ndarray, labels: np.ndarray, names: list[str]) -> dict[str, float]:
    """The same of each value, and the mean over those that are there."""
    known = (labels >= 0) & (found >= 0)
    return {
        name: balanced_accuracy(found[known[:, k], k], labels[known[:, k], k])
        for k, name in enumerate(names)
        if known[:, k].any()
    }


def judge_swaps(
    model: Model,
    judge: AnyJudge,
    images: np.ndarray,
    inside: np.ndarray,
    codes: Codes,
    decode: Callable[[Codes], np.ndarray],
) -> Metrics:
    """Every image is swapped to every value of every attribute that the judge does not see already.

    `decode` makes (N, S, S, 3) float32 of the codes of the same (N, S, S, 3) uint8 images, swapped or not;
    `inside` (N, S, S) is where these are photo.
    """
    decoded = decode(codes)
    before, before_kept = judge.values(to_bytes(decoded)), judge.values(images)
    seen = [k for k in range(before.shape[1]) if (before[:, k] >= 0).any()]
    names = [model.card.attributes.attributes[k].name for k in seen]
    before, before_kept = before[:, seen], before_kept[:, seen]
    mask = feather_mask(model.card.image_size)[None, ..., None]
    success, preserved, kept_success, kept_preserved = {}, {}, {}, {}
    for k, attribute in enumerate(model.card.attributes.attributes[place] for place in seen):
        targets, after, after_kept = [], [], []
        for v, value in enumerate(attribute.values):
            edited = decode(model.swap(codes, [Swap(attribute.name, value.name)]))
            targets.append(np.full(len(images), v))
            after.append(judge.values(to_bytes(edited))[:, seen])
            change = change_of_pictures(images, decoded, edited, inside)
            pasted = (unit(images) + mask * change).clip(0, 1)
            after_kept.append(judge.values(to_bytes(pasted))[:, seen])
        repeats, target = len(attribute.values), np.concatenate(targets)
        score = swap_score(np.tile(before, (repeats, 1)), np.concatenate(after), k, target, names)
        kept = swap_score(np.tile(before_kept, (repeats, 1)), np.concatenate(after_kept), k, target, names)
        success[attribute.name], kept_success[attribute.name] = score.success.share, kept.success.share
        if len(seen) > 1:  # a judge of one attribute sees no other
            preserved[attribute.name] = score.preservation
            kept_preserved[attribute.name] = kept.preservation
    return {
        "swap_success": success,
        "swap_preserved": preserved,
        "swap_success_kept_detail": kept_success,
        "swap_preserved_kept_detail": kept_preserved,
    }


def pixels_of(dataset: Dataset, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, size, size, 3) uint8 images and (n, size, size) bool masks of a whole part."""
    images, masks = zip(*_pixels(dataset, size), strict=True)
    return np.concatenate(images), np.concatenate(masks)


def _pixels(dataset: Dataset, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same in batches."""
    for start in range(0, len(dataset), BATCH):
        batch, mask = dataset.batch(np.arange(start, min(start + BATCH, len(dataset))), size)
        images = ((batch.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        yield images, mask[:, 0].numpy() > 0


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


def unit(images: np.ndarray) -> np.ndarray:
    """uint8 as float32 in 0..1: twice as short as what numpy divides to, of thousands of images."""
    return images.astype(np.float32) / 255


def sample(dataset: Dataset, limit: int, seed: int = 0) -> Dataset:
    """At most `limit` images, any of them, the same ones for a seed."""
    if len(dataset) <= limit:
        return dataset
    return dataset.take(np.sort(np.random.default_rng(seed).choice(len(dataset), limit, replace=False)))
