"""What *keep detail* changes of a face: the decoded change, and less of the detail that would contradict it.

A decoder draws no pores and no strands, so what it changes is added to the photo. But a mouth that opens, or
a forehead where hair was, still has the old lines in the photo. So the photo's own detail, what the model's
unedited picture lacks of it, gives way where the change is large: there the model's own edited picture is
nearer to the truth than the sum of both. In this it is like the interpolating mask of Brock et al. 2017,
“Neural Photo Editing with Introspective Adversarial Networks”. Its colours give way sooner than its light:
lines and strands are seen by their light, and colours that are left of fair hair make black hair blue.
"""

from __future__ import annotations

import numpy as np
import torch

from core.nets.layers import box_mean

# Change, of the range from black to white, at which half of the photo's detail stays: of its light, and of
# its colours.
YIELDING = 0.3
COLOURS_YIELDING = 0.1
NEAR = 3 / 128  # sides within which a change is one change


def detailed_change(
    photo: torch.Tensor,
    original: torch.Tensor,
    edited: torch.Tensor,
    span: float = 1.0,
    inside: torch.Tensor | None = None,
) -> torch.Tensor:
    """(N, C, S, S) what is added to the `photo` where `original` was decoded of it and `edited` of its edit.

    All are (N, C, S, S) and `span` is the range of their values. Where nothing was changed, nothing is added.
    What is not `inside` (N, 1, S, S), beyond the photo's end, has no effect on what is.
    How much detail stays has no gradient: a change must not grow to be rid of it.
    """
    change, missed = edited - original, photo - original
    with torch.no_grad():
        size = _size_nearby(change / span, inside)
        goes, colours_go = (1 - 1 / (1 + size / limit**2) for limit in (YIELDING, COLOURS_YIELDING))
        light = missed.mean(1, keepdim=True)
    return change - goes * light - colours_go * (missed - light)


def change_of_pictures(
    photo: np.ndarray, original: np.ndarray, edited: np.ndarray, inside: np.ndarray | None = None
) -> np.ndarray:
    """(N, S, S, C) float32, the same of a `photo` (N, S, S, C) uint8 and decoded pictures in 0..1.

    `inside` is (N, S, S) bool.
    """
    seen, before, after = (torch.from_numpy(p).permute(0, 3, 1, 2).float() for p in (photo, original, edited))
    known = None if inside is None else torch.from_numpy(inside)[:, None].float()
    return detailed_change(seen / 255, before, after, inside=known).permute(0, 2, 3, 1).numpy()


def _size_nearby(change: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """(N, 1, S, S) mean square of the change around each place."""
    radius = max(1, round(NEAR * change.shape[2]))
    size = change.square().mean(1, keepdim=True)
    known = torch.ones_like(size) if inside is None else inside
    size = size * known
    for _ in range(2):  # nearly a normal distribution
        size, known = box_mean(size, radius), box_mean(known, radius)
    return size / known.clamp(min=1e-6)
