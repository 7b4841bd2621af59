"""Where in the canonical frame each value is seen: hair around a face, a moustache on the lip.

A swap is to change its attribute, and a guide may be persuaded anywhere: a bald head was stains on chin and
mouth, a moustache an orange chin. Where images with a value differ from images with another, all other
attributes being equal, is told by a linear regression of every pixel on all values at once. Beyond these
regions a change costs more, and no guide sees it. Not in the paper; of use where images are aligned, and for
attributes that have a place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.classifier import value_starts
from core.nets.layers import box_mean

SIDE = 32  # of the maps
RIDGE = 1.0  # in images
ERRORS = 5.0  # standard errors from which on a difference is one
LARGEST = 0.98  # quantile of the differences between two values that counts as the largest
FAINT, CLEAR = 0.1, 0.3  # of the largest: not in the region, and wholly in it


class Regions(nn.Module):
    """`maps` (V, SIDE, SIDE) in 0..1 of all attributes' values, 1 where a swap to the value is seen.

    A buffer, for checkpoints to hold.
    """

    maps: torch.Tensor
    starts: torch.Tensor

    def __init__(self, value_counts: Sequence[int]) -> None:
        super().__init__()
        self.value_counts = list(value_counts)
        self.register_buffer("maps", torch.ones(sum(value_counts), SIDE, SIDE))
        self.register_buffer("starts", value_starts(value_counts), persistent=False)

    def forward(self, attribute: torch.Tensor, value: torch.Tensor, size: int) -> torch.Tensor:
        """(N, 1, size, size) where swaps of attributes (N,), -1 for none, to values (N,) are seen."""
        found = self.maps[self.starts[attribute.clamp(min=0)] + value]
        found = torch.where((attribute >= 0)[:, None, None], found, 0.0)[:, None]
        return F.interpolate(found, size=(size, size), mode="bilinear", align_corners=False)

    def of_attributes(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps from a checkpoint in which all values of an attribute had one, (K, SIDE, SIDE)."""
        counts = torch.tensor(self.value_counts, device=maps.device)
        return maps.repeat_interleave(counts, 0) if len(maps) < len(self.maps) else maps


def seen_in(
    shares: torch.Tensor,
    pictures: torch.Tensor,
    inside: torch.Tensor,
    counts: Sequence[int],
    mirrored: bool = False,
) -> torch.Tensor:
    """Maps (V, S, S) of pictures (N, C, S, S), known where `inside` (N, S, S) is 1.

    `shares` (N, V) say how much of each value a picture has, the `counts` of all attributes side by side.
    `mirrored` if mirrored pictures are as good. The map of a value holds where pictures with it differ from
    those with any other: of “moustache” the lip, and of “none” the chin as well.
    """
    n, channels, side, _ = pictures.shape
    x, known = shares.double(), inside.reshape(n, -1).double()
    values = x.shape[1]
    y = pictures.reshape(n, channels, -1).double()
    products = (x[:, :, None] * x[:, None, :]).reshape(n, -1)
    gram = (known.T @ products).reshape(-1, values, values)
    inverse = torch.linalg.inv(gram + RIDGE * torch.eye(values, dtype=x.dtype))
    found = inverse @ torch.einsum("nv,ncp->pvc", x, y * known[:, None])
    rest = (y - torch.einsum("nv,pvc->ncp", x, found)) * known[:, None]
    noise = (rest.square().sum(0) / known.sum(0).clamp(min=1.0)).mean(0)  # (P,)
    found, noise = found.reshape(side, side, values, channels), noise.reshape(side, side)
    inverse = inverse.reshape(side, side, values, values)
    if mirrored:
        # left and right err alike, so that both are not taken to tell more than one
        found, noise, inverse = ((m + m.flip(1)) / 2 for m in (found, noise, inverse))
    maps, start = [], 0
    for count in counts:
        places = range(start, start + count)
        start += count
        for a in places:
            best = torch.zeros(side, side, dtype=x.dtype)
            for b in places:
                far = (found[:, :, a] - found[:, :, b]).square().mean(2)
                error = (inverse[:, :, a, a] + inverse[:, :, b, b] - 2 * inverse[:, :, a, b]) * noise
                best = torch.maximum(best, _graded((far - ERRORS**2 * error).clamp(min=0.0)))
            maps.append(best)
    return torch.stack(maps).float()


def _graded(power: torch.Tensor) -> torch.Tensor:
    """(S, S) from squared differences (S, S): 1 in the region, 0 beyond, with soft edges."""
    size = box_mean(box_mean(power[None, None])).sqrt()
    size = size / size.quantile(LARGEST).clamp(min=1e-9)
    t = ((size - FAINT) / (CLEAR - FAINT)).clamp(0, 1)
    t = F.max_pool2d(t * t * (3 - 2 * t), 3, 1, 1)
    return box_mean(box_mean(t))[0, 0]
