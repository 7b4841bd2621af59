"""Training of the guide: on the worst that a small change makes of each image.

A classifier's gradient, followed by a generator, draws what means a value to that classifier, and ends in
stains and grids that a person doesn't see as that value. Of a classifier that is trained against small
changes (Madry et al. 2018, equation 2.1), gradients are of what people see as well (Santurkar et al. 2019,
"Image synthesis with a single (robust) classifier"). One step finds the worst change (Goodfellow et al. 2015,
with a Euclidean bound), from a random start (Wong et al. 2020).
"""

from __future__ import annotations

import torch
from torch.func import functional_call

from core.nets.guide import Guide
from core.training import losses
from core.training.augment import with_noise

RISE = 0.3  # share of the training in which the reach grows to its whole


def worst_change(
    guide: Guide,
    images: torch.Tensor,
    mask: torch.Tensor,
    labels: torch.Tensor,
    known: torch.Tensor,
    reach: float,
    draws: torch.Tensor,
    seeds: torch.Tensor,
) -> torch.Tensor:
    """(N, C, S, S) images of the guide's size, changed by at most `reach` towards a higher loss.

    `mask` (N, 1, S, S) is where they may change, `known` (K,) as in `losses.classification`; `draws` (N,) in
    0..1 and `seeds` (N,) choose the random start.
    """
    sigma = reach * draws / images[0].numel() ** 0.5
    started = with_noise(images, sigma, seeds).requires_grad_(True)
    # of its weights no gradient is wanted, and a depthwise convolution would compute it all the same
    resting = {name: p.detach() for name, p in guide.named_parameters()}
    logits = functional_call(guide, resting, (started,))
    (slope,) = torch.autograd.grad(losses.classification(logits, labels, known), started)
    change = started.detach() - images + reach * _unit(slope * mask)
    change = change * mask
    length = change.flatten(1).norm(dim=1)[:, None, None, None]
    return images + change * (reach / length.clamp(min=1e-9)).clamp(max=1.0)


def _unit(change: torch.Tensor) -> torch.Tensor:
    return change / (change.flatten(1).norm(dim=1)[:, None, None, None] + 1e-12)
