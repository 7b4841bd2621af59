"""Random swaps of stage 3: which value each image is given, how the guide sees it, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from core.editing.detail import detailed_change
from core.nets.classifier import filled
from core.nets.layers import box_mean
from core.training import losses
from core.training.augment import moved, with_noise
from core.training.batch import Batch, Whole
from core.training.regions import Regions
from core.training.state import TrainState


@dataclass(frozen=True)
class Swaps:
    """N images' codes (N, K, E) with `attribute` (N,) of each set to `value` (N,).

    With some, `second` (N,), another attribute, was first set to `second_value` (N,); -1 is none.
    """

    codes: torch.Tensor
    attribute: torch.Tensor
    value: torch.Tensor
    second: torch.Tensor
    second_value: torch.Tensor

    def told(self, before: torch.Tensor) -> torch.Tensor:
        """Values (N, K) of images that had those of `before`, but for `attribute`: with the second swap."""
        return torch.where(self._seconds(before.shape[1]), self.second_value[:, None], before)

    def clear(self, photos: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """K tensors (N, V_k) of what the photos show, as though they showed the second value, and clearly."""
        seconds = self._seconds(len(photos))
        return [
            torch.where(
                seconds[:, k, None], F.one_hot(self.second_value.clamp(max=p.shape[1] - 1), p.shape[1]), p
            )
            for k, p in enumerate(photos)
        ]

    def region(self, regions: Regions, size: int) -> torch.Tensor:
        """(N, 1, size, size) in 0..1: where the swaps are seen, the second ones too."""
        first = regions(self.attribute, self.value, size)
        return torch.maximum(first, regions(self.second, self.second_value, size))

    def _seconds(self, attributes: int) -> torch.Tensor:
        return torch.arange(attributes, device=self.second.device) == self.second[:, None]


def random_swaps(
    tables: Sequence[torch.Tensor], attributes: torch.Tensor, batch: Batch, pairs: float = 0.0
) -> Swaps:
    """Swaps of the codes `attributes` (N, K, E) to embeddings of `tables`, K tensors (V_k, E).

    A share `pairs` of them are swaps of an image that has had another swap already.
    """
    codes, count = attributes.clone(), len(tables)
    first, draws = batch.swap_attribute, batch.swap_draw
    second = (first + 1 + (batch.second[:, 1] * (count - 1)).long()) % count
    second = torch.where((batch.second[:, 0] < pairs) & (second != first), second, -1)
    values = _set(codes, tables, first, draws), _set(codes, tables, second, batch.second[:, 2])
    return Swaps(codes, first, values[0], second, values[1])


def _set(
    codes: torch.Tensor, tables: Sequence[torch.Tensor], attribute: torch.Tensor, draws: torch.Tensor
) -> torch.Tensor:
    """Set an attribute (N,) of each of the codes to the value that `draws` (N,) say; the values, or 0."""
    value = torch.zeros(len(codes), dtype=torch.int64)
    for i, (k, draw) in enumerate(zip(attribute.tolist(), draws.tolist(), strict=True)):
        if k >= 0:
            table = tables[k].detach()
            value[i] = min(int(draw * len(table)), len(table) - 1)
            codes[i, k] = table[value[i]]
    return value.to(codes.device)


def shown_swaps(batch: Batch, fake: torch.Tensor, made: torch.Tensor, grain: float) -> torch.Tensor:
    """Swapped images `fake`, `made` (N, C, S, S) without a swap, as the guide sees them.

    Half of them as *keep detail* does it, the photo and what the swap changes: there, too, the change is to
    be seen. Then moved a little and blurred, with noise of up to `grain`.
    """
    change = detailed_change(batch.seen, made.detach(), fake.float(), span=2.0, inside=batch.mask)
    pasted = (batch.seen + change).clamp(-1, 1)
    drawn = torch.where((batch.places % 4 < 2)[:, None, None, None], fake, pasted)
    shown = _jittered(torch.where(batch.mask > 0, drawn, batch.seen), batch.jitter)
    return with_noise(shown, grain * batch.jitter[:, 3], batch.grain) if grain else shown


def swap_losses(
    state: TrainState,
    batch: Batch,
    swaps: Swaps,
    shown: torch.Tensor,
    probabilities: Sequence[torch.Tensor],
    whole: Whole,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`losses.swap` of swapped images as they are `shown` (`shown_swaps`), the mean over the guides.

    `probabilities` are what the classifier sees in the photos.
    """
    before = filled(batch.labels, probabilities)
    told, goal = swaps.told(before), (swaps.attribute, swaps.value)
    if state.asking is None or not len(state.guides):
        return losses.swap(state.networks.classifier(shown), *goal, told, whole.halves)
    with torch.no_grad():
        logits = state.networks.classifier(shown)
        after = [(v - p).softmax(1) for v, p in zip(logits, state.priors, strict=True)]
        even = [v * (-p).exp() for v, p in zip(probabilities, state.priors, strict=True)]
    weights = state.asking.weigh(*goal, before, after)
    keeping = state.asking.keep(swaps.attribute, told, swaps.clear(even), after)
    found = []
    for guide in state.guides:
        with torch.no_grad():
            photos = swaps.clear([v.softmax(1) for v in guide(batch.seen)])
        found.append(losses.swap(guide(shown), *goal, told, whole.halves, photos, weights, keeping))
    changed, kept = zip(*found, strict=True)
    return torch.stack(changed).mean(), torch.stack(kept).mean()


def _jittered(images: torch.Tensor, jitter: torch.Tensor) -> torch.Tensor:
    """Images turned, sized and shifted a little and blurred, as `jitter` (N, 4) in 0..1 says.

    A pattern that means its value to the classifier at one place only is no change that a person sees. What
    it can't see for the blur, half of the images' a stronger one, is not drawn to please it.
    """
    angle, scale, *shift = (2 * jitter - 1).T
    placed = moved(images, 0.1 * angle, torch.exp(0.08 * scale), 0.06 * torch.stack(shift, 1))
    once = box_mean(placed)
    twice = box_mean(once)
    return torch.where((jitter[:, :1, None, None] * 7) % 1 < 0.5, twice, once)
