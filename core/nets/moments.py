"""A classifier of where one bright thing on black is, how large and of what form: image moments, and lines.

Convolutions with a flattened or averaged end learn every place by itself: from 1000 labels they find 40 %
of 32 places. Moments (Hu 1962) say the place outright, and a head in which an attribute is a line, on
which its values have places, learns from an image of one value about all the others: they find 99 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from core.precision import unshortened

HIGHEST = 4  # order of the central moments
RIDGE = 1e-4  # of standardised features, of which some are nearly the same
REACH = 2.0  # of an ellipse of dSprites the longer axis is 1.6 times as long as a square of its mass
COARSE = 8
BEYOND = 10.0  # deviations inside a value
LOG_2 = math.log(2.0)


class Moments(nn.Module):
    """(N, C, S, S) in -1..1 to (N, `features`): each channel's mass and centre, and the moments about it.

    Central moments of the orders 2 to `HIGHEST` are divided by the mass so that they don't grow with the
    thing (Hu 1962, section III). All are standardised by the mean and deviation that `fit` measured.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, image_channels: int) -> None:
        super().__init__()
        self.orders = [(a, b) for a in range(HIGHEST + 1) for b in range(HIGHEST + 1 - a) if a + b >= 2]
        self.features = image_channels * (3 + len(self.orders))
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("deviation", torch.ones(self.features))

    def measured(self, images: torch.Tensor) -> torch.Tensor:
        """The features before they are standardised."""
        light = (images.float() + 1) / 2
        side = images.shape[2]
        place = (torch.arange(side, device=images.device) + 0.5) / side - 0.5
        mass, x, y = _mass_and_centre(light, place)
        across = (place - x[..., None])[:, :, None] * side
        down = (place - y[..., None])[:, :, None] * side
        powers = torch.arange(HIGHEST + 1, device=images.device)[:, None]
        across, down = across**powers, down**powers  # (N, C, 5, S)
        table = down @ light @ across.transpose(2, 3)  # (N, C, 5, 5): by the power of y and of x
        central = [table[:, :, b, a] / mass ** (1 + (a + b) / 2) for a, b in self.orders]
        return torch.cat([mass.sqrt(), x, y, *central], 1)

    @torch.no_grad()
    def fit(self, batches: Iterable[torch.Tensor]) -> torch.Tensor:
        """Standardise by images (N, C, S, S), which come in batches; their features."""
        found = torch.cat([self.measured(images) for images in batches])
        self.mean.copy_(found.mean(0))
        self.deviation.copy_(found.std(0, unbiased=False).clamp(min=1e-6))
        return self._standardised(found)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        with unshortened(images.device):  # a place is told by a last digit
            return self._standardised(self.measured(images))

    def _standardised(self, measured: torch.Tensor) -> torch.Tensor:
        return (measured - self.mean) / self.deviation


def _mass_and_centre(
    light: torch.Tensor, place: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N, C) each: the sum of light (N, C, S, S) in 0..1, and its mean column and row in units of `place`."""
    mass = light.sum((2, 3)).clamp(min=1.0)  # in pixels; a black picture has no centre
    x = (light.sum(2) * place).sum(2) / mass
    y = (light.sum(3) * place).sum(2) / mass
    return mass, x, y


class Centred(nn.Module):
    """(N, C, S, S) in -1..1 to the same with what is bright in the middle, and as large in every image.

    The normalised moments' frame (Hu 1962, sections III and IV): centred at the mean place, `REACH` times as
    wide as a square of its mass. Who looks at this sees form and orientation, and neither place nor size.
    Seen at `COARSE` px and then blurred to S again: the steps of a small thing's edge would tell its size.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        with unshortened(images.device):
            light = (images.float() + 1).mean(1, keepdim=True) / 2
            side = images.shape[2]
            # as affine_grid has it: from -1 to 1
            place = (torch.arange(side, device=images.device) + 0.5) / side * 2 - 1
            mass, x, y = (number.squeeze(1) for number in _mass_and_centre(light, place))
            scale, zero = REACH * mass.sqrt() / side, torch.zeros_like(x)
            frame = torch.stack([scale, zero, x, zero, scale, y], 1).view(-1, 2, 3)
            grid = nn.functional.affine_grid(frame, list(images.shape), align_corners=False)
            # darkness is 0 there, as beyond the border
            seen = nn.functional.grid_sample(images.float() + 1, grid, align_corners=False)
            seen = nn.functional.adaptive_avg_pool2d(seen, COARSE)
            return nn.functional.interpolate(seen, size=images.shape[2:], mode="bilinear") - 1


class Lines(nn.Module):
    """(N, I) to logits (N, V): minus the squared distance from each value's place on its attribute's line.

    Prototypes (Snell et al. 2017, equation 2) in one dimension. In more, neighbours need not lie beside each
    other, and less is learned of one value from another: of dSprites' x 85 % were right in two, 50 % in four.
    """

    def __init__(self, inputs: int, value_counts: Sequence[int], hidden: int = 64) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, len(value_counts))
        self.bent = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, len(value_counts)),
        )
        nn.init.zeros_(self.bent[-1].weight)  # type: ignore[arg-type]
        self.places = nn.ParameterList(nn.Parameter(torch.randn(n)) for n in value_counts)
        self.sharpness = nn.Parameter(torch.zeros(len(value_counts)))  # logarithms

    @torch.no_grad()
    def begin(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Lines along which the values of `features` (N, I) with `labels` (N, K), -1 unknown, lie most apart.

        Linear discriminants (Fisher 1936): from random places the gradient can end with a folded line.
        A value that no label names lies beyond the others. An attribute of fewer than two values is left.
        """
        for k, places in enumerate(self.places):
            known = labels[:, k] >= 0
            x, hot = features[known].double(), nn.functional.one_hot(labels[known, k], len(places)).double()
            count = hot.sum(0)
            if (count > 0).sum() < 2:
                continue
            means = hot.T @ x / count.clamp(min=1)[:, None]
            inside = (x - hot @ means).T @ (x - hot @ means) / len(x)
            inside.diagonal().add_(RIDGE)
            spread = (hot @ means - x.mean(0)).T @ (hot @ means - x.mean(0)) / len(x)
            root = torch.linalg.cholesky(inside)
            half = torch.linalg.solve_triangular(root, spread, upper=False)
            whitened = torch.linalg.solve_triangular(root, half.T, upper=False)
            first = torch.linalg.eigh(whitened)[1][:, -1:]
            line = torch.linalg.solve_triangular(root.T, first, upper=True)[
                :, 0
            ]  # of variance 1 inside a value
            line = line * line[line.abs().argmax()].sign()
            found = means @ line
            beyond = found[count > 0].max() + BEYOND
            self.straight.weight[k], self.straight.bias[k] = line.float(), 0.0
            places.copy_(torch.where(count > 0, found, beyond).float())
            self.sharpness[k] = -LOG_2  # a normal distribution's

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        with unshortened(features.device):
            found = self.straight(features) + self.bent(features)
            sharp = self.sharpness.exp()
            logits = [-sharp[k] * (found[:, k, None] - p).square() for k, p in enumerate(self.places)]
            return torch.cat(logits, 1)
