"""Batch normalisation worked into the convolutions before it: the same embeddings in less time.

Where nothing is learned any more, a normalisation is a scale and a shift a channel, which a convolution has
already; apart, each costs a way through memory. Which convolution is followed by which normalisation is seen
by sending a picture through.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-3  # of the largest number of an embedding


@torch.no_grad()
def fuse(visual: nn.Module, size: int | tuple[int, int]) -> int:
    """Fuse what can be in the image side of a CLIP in `eval` mode, in place; how many were fused.

    `size` is that of the pictures it sees. Nothing is changed where the result would differ.
    """
    if not any(isinstance(m, nn.BatchNorm2d) for m in visual.modules()):
        return 0
    height, width = size if isinstance(size, tuple) else (size, size)
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made: list[tuple[nn.Conv2d, torch.Tensor]] = []  # kept, so that none takes another's place in memory
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def note(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        if isinstance(module, nn.Conv2d):
            made.append((module, result))
        else:
            pairs.extend((c, module) for c, t in made if t is given[0])  # type: ignore[misc]

    watched = [m for m in visual.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [m.register_forward_hook(note) for m in watched]
    try:
        before = visual(picture)
    finally:
        for hook in hooks:
            hook.remove()
    replaced: dict[nn.Module, nn.Module] = {}
    for convolution, norm in pairs:
        replaced[convolution] = fuse_conv_bn_eval(convolution, norm)
        # timm's normalisations have the activation in them
        replaced[norm] = getattr(norm, "act", None) or nn.Identity()
    _replace(visual, replaced)
    if (visual(picture) - before).abs().max() > TOLERANCE * before.abs().max():
        _replace(visual, {new: old for old, new in replaced.items()})
        return 0
    return len(pairs)


def _replace(root: nn.Module, by: dict[nn.Module, nn.Module]) -> None:
    for parent in list(root.modules()):
        for name, child in parent.named_children():
            if child in by:
                setattr(parent, name, by[child])
