"""EfficientNet-Lite0 (Tan and Le 2019; the Lite variant: no squeeze and excitation, ReLU6) as image features.

Small enough for a processor, and there are weights that learned to see on ImageNet. Batch normalisation is
a scale and a shift a channel: its statistics are ImageNet's and stay, so that small batches of faces don't
disturb them.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.nn import functional as F

from core.errors import StudioError
from core.nets.depthwise import depthwise

# repeats, kernel, stride of the first, expansion, channels of each stage
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
STEM, FEATURES = 32, 1280
RESTING = 2  # of the first stages, which know lines and colours already and cost the most to teach
EPSILON = 1e-3  # of the batch normalisation that the weights were trained with
PERCEPTUAL_STAGES = (
    0,
    1,
    2,
    4,
)  # whose outputs a perceptual loss compares: 1/2 to 1/16 of the side


class ConvScale(nn.Module):
    """A convolution, then a scale and a shift a channel, then ReLU6 if `active`.

    Pads as the weights were trained: with an even side, a stride of 2 looks further right and down.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        total = kernel - stride
        self.before, self.after = total // 2, total - total // 2
        self.stride, self.groups = stride, groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        self.scale = nn.Parameter(torch.ones(outputs))
        self.shift = nn.Parameter(torch.zeros(outputs))
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, I, S, S) to (N, O, S / stride, S / stride)."""
        padding = self.before
        if self.before != self.after:
            x, padding = F.pad(x, (self.before, self.after, self.before, self.after)), 0
        # scaled are the weights and not the map, which is far larger
        weight = self.weight * self.scale[:, None, None, None]
        if self.groups > 1:
            x = depthwise(x, weight, self.shift, self.stride, padding)
        else:
            x = F.conv2d(x, weight, self.shift, self.stride, padding)
        return F.relu6(x) if self.active else x


class InvertedResidual(nn.Module):
    """Widen, filter every channel, narrow; added to the input of the same shape (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers = [] if expansion == 1 else [ConvScale(inputs, wide, 1)]
        layers.append(ConvScale(wide, wide, kernel, stride, groups=wide))
        layers.append(ConvScale(wide, outputs, 1, active=False))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        y = self.layers(x)
        return x + y if self.residual else y


class Lite0(nn.Module):
    """(N, 3, S, S) in -1..1, S a multiple of 32, to (N, 1280) features."""

    features = FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvScale(3, STEM, 3, 2)
        width, stages = STEM, []
        for repeats, kernel, stride, expansion, channels in STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(InvertedResidual(width, channels, kernel, stride if i == 0 else 1, expansion))
                width = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.top = ConvScale(width, FEATURES, 1)

    def first_layers(self) -> list[nn.Module]:
        """The stem and the stages that rest while the others learn faces."""
        return [self.stem, *self.stages[:RESTING]]

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The maps of `PERCEPTUAL_STAGES`, the finest first."""
        found = []
        x = self.stem(x)
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in PERCEPTUAL_STAGES:
                found.append(x)
            if i == PERCEPTUAL_STAGES[-1]:
                break
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.top(x).mean((2, 3))


def _counterparts(network: Lite0, tensors: dict[str, torch.Tensor]) -> list[tuple[ConvScale, str, str]]:
    """Each layer with its convolution's name, and its normalisation's prefix, in a state dict in layer order.

    ValueError if it is another network's.
    """
    convolutions = [name for name, t in tensors.items() if t.dim() == 4]
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    layers = [m for m in network.modules() if isinstance(m, ConvScale)]
    if not len(layers) == len(convolutions) == len(norms):
        raise ValueError(f"{len(convolutions)} convolutions in place of {len(layers)}")
    return list(zip(layers, convolutions, norms, strict=True))


def to_batch_norm(network: Lite0, other: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of `other`, the same network with batch normalisation as timm has it, that do the same.

    Its statistics are 0 and 1, so that what is left of the normalisation is the scale and the shift.
    """
    tensors = other.state_dict()
    epsilon = next(m.eps for m in other.modules() if isinstance(m, nn.BatchNorm2d))
    for layer, convolution, norm in _counterparts(network, tensors):
        tensors[convolution] = layer.weight.detach()
        tensors[norm + "weight"], tensors[norm + "bias"] = layer.scale.detach(), layer.shift.detach()
        tensors[norm + "running_mean"] = torch.zeros_like(layer.shift)
        tensors[norm + "running_var"] = torch.full_like(layer.scale, 1 - epsilon)
    return tensors


def load_imagenet(network: Lite0, path: Path) -> None:
    """Fill the network from a state dict of EfficientNet-Lite0 with batch normalisation, in layer order.

    StudioError if the file holds something else. Nothing in the file is executed.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for layer, convolution, norm in _counterparts(network, stored):
                scale = stored[norm + "weight"] / (stored[norm + "running_var"] + EPSILON).sqrt()
                layer.weight.copy_(stored[convolution])
                layer.scale.copy_(scale)
                layer.shift.copy_(stored[norm + "bias"] - stored[norm + "running_mean"] * scale)
    except (OSError, EOFError, UnpicklingError, KeyError, AttributeError, ValueError, RuntimeError) as error:
        raise StudioError(
            f"{path} holds no EfficientNet-Lite0: {error}.", "Name another file in warmup.pretrained."
        ) from error
