"""How strongly swaps are asked for, the more, the fewer are seen, and that other attributes stay.

Swaps to some values come by themselves, and drawn ever more strongly they change what is to stay; others
hardly come at all. So that a share of all swaps to each value is seen, and no more, each value's loss is
weighted by a multiplier that grows while fewer are (Rezende and Viola 2018, "Taming VAEs", algorithm 1). So
is what swaps of an attribute lose of each other one: who goes bald looks older sooner than he smiles. Not
in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.classifier import value_starts
from core.training.parallel import Team

RATE = 0.05  # by how much a weight grows, in its logarithm, for each swap that is not seen
LEAST, MOST = 0.1, 6.0
LOST = 0.1  # share of the images in which an attribute may be lost to a swap of another
KEEP_LEAST, KEEP_MOST = 0.5, 4.0


class Asking(nn.Module):
    """`weights` (V,) of all values of all attributes, side by side, and `keeping` (K, K) of what is to stay,
    a row for each attribute that is swapped. Buffers, so that a checkpoint holds them.

    `success` is the share of swaps that are to be seen, of images that do not show the value already.
    `many` are the labels from which on as much as `MOST` may be asked of a value: of what few photos show a
    guide knows stains.
    """

    weights: torch.Tensor
    keeping: torch.Tensor
    limits: torch.Tensor
    missed: torch.Tensor
    lost: torch.Tensor
    starts: torch.Tensor

    def __init__(self, value_counts: Sequence[int], success: float, many: int = 1000) -> None:
        super().__init__()
        self.value_counts, self.success, self.many = list(value_counts), success, many
        attributes = len(value_counts)
        self.register_buffer("weights", torch.ones(sum(value_counts)))
        self.register_buffer("keeping", torch.ones(attributes, attributes))
        # what the labels say, and one step's sums
        self.register_buffer("limits", torch.ones(sum(value_counts)), persistent=False)
        self.register_buffer("missed", torch.zeros(sum(value_counts)), persistent=False)
        self.register_buffer("lost", torch.zeros(attributes, attributes), persistent=False)
        self.register_buffer("starts", value_starts(value_counts), persistent=False)

    @torch.no_grad()
    def limit(self, labels: torch.Tensor) -> None:
        """Let more be asked of values, the less so the fewer of the labels (N, K) are of them; -1 is none.

        Of an attribute without labels, which only the base of a fine-tuning knows, no more is asked than at
        first: what the base makes of its values is shown to the training as well.
        """
        for k, limits in enumerate(self.limits.split(self.value_counts)):
            known = labels[labels[:, k] >= 0, k]
            if len(known):
                counts = F.one_hot(known, len(limits)).sum(0)
                limits.copy_(MOST * (counts / self.many).clamp(max=1.0).sqrt())
        self._bound()

    def begin(self) -> None:
        """Forget what was noted in a step that was broken off."""
        self.missed.zero_()
        self.lost.zero_()

    @torch.no_grad()
    def weigh(
        self,
        attribute: torch.Tensor,
        value: torch.Tensor,
        before: torch.Tensor,
        after: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """(N,) weights of swaps to values (N,) of attributes (N,): less, the surer they are seen already.

        `before` (N, K) are the values of the images, -1 unknown; `after` are K tensors (N, V_k) of what a
        classifier that no gradient follows sees in the swapped ones.
        """
        places = self.starts[attribute] + value
        sure = torch.cat(list(after), 1).gather(1, places[:, None])[:, 0]
        best = torch.stack([p.argmax(1) for p in after], 1).gather(1, attribute[:, None])[:, 0]
        new = before.gather(1, attribute[:, None])[:, 0] != value
        self.missed.index_add_(0, places, new * (self.success - (best == value).float()))
        return self.weights[places] * (1 - sure)

    @torch.no_grad()
    def keep(
        self,
        attribute: torch.Tensor,
        told: torch.Tensor,
        photos: Sequence[torch.Tensor],
        after: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """(N, K) weights of what images lose to swaps of attributes (N,): more, where more of them lose it.

        They are 1 in the mean of what is to stay.

        `told` (N, K) are the values that are to stay, -1 unknown; `photos` and `after` are K tensors (N, V_k)
        of what the same classifier sees before and after.
        """
        before, now = (torch.stack([p.argmax(1) for p in seen], 1) for seen in (photos, after))
        known = (told >= 0) & (before == told)
        known[torch.arange(len(attribute), device=attribute.device), attribute] = False
        self.lost.index_add_(0, attribute, known * ((now != told).float() - LOST))
        others = self.keeping * (1 - torch.eye(len(self.keeping), device=self.keeping.device))
        return (others / others.sum(1, keepdim=True).clamp(min=1e-9) * max(1, len(others) - 1))[attribute]

    @torch.no_grad()
    def follow(self, team: Team) -> None:
        """Ask more of what this step's swaps failed to show or to keep, and less of the rest."""
        self.weights.mul_(torch.exp(RATE * team.sum(self.missed)))
        self.keeping.mul_(torch.exp(RATE * team.sum(self.lost))).clamp_(KEEP_LEAST, KEEP_MOST)
        self._bound()

    def _bound(self) -> None:
        self.weights.copy_(torch.minimum(self.weights, self.limits).clamp(min=LEAST))
