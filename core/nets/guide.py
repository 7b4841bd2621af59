"""The guide of swaps: a small classifier that sees coarse pictures and can't be fooled by small changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from core.nets.classifier import AttributeClassifier
from core.nets.layers import Trunk, shrunk

SIZE = 64  # side of what it looks at, at the most: finer than this a change of an attribute has no need to be
WIDTHS = (48, 128, 192, 256)  # smaller images go without the first


class Guide(AttributeClassifier):
    """(N, C, S, S) in -1..1 to K logits (N, V_k); it looks at the means of larger images.

    It has a small network of its own, or one like the features of `like`, a model's classifier, and then sees
    these means enlarged to the size that those were made for.
    """

    def __init__(
        self,
        image_channels: int,
        image_size: int,
        value_counts: Sequence[int],
        like: AttributeClassifier | None = None,
    ) -> None:
        size = min(image_size, SIZE)
        if like is None:
            fold = 2 if size >= SIZE else 1
            trunk = Trunk(image_channels, size, WIDTHS[-((size // fold).bit_length() - 2) :], fold)
            super().__init__(trunk, trunk.features, value_counts)
            self.enlarged = size
        else:
            super().__init__(copy.deepcopy(like.features), 0, value_counts, copy.deepcopy(like.head))
            self.enlarged = image_size
        self.image_size = size
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """As the class says."""
        seen = shrunk(images, self.image_size)
        if self.enlarged > self.image_size:
            seen = F.interpolate(seen, size=(self.enlarged,) * 2, mode="bilinear", align_corners=False)
        return super().forward(seen)
