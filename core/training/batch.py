"""What one step works on: images with all of the step's random choices, and the sums its means divide by.

A step's whole batch may be cut into parts, one for each process and more where memory is short. Losses of a
part are divided by counts of the whole, so that the parts' losses and gradients add up to the whole's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch.nn import functional as F

SMALLEST_SIDE = 4  # of the feature maps that a perceptual loss may compare


@dataclass(frozen=True)
class Whole:
    """Counts over a step's whole batch, in float: what losses divide by.

    `pixels` by side of a feature map: how many of its pixels lie inside the photos. `known`, `unknown` (K,):
    images with and without a label. `images`, `halves`, `coded`: images in all, that are swapped, that have
    a residual code.
    """

    images: torch.Tensor
    halves: torch.Tensor
    coded: torch.Tensor
    known: torch.Tensor
    unknown: torch.Tensor
    pixels: dict[int, torch.Tensor]

    def flat(self) -> torch.Tensor:
        """All counts in one vector, to be added up over processes."""
        heads = [self.images, self.halves, self.coded]
        return torch.cat([torch.stack([*heads, *self.pixels.values()]), self.known, self.unknown])

    def from_flat(self, flat: torch.Tensor) -> Whole:
        """The same with other counts."""
        heads, sides, count = flat[:3], list(self.pixels), len(self.known)
        pixels = dict(zip(sides, flat[3 : 3 + len(sides)], strict=True))
        known, unknown = flat[3 + len(sides) :].split(count)
        return Whole(heads[0], heads[1], heads[2], known, unknown, pixels)


@dataclass(frozen=True)
class Batch:
    """Images (N, C, S, S) in -1..1, what is `seen` by the encoders, mask (N, 1, S, S), labels (N, K).

    `seen` may lack a border that `images` has. `code_rows` (N,) are rows of the residual codes, -1 for none.
    `noise` (N, R) is added to residual codes; `swap_attribute` and `swap_draw` (N,) choose a swap's attribute
    and, in 0..1, its value; `half` (N,) says which images are swapped; `rehearsed` (N, K) in 0..1 choose the
    values of a picture that is only drawn; `jitter` (N, 4) in 0..1 moves what the classifier sees of a swap,
    and `grain` (N,) are the seeds of its noise; `second` (N, 3) in 0..1 choose whether another attribute is
    swapped as well, which, and its value. `places` (N,) are the images' places in the whole batch.
    """

    images: torch.Tensor
    seen: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    code_rows: torch.Tensor
    noise: torch.Tensor
    swap_attribute: torch.Tensor
    swap_draw: torch.Tensor
    half: torch.Tensor
    rehearsed: torch.Tensor
    jitter: torch.Tensor
    grain: torch.Tensor
    second: torch.Tensor
    places: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: torch.Tensor | slice) -> Batch:
        """Some of the images."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def split(self, pieces: int) -> list[Batch]:
        """About equal parts; images that are swapped are shared out evenly."""
        return [self.take(slice(start, None, pieces)) for start in range(min(pieces, len(self)))]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def counts(self) -> Whole:
        """Counts of this batch alone."""
        pixels, side, inside = {}, self.mask.shape[2], self.mask
        while side >= SMALLEST_SIDE:
            pixels[side] = inside.sum()
            side //= 2
            inside = mask_at(self.mask, side)
        known = self.labels >= 0
        f = self.mask.dtype
        return Whole(
            torch.tensor(float(len(self)), device=self.mask.device),
            self.half.sum().to(f),
            (self.code_rows >= 0).sum().to(f),
            known.sum(0).to(f),
            (~known).sum(0).to(f),
            pixels,
        )


def make_batch(
    images: torch.Tensor,
    seen: torch.Tensor,
    mask: torch.Tensor,
    labels: torch.Tensor,
    code_rows: torch.Tensor,
    residual_dim: int,
    generator: torch.Generator,
    part: slice = slice(None),
    whole: int | None = None,
) -> Batch:
    """A batch with its random choices, drawn for the `whole` batch of which the images are `part`."""
    count = len(labels) if whole is None else whole
    noise = torch.randn(count, residual_dim, generator=generator)
    attribute = torch.randint(labels.shape[1], (count,), generator=generator)
    draw = torch.rand(count, generator=generator)
    half = torch.arange(count) < count // 2
    rehearsed = torch.rand(count, labels.shape[1], generator=generator)
    jitter = torch.rand(count, 4, generator=generator)
    grain = torch.randint(2**62, (count,), generator=generator)
    second = torch.rand(count, 3, generator=generator)
    return Batch(
        images, seen, mask, labels, code_rows,
        noise[part], attribute[part], draw[part], half[part], rehearsed[part], jitter[part],
        grain[part], second[part],
        torch.arange(count)[part],
    )  # fmt: skip


def mask_at(mask: torch.Tensor, side: int) -> torch.Tensor:
    """A mask (N, 1, S, S) at a smaller size: 1 where all of its pixels are 1."""
    if side == mask.shape[2] or side < 1:
        return mask
    return F.adaptive_avg_pool2d(mask, side).floor()


def epoch_rows(seed: list[int], count: int, step: int, size: int) -> np.ndarray:
    """(size,) rows of `count` for a step: every one once in each epoch, in a new order each time."""
    places = np.arange(step * size, (step + 1) * size)
    rows = np.empty(size, np.int64)
    for epoch in np.unique(places // count):
        order = np.random.default_rng([*seed, int(epoch)]).permutation(count)
        here = places // count == epoch
        rows[here] = order[places[here] % count]
    return rows
