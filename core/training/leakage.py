"""What a linear regression still reads of the attributes in residual codes, as a loss against it.

Noise and decay (section 3 of the paper) keep residual codes small, and leave the encoder of the synthesis
stage free to put what it likes into them. Here a ridge regression from residual codes to the attributes'
labels is fitted anew now and then, and what it explains is a loss of the encoder. Not in the paper.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from core.nets.build import Networks
from core.nets.classifier import filled
from core.precision import shorter
from core.training.dataset import Dataset

IMAGES, BATCH = 2000, 250  # that a fit looks at
REACH = 10.0
RIDGE = 0.1  # of the mean variance of a code's entry


class LinearLeakage(nn.Module):
    """Ridge regressions from residual codes (N, R) to all values of all attributes, side by side.

    `directions` (R, V) are scaled so that a value's squared prediction is the share of its variance that is
    explained. Buffers, so that a checkpoint holds them.
    """

    mean: torch.Tensor
    directions: torch.Tensor

    def __init__(self, residual_dim: int, value_counts: list[int]) -> None:
        super().__init__()
        self.value_counts = value_counts
        self.register_buffer("mean", torch.zeros(residual_dim))
        self.register_buffer("directions", torch.zeros(residual_dim, sum(value_counts)))

    @torch.no_grad()
    def fit(self, codes: torch.Tensor, labels: torch.Tensor) -> None:
        """Fit to codes (N, R) and labels (N, K), -1 unknown; what has no labels keeps its directions."""
        self.mean.copy_(codes.mean(0))
        first = 0
        for k, count in enumerate(self.value_counts):
            known = labels[:, k] >= 0
            if known.sum() > 1:
                centred = (codes[known] - codes[known].mean(0)).double()
                hot = nn.functional.one_hot(labels[known, k], count).double()
                covariance = centred.T @ centred / len(centred)
                ridge = RIDGE * covariance.diagonal().mean() + 1e-9
                covariance.diagonal().add_(ridge)
                found = torch.linalg.solve(covariance, centred.T @ (hot - hot.mean(0)) / len(centred))
                # a value that nobody or everybody has explains nothing
                scale = hot.var(0, unbiased=False).clamp(min=1e-3).sqrt()
                self.directions[:, first : first + count] = (found / scale).float()
            first += count

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N,) mean over the attributes of the explained shares of variance, 0 where nothing leaks.

        Above `REACH` an image's grows with the distance only, not with its square (Huber 1964): between two
        fits an encoder may widen its codes, and would be pushed further than any picture pulls it back.
        """
        explained = ((codes - self.mean) @ self.directions).square()
        far = 2 * (REACH * explained.clamp(min=REACH)).sqrt() - REACH
        explained = torch.where(explained > REACH, far, explained)
        parts = [part.mean(1) for part in explained.split(self.value_counts, 1)]
        return torch.stack(parts).mean(0)


@torch.no_grad()
def fit_to(
    leakage: LinearLeakage,
    dataset: Dataset,
    networks: Networks,
    size: int,
    seed: list[int],
    precision: torch.dtype = torch.float32,
) -> None:
    """Fit to a random choice of images, encoded by `networks`; the same for the same seed and weights.

    Where there is no label, what the classifier is sure of stands for it: some hundred labels alone would
    fit noise.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(dataset), min(IMAGES, len(dataset)), replace=False))
    device = leakage.mean.device
    labels = torch.from_numpy(dataset.label_array()[chosen]).to(device)
    codes, known = [], []
    for start in range(0, len(chosen), BATCH):
        images = dataset.batch(chosen[start : start + BATCH], size)[0].to(device)
        with shorter(device, precision):
            codes.append(networks.residual_encoder(images))
            probabilities = [logits.softmax(1) for logits in networks.classifier(images)]
        known.append(filled(labels[start : start + BATCH], probabilities))
    leakage.fit(torch.cat(codes), torch.cat(known))
