"""The discriminators of the synthesis stage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.layers import SLOPE, DownBlock, shrunk

HIDDEN = 32  # channels of each small network on a map of features
PLACES = 4  # a side: each of so many squares of a map is judged alone, so that a stain is told where it is


class Discriminator(nn.Module):
    """(N, 3, S, S) in -1..1 to realness logits (N, 1); the trunk's shape with a hidden layer on top.

    It looks at `image_size` pixels a side, the means of larger images.
    """

    def __init__(self, image_size: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.image_size = image_size
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.blocks = nn.Sequential(*(DownBlock(a, b, deep=False) for a, b in pairwise(widths)))
        side = image_size >> (len(widths) - 1)
        self.head = nn.Sequential(
            nn.Linear(widths[-1] * side * side, 128), nn.LeakyReLU(SLOPE), nn.Linear(128, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        x = F.leaky_relu(self.stem(shrunk(images, self.image_size)), SLOPE)
        return self.head(self.blocks(x).flatten(1)).float()


class FeatureDiscriminator(nn.Module):
    """Maps of a network that rests, each (N, C, S, S), to realness logits (N, maps * 16): 4 x 4 of each map.

    What such a network knows of pictures need not be learned from the few that there are (Sauer et al. 2021,
    “Projected GANs Converge Faster”). Unlike there the maps are not mixed, their places are of unit length,
    and a gradient penalty on them takes the place of spectral normalisation, which changes in each step.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(count, HIDDEN, 3, 2, 1), nn.LeakyReLU(SLOPE),
                nn.Conv2d(HIDDEN, HIDDEN, 3, 1, 1), nn.LeakyReLU(SLOPE),
                nn.Conv2d(HIDDEN, 1, 1),
            )
            for count in channels
        )  # fmt: skip

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """As the class says."""
        found = []
        for head, x in zip(self.heads, maps, strict=True):
            logits = head(F.normalize(x, dim=1, eps=1e-4) * x.shape[1] ** 0.5)
            found.append(F.adaptive_avg_pool2d(logits.float(), PLACES).flatten(1))
        return torch.cat(found, 1)
