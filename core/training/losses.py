"""Losses as pure functions. Images are (N, C, S, S) in -1..1, masks (N, 1, S, S), codes (N, D).

Means may be told what they divide by, where the images are a part of a larger batch (`core.training.batch`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional as F

from core.nets.layers import box_mean
from core.training.batch import mask_at

FAR = 2.0  # weight of a change's square beside its size: what is drawn too strongly costs the most
TINT = 3.0  # weight of a change of colour beside one of light: teal glasses, orange foreheads fool a guide
FINE = 2.0  # weight of what is finer than a blur of this many pixels, once more: so do thin lines
BLUR = 5
BOUND = 0.7  # between cross-entropy, 0, and the absolute error of a probability, 1


def masked_mean(error: torch.Tensor, mask: torch.Tensor, pixels: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of (N, C, S, S) over the pixels where the mask is 1, or their sum over `pixels` * C."""
    count = mask.sum() if pixels is None else pixels
    return (error * mask).sum() / (count * error.shape[1]).clamp(min=1.0)


def mean(values: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Sum of (n,) over a count that may be larger than n."""
    return values.sum() / count.clamp(min=1.0)


def reconstruction(
    made: torch.Tensor,
    wanted: torch.Tensor,
    mask: torch.Tensor,
    l1: float,
    mse: float,
    bce: float,
    pixels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted sum of pixel losses inside the mask."""
    total = made.new_zeros(())
    if l1:
        total = total + l1 * masked_mean((made - wanted).abs(), mask, pixels)
    if mse:
        total = total + mse * masked_mean((made - wanted).square(), mask, pixels)
    if bce:
        probability = (made + 1).mul(0.5).clamp(1e-5, 1 - 1e-5)
        target = (wanted + 1).mul(0.5)
        error = F.binary_cross_entropy(probability, target, reduction="none")
        total = total + bce * masked_mean(error, mask, pixels)
    return total


def perceptual(
    made: Sequence[torch.Tensor],
    wanted: Sequence[torch.Tensor],
    mask: torch.Tensor,
    pixels: Mapping[int, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Mean absolute difference of feature maps of unit length (Zhang et al. 2018), inside the mask."""
    total = mask.new_zeros(())
    for a, b in zip(made, wanted, strict=True):
        side = a.shape[2]
        small = mask_at(mask, side)
        unit_a, unit_b = F.normalize(a, dim=1, eps=1e-4), F.normalize(b, dim=1, eps=1e-4)
        count = None if pixels is None else pixels.get(side)
        total = total + masked_mean((unit_a - unit_b).abs() * a.shape[1] ** 0.5, small, count)
    return total / max(1, len(made))


def classification(
    logits: Sequence[torch.Tensor], labels: torch.Tensor, known: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy on the known labels (N, K), the mean over the attributes that have any (equation 2).

    `known` (K,) are the numbers of known labels to divide by.
    """
    counts = (labels >= 0).sum(0) if known is None else known
    losses = [
        F.cross_entropy(values, labels[:, k], ignore_index=-1, reduction="sum") / counts[k].clamp(min=1)
        for k, values in enumerate(logits)
    ]
    return torch.stack(losses).sum() / (counts > 0).sum().clamp(min=1)


def swap(
    logits: Sequence[torch.Tensor],
    attribute: torch.Tensor,
    value: torch.Tensor,
    before: torch.Tensor,
    count: torch.Tensor,
    photos: Sequence[torch.Tensor] | None = None,
    weights: torch.Tensor | None = None,
    keeping: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How little swapped images show what they are to: what was swapped, and the mean over what is to stay.

    `attribute` and `value` (N,) are what each image was swapped to, `before` (N, K) its values, -1 where
    nothing is known, `count` the number of images to divide by. Bounded (`bounded_entropy`): a beard on a
    woman who is to stay one has no good picture, and must not outweigh the swaps that have.

    What stays as clear as it was costs nothing: `photos` are K tensors (N, V_k) of what is seen of each
    image before its swap, and where nothing is known the likeliest of that is to stay. `weights` (N,) are of
    the swaps, `keeping` (N, K) of what is to stay (`core.training.asking`).
    """
    changed, kept, known = [], [], []
    for k, values in enumerate(logits):
        here = attribute == k
        far = bounded_entropy(values[here], value[here])
        changed.append((far if weights is None else far * weights[here]).sum())
        stay = before[:, k]
        if photos is not None:
            stay = torch.where(stay < 0, photos[k].argmax(1), stay)
        stay = torch.where(here, -1, stay)
        known.append(stay >= 0)
        lost = bounded_entropy(values, stay.clamp(min=0))
        if photos is not None:
            seen = photos[k].gather(1, stay.clamp(min=0)[:, None])[:, 0]
            lost = (lost - bounded(seen)).clamp(min=0.0)
        kept.append(lost * known[-1] * (1.0 if keeping is None else keeping[:, k]))
    others = torch.stack(known, 1).sum(1).clamp(min=1)
    each = torch.stack(kept, 1).sum(1) / others
    return torch.stack(changed).sum() / count.clamp(min=1), mean(each, count)


def nearness(
    change: torch.Tensor,
    mask: torch.Tensor,
    pixels: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """How much a swap changes (N, C, S, S), of colours and lines more than of light; its size and its square.

    The same wherever the change is, or weighed by `weights` (N, 1, S, S).
    """
    tint = change - change.mean(1, keepdim=True)
    fine = change - box_mean(change, BLUR // 2)
    parts = (change, 1.0), (tint, TINT), (fine, FINE)
    far = [weight * (part.abs() + FAR * part.square()) for part, weight in parts]
    cost = far[0] + far[1] + far[2]
    return masked_mean(cost if weights is None else cost * weights, mask, pixels)


def bounded_entropy(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(N,) from 0 to 1 / BOUND: generalised cross-entropy (Zhang and Sabuncu 2018, equation 6)."""
    return bounded(logits.softmax(1).gather(1, values[:, None])[:, 0])


def bounded(p: torch.Tensor) -> torch.Tensor:
    """What a probability of the right value costs: 0 for 1, 1 / BOUND for 0."""
    return (1 - p.clamp(min=1e-6) ** BOUND) / BOUND


def entropy(
    logits: Sequence[torch.Tensor], labels: torch.Tensor, unknown: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean entropy in nats of the assignments without a label, so that they decide (equation 3).

    `unknown` (K,) are the numbers of assignments without a label to divide by.
    """
    counts = (labels < 0).sum(0) if unknown is None else unknown
    losses = []
    for k, values in enumerate(logits):
        log_p = values[labels[:, k] < 0].log_softmax(1)
        losses.append(-(log_p.exp() * log_p).sum() / counts[k].clamp(min=1))
    return torch.stack(losses).sum() / (counts > 0).sum().clamp(min=1)


def discriminator(real: torch.Tensor, fake: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Non-saturating logistic loss of the discriminator (Goodfellow et al. 2014), of `count` images."""
    return mean(F.softplus(-real) + F.softplus(fake), count)


def adversary(fake: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Non-saturating logistic loss of the generator."""
    return mean(F.softplus(-fake), count)


def gradient_penalty(real_logits: torch.Tensor, real: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """R1: squared gradient at real images (Mescheder et al. 2018); `real` needs gradients."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return mean(gradient.square().sum((1, 2, 3)), count)
