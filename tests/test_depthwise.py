"""Depthwise convolutions in bfloat16: the same numbers and gradients as torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from core.nets.depthwise import depthwise
from core.nets.lite import Lite0, load_imagenet
from core.precision import backward, shorter
from core.training.pretrained import IMAGENET, find_pretrained

CPU = torch.device("cpu")


def gradients(
    function, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int
) -> list[torch.Tensor]:
    """The picture and the three gradients, for a slope that differs at every place."""
    leaves = [t.detach().clone().requires_grad_(True) for t in (x, weight, bias)]
    y = function(*leaves, stride, padding)
    slope = torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad(y, leaves, slope)]


def plain(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


@pytest.mark.parametrize("kernel", [1, 3, 4, 5, 7])
@pytest.mark.parametrize(
    ("stride", "padding", "sides"), [(1, 2, (9, 12)), (2, 0, (12, 13)), (2, 1, (11, 8)), (3, 2, (14, 9))]
)
def test_gradients_are_those_of_a_plain_convolution(
    kernel: int, stride: int, padding: int, sides: tuple[int, int]
) -> None:
    padding = min(padding, kernel - 1)
    torch.manual_seed(kernel)
    x = torch.randn(3, 8, *sides).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(8, 1, kernel, kernel), torch.randn(8)
    wanted = gradients(plain, x, weight, bias, stride, padding)
    with shorter(CPU, torch.bfloat16):
        found = gradients(depthwise, x, weight, bias, stride, padding)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert float((one.float() - other).norm() / other.norm()) < 0.01  # bfloat16 has 8 digits


def test_only_what_is_asked_for_is_computed() -> None:
    x, weight, bias = torch.randn(2, 4, 8, 8), torch.randn(4, 1, 5, 5), torch.randn(4)
    x.requires_grad_(True)
    with shorter(CPU, torch.bfloat16):
        y = depthwise(x, weight, bias, 1, 2)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float32 and weight.grad is None


def test_float32_keeps_torchs_own_convolution() -> None:
    x, weight, bias = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(4, 1, 5, 5), torch.randn(4)
    y = depthwise(x, weight, bias, 2, 2)
    assert y.grad_fn is not None and "Depthwise" not in type(y.grad_fn).__name__
    assert torch.equal(y, plain(x, weight, bias, 2, 2))


def test_a_classifier_learns_the_same_in_bfloat16() -> None:
    torch.manual_seed(0)
    network = Lite0()
    load_imagenet(network, find_pretrained(IMAGENET))
    network.to(memory_format=torch.channels_last)
    images = F.interpolate(torch.randn(4, 3, 8, 8), size=64, mode="bilinear")
    slopes = {}
    for dtype in (torch.float32, torch.bfloat16):
        network.zero_grad()
        with shorter(CPU, dtype):
            features = network(images)
        backward(features.float().square().mean())
        slopes[dtype] = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    cosine = F.cosine_similarity(*slopes.values(), dim=0)
    assert float(cosine) > 0.98
