"""Where in the canonical frame each attribute is seen: hair around a face, a moustache on the lip.

A swap is to change its attribute, and a guide may be persuaded anywhere: a bald head was stains on chin and
mouth. Where images with a value differ from images with another, all other attributes being equal, is told by
a linear regression of every pixel on all values at once. Beyond these regions a change costs more, and no
guide sees it. Not in the paper; of use where images are aligned, and for attributes that have a place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.layers import box_mean

SIDE = 32  # of the maps
RIDGE = 1.0  # in images
ERRORS = 3.0  # standard errors from which on a difference is one
LARGEST = 0.98  # quantile of a value's differences that counts as its largest
FAINT, CLEAR = 0.2, 0.5  # of the largest: not in the region, and wholly in it


class Regions(nn.Module):
    """`maps` (K, SIDE, SIDE) in 0..1, 1 where an attribute is seen; a buffer, for checkpoints to hold."""

    maps: torch.Tensor

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.register_buffer("maps", torch.ones(attributes, SIDE, SIDE))

    def forward(self, attribute: torch.Tensor, second: torch.Tensor, size: int) -> torch.Tensor:
        """(N, 1, size, size) where attributes (N,) are seen, or a second one (N,), -1 for none."""
        found = self.maps[attribute]
        other = torch.where((second >= 0)[:, None, None], self.maps[second.clamp(min=0)], 0.0)
        found = torch.maximum(found, other)[:, None]
        return F.interpolate(found, size=(size, size), mode="bilinear", align_corners=False)


def seen_in(
    shares: torch.Tensor, pictures: torch.Tensor, inside: torch.Tensor, counts: Sequence[int]
) -> torch.Tensor:
    """Maps (K, S, S) of pictures (N, C, S, S), known where `inside` (N, S, S) is 1.

    `shares` (N, V) say how much of each value a picture has, the `counts` of all attributes side by side.
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
    maps, start = [], 0
    for count in counts:
        places = slice(start, start + count)
        start += count
        common = x[:, places].sum(0) / x[:, places].sum().clamp(min=1.0)
        best = torch.zeros(side * side, dtype=x.dtype)
        for v in range(count):
            against = torch.zeros(values, dtype=x.dtype)
            against[places] = -common
            against[places.start + v] += 1.0
            far = torch.einsum("v,pvc->pc", against, found).square().mean(1)
            error = torch.einsum("v,pvw,w->p", against, inverse, against) * noise
            best = torch.maximum(best, _graded((far - ERRORS**2 * error).clamp(min=0.0).reshape(side, side)))
        maps.append(best.reshape(side, side))
    return torch.stack(maps).float()


def _graded(power: torch.Tensor) -> torch.Tensor:
    """(S * S,) from squared differences (S, S): 1 in the region, 0 beyond, with soft edges."""
    size = box_mean(box_mean(power[None, None])).sqrt()
    size = size / size.quantile(LARGEST).clamp(min=1e-9)
    t = ((size - FAINT) / (CLEAR - FAINT)).clamp(0, 1)
    t = F.max_pool2d(t * t * (3 - 2 * t), 3, 1, 1)
    return box_mean(box_mean(t)).flatten()
