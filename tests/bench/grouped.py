"""The usual way to train a style generator, to measure ours against: every sample has weights of its own.

As the ports of StyleGAN2 have it: weights are scaled by the style and demodulated for each sample, and the
batch is one image with a group for each sample. fp32, contiguous layout. Networks, parameters and losses are
ours, so that only the arithmetic's order differs.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.layers import SLOPE, ModulatedConv
from core.training.batch import Batch
from core.training.state import TrainState


class GroupedConv(nn.Module):
    """`ModulatedConv` with its own parameters, computed as one grouped convolution."""

    def __init__(self, ours: ModulatedConv) -> None:
        super().__init__()
        self.weight, self.bias, self.affine = ours.weight, ours.bias, ours.affine

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """As `ModulatedConv`."""
        count, inputs, height, width = x.shape
        weight = self.weight[None] * self.affine(style)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        outputs = weight.shape[1]
        x = x.contiguous().reshape(1, count * inputs, height, width)
        x = F.conv2d(x, weight.reshape(count * outputs, inputs, 3, 3), padding=1, groups=count)
        x = x.reshape(count, outputs, height, width) + self.bias[:, None, None]
        return F.leaky_relu(x, SLOPE) * math.sqrt(2)


def grouped_state(state: TrainState) -> TrainState:
    """A copy of a training's state whose generator is computed so; without optimisers."""
    optimizers, state.optimizers = state.optimizers, {}
    twin = copy.deepcopy(state)
    state.optimizers = optimizers
    twin.precision = torch.float32
    for networks in (twin.networks, twin.average):
        for parent in list(networks.generator.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, ModulatedConv):
                    setattr(parent, name, GroupedConv(child))
    for module in (twin.networks, twin.average, twin.discriminator, twin.features, *twin.guides):
        if module is not None:
            module.to(memory_format=torch.contiguous_format)
    return twin


def contiguous(batch: Batch) -> Batch:
    """The batch in the contiguous layout."""
    from dataclasses import replace

    return replace(batch, images=batch.images.contiguous(), seen=batch.seen.contiguous())
