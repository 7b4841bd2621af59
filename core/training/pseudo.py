"""Pseudo-labels: where an image has no label, what the classifier is sure of (Lee 2013, "Pseudo-label").

Of a value with few labels a guide knows the few images by heart, and a swap to it is drawn as what they have
in common. The classifier, which has learned by then, finds many more. Not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from core.nets.classifier import filled


class PseudoLabels(nn.Module):
    """`labels` (N, K) int16 of all images of a training, -1 unknown; a buffer, for checkpoints to hold."""

    labels: torch.Tensor

    def __init__(self, labels: torch.Tensor, least: float) -> None:
        super().__init__()
        self.least = least
        self.register_buffer("labels", labels.to(torch.int16))

    def fill(self, rows: slice, probabilities: Sequence[torch.Tensor]) -> None:
        """Fill in what is seen (n, V_k) with at least the probability `least` of the images at `rows`."""
        self.labels[rows] = filled(self.labels[rows].long(), probabilities, self.least).to(torch.int16)
