"""The discriminator of the synthesis stage."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.layers import SLOPE, DownBlock, shrunk


class Discriminator(nn.Module):
    """(N, 3, S, S) in -1..1 to realness logits (N,); the trunk's shape with a hidden layer on top.

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
        return self.head(self.blocks(x).flatten(1)).float()[:, 0]
