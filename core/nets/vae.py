"""The small encoder and decoder of the beta-VAE, for 64 px synthetic data (Higgins et al. 2017, table 1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class ConvEncoder(nn.Module):
    """(N, C, 64, 64) to (N, outputs): four strided 4x4 convolutions and one hidden layer."""

    def __init__(self, image_channels: int, outputs: int) -> None:
        super().__init__()
        widths = (image_channels, 32, 32, 64, 64)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()]
        self.net = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        return self.net(x)


class ConvDecoder(nn.Module):
    """(N, code_dim) to (N, C, 64, 64) in -1..1, the encoder's mirror image.

    An `offset` (1 or N, `offset_shape`) is added to the features of 4 px.
    """

    offset_shape = (64, 4, 4)

    def __init__(self, code_dim: int, image_channels: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(code_dim, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU())
        widths = (64, 64, 32, 32, image_channels)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1)] + ([nn.ReLU()] if i < 3 else [nn.Tanh()])
        self.net = nn.Sequential(*layers)

    def forward(self, codes: torch.Tensor, offset: torch.Tensor | None = None) -> torch.Tensor:
        """As the class says."""
        x = self.dense(codes).reshape(-1, *self.offset_shape)
        return self.net(x if offset is None else x + offset)
