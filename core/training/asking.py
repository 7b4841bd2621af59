"""How strongly the swaps to each value are asked for: the more, the fewer of them are seen.

Swaps to some values come by themselves, and drawn ever more strongly they change what is to stay; others
hardly come at all. So that a share of all swaps to each value is seen, and no more, each value's loss is
weighted by a multiplier that grows while fewer are (Rezende and Viola 2018, "Taming VAEs", algorithm 1).
Not in the paper.
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


class Asking(nn.Module):
    """Weights (V,) of all values of all attributes, side by side. Buffers, so that a checkpoint holds them.

    `success` is the share of swaps that are to be seen, of images that do not show the value already.
    `many` are the labels from which on as much as `MOST` may be asked of a value: of what few photos show a
    guide knows stains.
    """

    weights: torch.Tensor
    limits: torch.Tensor
    missed: torch.Tensor
    starts: torch.Tensor

    def __init__(self, value_counts: Sequence[int], success: float, many: int = 1000) -> None:
        super().__init__()
        self.value_counts, self.success, self.many = list(value_counts), success, many
        self.register_buffer("weights", torch.ones(sum(value_counts)))
        # what the labels say, and one step's sums
        self.register_buffer("limits", torch.ones(sum(value_counts)), persistent=False)
        self.register_buffer("missed", torch.zeros(sum(value_counts)), persistent=False)
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
    def follow(self, team: Team) -> None:
        """Ask more of the values of which this step's swaps were not seen, less of the others."""
        self.weights.mul_(torch.exp(RATE * team.sum(self.missed)))
        self._bound()

    def _bound(self) -> None:
        self.weights.copy_(torch.minimum(self.weights, self.limits).clamp(min=LEAST))
