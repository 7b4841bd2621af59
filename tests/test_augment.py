"""Moved images: what stays, what goes where."""

from __future__ import annotations

import torch

from core.training.augment import moved


def still(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.zeros(count), torch.ones(count), torch.zeros(count, 2)


def test_nothing_moved_is_the_same_image() -> None:
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(moved(images, *still(2)), images, atol=1e-5, rtol=0)


def test_a_shift_of_a_quarter_and_a_mirror() -> None:
    images = torch.rand(1, 1, 16, 16)
    angle, scale, shift = still(1)
    shift[0, 0] = 0.5  # of a half: four of sixteen pixels to the left
    found = moved(images, angle, scale, shift)
    torch.testing.assert_close(found[..., :12], images[..., 4:], atol=1e-5, rtol=0)
    mirrored = moved(images, *still(1), mirror=torch.tensor([-1.0]))
    torch.testing.assert_close(mirrored, images.flip(3), atol=1e-5, rtol=0)


def test_a_quarter_turn_and_another_size() -> None:
    images = torch.rand(1, 1, 16, 16)
    angle, scale, shift = still(1)
    angle[:] = torch.pi / 2
    found = moved(images, angle, scale, shift)
    turned = torch.rot90(images, -1, (2, 3)), torch.rot90(images, 1, (2, 3))
    assert min((found - t).abs().max() for t in turned) < 1e-4
    assert moved(images, *still(1), size=8).shape == (1, 1, 8, 8)


def test_gradients_reach_the_images() -> None:
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    moved(images, *still(2)).sum().backward()
    assert images.grad is not None and (images.grad > 0.5).all()
