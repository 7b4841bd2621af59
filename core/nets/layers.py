"""Building blocks shared by the networks."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

SLOPE = 0.2
GAIN = math.sqrt(2.0)


def shrunk(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images (N, C, S, S) at most at `size`, which divides S: means of blocks."""
    return F.avg_pool2d(images, images.shape[2] // size) if images.shape[2] > size else images


def box_mean(images: torch.Tensor, radius: int = 1) -> torch.Tensor:
    """(N, C, S, S) means over squares of `2 * radius + 1`; what is beyond the border is not counted."""
    return F.avg_pool2d(images, 2 * radius + 1, 1, radius, count_include_pad=False)


class ModulatedConv(nn.Module):
    """A 3x3 convolution whose input channels are scaled by a style and whose output is demodulated.

    Karras et al. 2020 (StyleGAN2, section 2.2), without per-sample weights: the input is scaled by the
    style and the output by the demodulation factor, which is the same arithmetic and lets one ordinary
    convolution serve the whole batch. (N, I, H, W) and (N, S) to (N, O, H, W).
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / math.sqrt(inputs * 9))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = nn.Linear(style_dim, inputs)
        nn.init.normal_(self.affine.weight, std=1 / math.sqrt(style_dim))
        nn.init.ones_(self.affine.bias)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        scale = self.affine(style)
        energy = self.weight.square().sum((2, 3))
        # the gain of the activation, which is the same before it and cheaper here
        demodulation = GAIN * torch.rsqrt(scale.square() @ energy.T + 1e-8)
        x = F.conv2d(_by_channel(x, scale), self.weight, padding=1)
        return F.leaky_relu(_by_channel(x, demodulation, GAIN * self.bias), SLOPE)


def _by_channel(x: torch.Tensor, factor: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
    """(N, C, H, W) times (N, C), plus (C,), in the type of `x`, which autocast may have made shorter.

    Channels are looked at as the last dimension, as they lie in memory: with factors (N, C, 1, 1) the same
    product takes five times as long on a processor, and so do its gradients.
    """
    last, factor = x.permute(0, 2, 3, 1), factor.to(x.dtype)[:, None, None]
    last = last * factor if shift is None else torch.addcmul(shift.to(x.dtype), last, factor)
    return last.permute(0, 3, 1, 2)


class DownBlock(nn.Module):
    """Halve the resolution; group-normalised, with a residual second convolution where `deep`."""

    def __init__(self, inputs: int, outputs: int, deep: bool = True) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.norm = nn.GroupNorm(8, outputs)
        self.conv = nn.Conv2d(outputs, outputs, 3, 1, 1) if deep else None
        self.norm2 = nn.GroupNorm(8, outputs) if deep else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        x = F.leaky_relu(self.norm(self.down(x)), SLOPE)
        if self.conv is not None and self.norm2 is not None:
            x = F.leaky_relu(x + self.norm2(self.conv(x)), SLOPE)
        return x


class Trunk(nn.Module):
    """Image to a feature vector: (N, C, S, S) in -1..1 to (N, features), 16 times the last width.

    One stem convolution at full resolution, then one `DownBlock` for each width but the first, to 4x4.
    With `fold` above 1, so many pixels a side become channels first (Shi et al. 2016).
    """

    def __init__(self, image_channels: int, image_size: int, widths: tuple[int, ...], fold: int = 1) -> None:
        super().__init__()
        if image_size >> (len(widths) - 1) != 4 * fold:
            raise ValueError(f"{len(widths)} widths do not take {image_size // fold} px to 4 px")
        self.fold = fold
        self.stem = nn.Conv2d(image_channels * fold**2, widths[0], 3, 1, 1)
        self.blocks = nn.ModuleList(DownBlock(a, b, deep=i > 0) for i, (a, b) in enumerate(pairwise(widths)))
        self.features = widths[-1] * 16

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The feature maps of the stem and of every block, the finest first."""
        if self.fold > 1:
            # in the other order of memory unfolding is much slower
            x = F.pixel_unshuffle(x.contiguous(), self.fold).contiguous(memory_format=torch.channels_last)
        x = F.leaky_relu(self.stem(x), SLOPE)
        out = [x]
        for block in self.blocks:
            x = block(x)
            out.append(x)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        return self.maps(x)[-1].flatten(1)
