"""The five-point landmark network: a small residual convolutional network of our own."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

INPUT_SIZE = 64
POINTS = 5


class _Block(nn.Module):
    """Halve the resolution: a strided convolution and a residual pair."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        x = torch.relu(self.norm(self.down(x)))
        return torch.relu(x + self.norm1(self.conv1(x)))


class Landmarker(nn.Module):
    """(N, 3, 64, 64) in -1..1 to (N, 5, 2) points in the unit square of the crop (may lie outside it).

    Order: left eye, right eye, nose tip, left and right mouth corner, as seen in the picture.
    """

    def __init__(self, channels: tuple[int, ...] = (24, 48, 96, 160)) -> None:
        super().__init__()
        widths = (3, *channels)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise(widths)))
        side = INPUT_SIZE // 2 ** len(channels)
        self.head = nn.Linear(channels[-1] * side * side, POINTS * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        return 0.5 + 0.25 * self.head(self.blocks(x).flatten(1)).reshape(-1, POINTS, 2)
