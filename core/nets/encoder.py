"""The residual encoder of photos: a convolutional trunk, and a straight way past it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.layers import Trunk

THUMBNAIL = 16


class ResidualEncoder(nn.Module):
    """(N, C, S, S) in -1..1 to residual codes (N, R).

    A linear function of the image at 16 px, which can be solved for, and what the trunk adds to it, nothing
    at first. Residual codes that started as principal components are such a function, nearly.
    """

    def __init__(self, trunk: Trunk, image_channels: int, residual_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.features, residual_dim)
        self.base = nn.Linear(image_channels * THUMBNAIL**2, residual_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        return self.head(self.trunk(images)).float() + self.base(thumbnails(images)).float()


def thumbnails(images: torch.Tensor) -> torch.Tensor:
    """(N, C, S, S) to (N, C * 256): the means of 16 x 16 blocks."""
    return F.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1)
