"""The exponential moving average of a network's weights, which is what is kept and used."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the weights of `average` to those of `network`, the same in shape, by 1 - `decay`.

    In the first steps by more, so that what it began with is soon forgotten. Buffers of floating point follow
    too (the statistics of a normalisation); others are copied.
    """
    decay = min(decay, (1 + step) / (10 + step))
    means: list[torch.Tensor] = list(average.parameters())
    own: list[torch.Tensor] = list(network.parameters())
    for mean, tensor in zip(average.buffers(), network.buffers(), strict=True):
        if mean.dtype.is_floating_point:
            means.append(mean)
            own.append(tensor)
        else:
            mean.copy_(tensor)
    torch._foreach_lerp_(means, own, 1 - decay)
