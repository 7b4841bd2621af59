"""The attribute classifier with its value embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class AttributeClassifier(nn.Module):
    """A feature network and a head, linear if none is given: images to a list of logits (N, V_k)."""

    def __init__(
        self,
        features: nn.Module,
        feature_dim: int,
        value_counts: Sequence[int],
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.value_counts = tuple(value_counts)
        if head is None:
            head = nn.Linear(feature_dim, sum(value_counts))
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        self.head = head

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """As the class says."""
        return list(self.head(self.features(images)).float().split(self.value_counts, dim=1))


def value_starts(value_counts: Sequence[int]) -> torch.Tensor:
    """(K,) the place of each attribute's first value among all values side by side."""
    return torch.tensor([0, *value_counts[:-1]]).cumsum(0)


CONFIDENT = 0.7  # from here on what a classifier sees of an image stands for its missing label


def filled(
    labels: torch.Tensor, probabilities: Sequence[torch.Tensor], least: float = CONFIDENT
) -> torch.Tensor:
    """Labels (N, K), and where there is none what a classifier (N, V_k) gives `least` or more; else -1."""
    best = [p.max(1) for p in probabilities]
    seen = torch.stack([torch.where(share >= least, value, -1) for share, value in best], 1)
    return torch.where(labels >= 0, labels, seen)


def value_shares(labels: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """(N, V) how much of each value an image has: all of its label (N,), without one the probabilities."""
    hot = F.one_hot(labels.clamp(min=0), probabilities.shape[1]).to(probabilities)
    return torch.where((labels >= 0)[:, None], hot, probabilities)


class ValueEmbeddings(nn.Module):
    """A learned embedding for each value of each attribute, and the soft assignment that mixes them."""

    def __init__(self, value_counts: Sequence[int], dim: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList(nn.Parameter(torch.randn(n, dim) * 0.5) for n in value_counts)
        self.dim = dim

    def assign(
        self, probabilities: Sequence[torch.Tensor], labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attribute codes (N, K, D) of images.

        `probabilities` are K tensors (N, V_k); `labels` (N, K) int64, -1 where unknown. A label picks its
        value's embedding. Without one, the embeddings are mixed by the probabilities, and no gradient goes
        into the embeddings, only into the classifier: they are defined by labelled images alone.
        """
        codes = []
        for k, (table, p) in enumerate(zip(self.tables, probabilities, strict=True)):
            if labels is None:
                codes.append((p @ table).to(table.dtype))  # not autocast's shorter one
                continue
            known = labels[:, k] >= 0
            picked = table[labels[:, k].clamp(min=0)]
            codes.append(torch.where(known[:, None], picked, p @ table.detach()))
        return torch.stack(codes, 1)
