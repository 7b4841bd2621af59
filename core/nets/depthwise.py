"""Depthwise convolutions whose gradients are quick in bfloat16 on a processor too.

oneDNN has quick kernels for a depthwise convolution of bfloat16, and for the gradient of 3 x 3 weights. For
the gradient of 5 x 5 weights and that of a strided one's input it falls back to its reference loops, ten to
twenty times as slow. Both can be said with what is quick: 5 x 5 weights are four overlapping squares of 3 x
3, or, where every second place is looked at, four small convolutions of every second row and column. The
gradient of a strided convolution's input is a convolution of the gradients with zeros between them (Dumoulin
and Visin 2016, section 4.5).
"""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

TILE = 3  # side of the weights whose gradient is quick


def depthwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    """`F.conv2d` of (N, C, H, W) with (C, 1, k, k), each channel for itself; differentiable once."""
    if torch.is_grad_enabled() and x.device.type == "cpu" and _made_of(x) == torch.bfloat16:
        return _Depthwise.apply(x, weight, bias, stride, padding)
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


def _made_of(x: torch.Tensor) -> torch.dtype:
    """The type that a convolution of `x` is computed in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int
    ) -> torch.Tensor:
        y = F.conv2d(x, weight, bias, stride, padding, groups=len(weight))
        # as the convolution saw them, which autocast may have made shorter
        ctx.save_for_backward(x.to(y.dtype), weight.to(y.dtype))
        ctx.types = x.dtype, weight.dtype, bias.dtype  # type: ignore[attr-defined]
        ctx.stride, ctx.padding = stride, padding  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: torch.Tensor):
        x, weight = ctx.saved_tensors
        found: list[torch.Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            found[0] = _input_slope(slope, weight, x.shape, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            found[1] = _weight_slope(slope, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            found[2] = slope.sum((0, 2, 3), dtype=torch.float32)
        return *(None if f is None else f.to(t) for f, t in zip(found, ctx.types, strict=True)), None, None


def _input_slope(
    slope: torch.Tensor, weight: torch.Tensor, shape: torch.Size, stride: int, padding: int
) -> torch.Tensor:
    """The gradient of the input, of `shape`."""
    kernel = weight.shape[2]
    if stride > 1:
        n, c, height, width = slope.shape
        apart = torch.empty(
            (n, c, (height - 1) * stride + 1, (width - 1) * stride + 1),
            dtype=slope.dtype,
            memory_format=torch.channels_last,
        ).zero_()
        apart[:, :, ::stride, ::stride] = slope
        slope = apart
    # rows and columns that no step of the kernel reached have no gradient
    below = shape[2] + 2 * padding - kernel - slope.shape[2] + 1
    right = shape[3] + 2 * padding - kernel - slope.shape[3] + 1
    if below or right:
        slope = F.pad(slope, (0, right, 0, below))
    return F.conv2d(slope, weight.flip(2, 3), None, 1, kernel - 1 - padding, groups=len(weight))


def _weight_slope(
    slope: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    """The gradient of the weights (C, 1, k, k)."""
    if max(weight.shape[2:]) <= TILE:
        return _tile_slope(slope, x, weight, stride, padding)
    if padding:
        x = F.pad(x, (padding,) * 4)
    found = torch.empty(weight.shape, dtype=slope.dtype)
    if stride > 1:
        for i in range(stride):
            for j in range(stride):
                own = weight[:, :, i::stride, j::stride]
                part = _corner(x[:, :, i::stride, j::stride], slope, own)
                found[:, :, i::stride, j::stride] = _weight_slope(slope, part, own, 1, 0)
        return found
    rows, columns = (_tile_starts(side) for side in weight.shape[2:])
    for i in rows:
        for j in columns:
            own = weight[:, :, i : i + TILE, j : j + TILE]
            part = _corner(x[:, :, i:, j:], slope, own)
            found[:, :, i : i + TILE, j : j + TILE] = _tile_slope(slope, part, own, 1, 0)
    return found


def _tile_starts(side: int) -> list[int]:
    """Where tiles begin that cover `side` weights."""
    return [*range(0, side - TILE, TILE - 1), max(side - TILE, 0)]


def _corner(x: torch.Tensor, slope: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As much of `x` as steps of 1 with these weights look at."""
    height, width = (a + b - 1 for a, b in zip(slope.shape[2:], weight.shape[2:], strict=True))
    return x[:, :, :height, :width].contiguous(memory_format=torch.channels_last)


def _tile_slope(
    slope: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    sides, zeros, ones = [stride] * 2, [0, 0], [1, 1]
    only = [False, True, False]
    return torch.ops.aten.convolution_backward(
        slope, x, weight, None, sides, [padding] * 2, ones, False, zeros, len(weight), only
    )[1]
