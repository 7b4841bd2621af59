"""How true edits stay to their photo: reconstruction before and after Refine, swaps after it, identity.

Refine takes seconds a face and dlib's embedding a tenth of one, so these are measured on few images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from core.editing.blend import feather_mask
from core.editing.detail import change_of_pictures
from core.editing.refine import STEPS, Refined, Refining
from core.metrics.identity import Identity
from core.model import Codes, Model, to_bytes
from core.recipe import Swap
from core.training.dataset import Dataset
from core.training.evaluate import Metrics, judge_swaps, unit
from core.training.finetune import AnyJudge

# Identity is measured for these, in keep detail: age or gender may make another person of somebody.
KEPT = ("glasses", "smile", "hair_color", "facial_hair")


def row_of(codes: Codes, i: int) -> Codes:
    """The codes of image `i` alone."""
    here = slice(i, i + 1)
    return Codes(codes.residual[here], codes.attributes[here], tuple(p[here] for p in codes.probabilities))


def refined_metrics(
    model: Model,
    judge: AnyJudge | None,
    images: np.ndarray,
    inside: np.ndarray,
    codes: Codes,
    progress: Callable[[int], None] = lambda done: None,
) -> Metrics:
    """Refine every image (N, S, S, 3) uint8, `inside` (N, S, S), with its codes, and measure again.

    `unrefined_psnr` and `refined_psnr` are of these images; with a judge, `refined_swap_success` and
    `unrefined_swap_success`, and both `..._kept_detail`, of the same swaps with and without Refine.
    """
    refined: list[Refined] = []
    for i, image in enumerate(images):
        refining = Refining(model, row_of(codes, i), image, inside[i], STEPS)
        while not refining.done:
            refining.step()
        refined.append(refining.result())
        progress(i + 1)
    metrics: Metrics = {
        "refined_images": float(len(images)),
        "unrefined_psnr": float(np.mean([r.psnr[0] for r in refined])),
        "refined_psnr": float(np.mean([r.psnr[1] for r in refined])),
    }
    if judge is None:
        return metrics
    for prefix, fitted in (("unrefined", None), ("refined", refined)):
        found = judge_swaps(model, judge, images, inside, codes, partial(_decode, model, refined=fitted))
        metrics |= {f"{prefix}_{name}": shares for name, shares in found.items() if "success" in name}
    return metrics


def _decode(model: Model, codes: Codes, refined: list[Refined] | None) -> np.ndarray:
    if refined is None:
        return model.decode(codes)
    return np.concatenate([one.decode(model, row_of(codes, i)) for i, one in enumerate(refined)])


def identity_metrics(
    model: Model, held: Dataset, images: np.ndarray, inside: np.ndarray, codes: Codes
) -> Metrics:
    """`identity_kept`: the share of *keep detail* edits, for each attribute of `KEPT`, of the same person.

    Edits are judged at the size the images are stored in, as a person would see them. Every image is swapped
    to every value that the model does not see in it. StudioError where dlib's embedding is not installed.
    """
    identity = Identity()
    stored = held.images[held.rows]
    size = stored.shape[1]
    before = identity.embed(stored)
    mask = torch.from_numpy(feather_mask(size))[None, None]
    decoded = model.decode(codes)
    kept: dict[str, float] = {}
    for k, attribute in enumerate(model.card.attributes):
        if attribute.name not in KEPT:
            continue
        same: list[np.ndarray] = []
        for v, value in enumerate(attribute.values):
            other = codes.probabilities[k].argmax(1) != v
            if not other.any():
                continue
            edited = model.decode(model.swap(codes, [Swap(attribute.name, value.name)]))
            pictures = change_of_pictures(images, decoded, edited, inside)
            change = torch.from_numpy(pictures).permute(0, 3, 1, 2)
            change = torch.nn.functional.interpolate(change, (size, size), mode="bicubic") * mask
            after = (unit(stored) + change.permute(0, 2, 3, 1).numpy()).clip(0, 1)
            same.append(identity.same(before[other], to_bytes(after[other])))
        if same:
            kept[attribute.name] = float(np.concatenate(same).mean())
    return {"identity_images": float(len(images)), "identity_kept": kept}
