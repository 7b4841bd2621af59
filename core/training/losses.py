"""Losses as pure functions. Images are (N, C, S, S) in -1..1, masks (N, 1, S, S), codes (N, D)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F


def masked_mean(error: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of (N, C, S, S) over the pixels where the mask is 1."""
    return (error * mask).sum() / (mask.sum() * error.shape[1]).clamp(min=1.0)


def reconstruction(
    made: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor, l1: float, mse: float, bce: float
) -> torch.Tensor:
    """Weighted sum of pixel losses inside the mask."""
    total = made.new_zeros(())
    if l1:
        total = total + l1 * masked_mean((made - wanted).abs(), mask)
    if mse:
        total = total + mse * masked_mean((made - wanted).square(), mask)
    if bce:
        probability = (made + 1).mul(0.5).clamp(1e-5, 1 - 1e-5)
        target = (wanted + 1).mul(0.5)
        total = total + bce * masked_mean(F.binary_cross_entropy(probability, target, reduction="none"), mask)
    return total


def perceptual(
    made: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], mask: torch.Tensor
) -> torch.Tensor:
    """Mean absolute difference of feature maps of unit length (Zhang et al. 2018), inside the mask."""
    total = mask.new_zeros(())
    for a, b in zip(made, wanted, strict=True):
        side = a.shape[2]
        small = mask if side == mask.shape[2] else F.adaptive_avg_pool2d(mask, side).floor()
        unit_a, unit_b = F.normalize(a, dim=1, eps=1e-4), F.normalize(b, dim=1, eps=1e-4)
        total = total + masked_mean((unit_a - unit_b).abs() * a.shape[1] ** 0.5, small)
    return total / max(1, len(made))


def classification(logits: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy on the known labels (N, K), the mean over the attributes that have any (equation 2)."""
    losses = [
        F.cross_entropy(values, labels[:, k], ignore_index=-1)
        for k, values in enumerate(logits)
        if bool((labels[:, k] >= 0).any())
    ]
    return torch.stack(losses).mean() if losses else logits[0].sum() * 0.0


def entropy(logits: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Mean entropy in nats of the assignments without a label, so that they decide (equation 3)."""
    losses = []
    for k, values in enumerate(logits):
        unknown = labels[:, k] < 0
        if bool(unknown.any()):
            log_p = values[unknown].log_softmax(1)
            losses.append(-(log_p.exp() * log_p).sum(1).mean())
    return torch.stack(losses).mean() if losses else logits[0].sum() * 0.0


def discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Non-saturating logistic loss of the discriminator (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def adversary(fake: torch.Tensor) -> torch.Tensor:
    """Non-saturating logistic loss of the generator."""
    return F.softplus(-fake).mean()


def gradient_penalty(real_logits: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """R1: squared gradient at real images (Mescheder et al. 2018); `real` needs gradients."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
