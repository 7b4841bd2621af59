"""How far a swap goes.

A generator that has learned swaps from code to code stops short of some values, since its loss also wants
little change. Between two embeddings lies a straight line of codes, and a swap may be taken further along it.
Not in the paper; one number for each value, found on training images (`core.training.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from core.nets.classifier import value_starts

FURTHEST = 1.5  # beyond this pictures are no longer like photos


class SwapStrengths(nn.Module):
    """`reach` (V,) of all attributes' values side by side; 1 is the embedding itself."""

    starts: torch.Tensor

    def __init__(self, value_counts: Sequence[int]) -> None:
        super().__init__()
        self.reach = nn.Parameter(torch.ones(sum(value_counts)))
        self.register_buffer("starts", value_starts(value_counts), persistent=False)

    def forward(
        self,
        codes: torch.Tensor,
        tables: Sequence[torch.Tensor],
        wanted: torch.Tensor,
        strength: torch.Tensor | float = 1.0,
    ) -> torch.Tensor:
        """Attribute codes (N, K, E) with swaps to the values `wanted` (N, K), -1 where none is.

        `tables` are K tensors (V_k, E) of value embeddings; `strength` (N, K) is 0 for no swap and 1 for
        a whole one.
        """
        places = self.starts + wanted.clamp(min=0)
        share = (wanted >= 0) * strength * self.reach[places]
        return codes + share[..., None] * (torch.cat(list(tables))[places] - codes)

    @torch.no_grad()
    def reset(self) -> None:
        """As though nothing had been found yet."""
        self.reach.fill_(1.0)
