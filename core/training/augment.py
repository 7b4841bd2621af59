"""Small changes of images that change nothing of what they show."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from core.nets.layers import box_mean


def moved(
    images: torch.Tensor,
    angle: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    mirror: torch.Tensor | None = None,
    size: int | None = None,
) -> torch.Tensor:
    """Images (N, C, S, S) turned by `angle` (N,) in radians, sized and shifted, with repeated borders.

    `scale` (N,) above 1 shows more of the image; `shift` (N, 2) is in halves of the image; `mirror` (N,) is
    -1 where left and right are exchanged. The result has `size`, or that of the images.
    """
    side = 1.0 if mirror is None else mirror
    sine, cosine = scale * torch.sin(angle), scale * torch.cos(angle)
    rows = torch.stack([cosine * side, -sine, shift[:, 0], sine * side, cosine, shift[:, 1]], 1)
    size = size or images.shape[2]
    grid = F.affine_grid(rows.view(-1, 2, 3), [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def vary_place(images: torch.Tensor, whole: int, part: slice, rng: np.random.Generator) -> torch.Tensor:
    """Small random turns, sizes and places, as faces are never found quite alike.

    Drawn for a `whole` batch, of which the images (N, C, S, S) are the `part`.
    """
    places = rng.normal(0, 0.06, whole), np.exp(rng.normal(0, 0.05, whole)), rng.normal(0, 0.03, (whole, 2))
    angle, scale, shift = (torch.from_numpy(p.astype(np.float32)[part]) for p in places)
    return moved(images, angle, scale, shift)


def vary_grain(
    images: torch.Tensor, most: float, whole: int, part: slice, rng: np.random.Generator
) -> torch.Tensor:
    """Noise on half of the images, of up to `most` standard deviation, and blur on a third of them.

    Drawn for a `whole` batch, of which the images (N, C, S, S) are the `part`.
    """
    seeds = torch.from_numpy(rng.integers(2**62, size=whole))[part]
    sigma = torch.from_numpy((most * rng.uniform(-1, 1, whole)).clip(0).astype(np.float32))[part]
    blurred = torch.from_numpy(rng.random(whole) < 1 / 3)[part]
    soft = box_mean(images)
    return with_noise(torch.where(blurred[:, None, None, None], soft, images), sigma, seeds)


def with_noise(images: torch.Tensor, sigma: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """Images (N, C, S, S) with normal noise of deviation `sigma` (N,), each from its own seed (N,)."""
    generator = torch.Generator()
    noise = [torch.randn(images.shape[1:], generator=generator.manual_seed(int(s))) for s in seeds]
    return images + sigma[:, None, None, None] * torch.stack(noise).to(images.device)


def vary_light(images: torch.Tensor, whole: int, part: slice, rng: np.random.Generator) -> torch.Tensor:
    """Small random changes of contrast and brightness; mid grey outside the photo stays near mid grey.

    Drawn for a `whole` batch, of which the images (N, C, S, S) are the `part`.
    """
    contrast = torch.from_numpy(rng.uniform(0.85, 1.15, (whole, 1, 1, 1)).astype(np.float32))[part]
    shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (whole, 1, 1, 1)).astype(np.float32))[part]
    return (images * contrast + shift).clamp(-1, 1)
