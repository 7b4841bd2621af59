"""The style-based generator: attribute codes and residual code to an image."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.layers import SLOPE, ModulatedConv


class StyleGenerator(nn.Module):
    """(N, code_dim) to (N, 3, S, S) in about -1..1; S = fold * 4 * 2 ** (len(widths) - 1).

    The concatenated codes go through a small mapping network to one style, which modulates every
    convolution of the synthesis network (Karras et al. 2020). Its 4 px start is a linear function of the
    codes, not a learned constant, so that layout need not pass through the styles. No noise inputs: all of
    an image is in its codes.

    With `fold` above 1 the last layer makes so many pixels a side of each of its places (Shi et al. 2016).
    A face of its own may be given as an `offset` (1 or N, `offset_shape`) to the features of 8 px.

    With `base_side` the picture begins as a linear function of the codes, of that many pixels a side, which
    the synthesis network adds to.
    """

    def __init__(
        self,
        code_dim: int,
        style_dim: int,
        widths: tuple[int, ...],
        mapping_layers: int = 2,
        fold: int = 1,
        base_side: int = 0,
    ) -> None:
        super().__init__()
        self.fold, self.base_side = fold, base_side
        self.offset_shape = (widths[1], 8, 8)
        layers: list[nn.Module] = []
        for i in range(mapping_layers):
            linear = nn.Linear(code_dim if i == 0 else style_dim, style_dim)
            nn.init.kaiming_normal_(linear.weight, SLOPE)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.LeakyReLU(SLOPE)]
        self.mapping = nn.Sequential(*layers)
        self.start = nn.Linear(code_dim, widths[0] * 16)
        self.first = ModulatedConv(widths[0], widths[0], style_dim)
        self.rises = nn.ModuleList(ModulatedConv(a, b, style_dim) for a, b in pairwise(widths))
        # at the finest resolution one convolution is enough, and it is the dearest
        self.refines = nn.ModuleList(ModulatedConv(b, b, style_dim) for b in widths[1:-1])
        self.to_rgb = nn.ModuleList(nn.Conv2d(b, 3, 1) for b in widths[1:])
        if fold > 1:
            self.to_rgb[-1] = nn.Conv2d(widths[-1], 3 * fold**2, 3, 1, 1)
        for layer in self.to_rgb:
            nn.init.normal_(layer.weight, std=0.1 / math.sqrt(layer.weight.shape[1]))  # type: ignore[arg-type, index]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.base = nn.Linear(code_dim, 3 * base_side**2) if base_side else None
        if self.base is not None:
            nn.init.zeros_(self.base.weight)
            nn.init.zeros_(self.base.bias)

    def forward(self, codes: torch.Tensor, offset: torch.Tensor | None = None) -> torch.Tensor:
        """As the class says."""
        style = self.mapping(codes)
        x = F.leaky_relu(self.start(codes), SLOPE).reshape(len(codes), -1, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.first(x, style)
        image: torch.Tensor | None = None
        for level, rise in enumerate(self.rises):
            x = rise(F.interpolate(x, scale_factor=2.0, mode="nearest"), style)
            if level < len(self.refines):
                x = self.refines[level](x, style)
            if level == 0 and offset is not None:
                x = x + offset.to(x.dtype)
            rgb = self.to_rgb[level](x).float()
            side = x.shape[2]
            if self.fold > 1 and level == len(self.rises) - 1:
                side *= self.fold
                rgb = F.pixel_shuffle(rgb.contiguous(), self.fold)
            image = rgb if image is None else _enlarged(image, side) + rgb
            if self.base is not None and side == self.base_side:
                image = image + self.base(codes).float().reshape(len(codes), 3, side, side)
        assert image is not None
        return image


def _enlarged(image: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
