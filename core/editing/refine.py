"""Refine: fit the model to one face, so that what it decodes unedited is that face.

What is fitted is an offset to an early feature map of the generator, 8 places a side and one of the face's
own (inversion into feature space: Kang et al. 2021, “GAN Inversion for Out-of-Range Images”). Codes and
weights stay, so that a swap still changes what it would have changed: the layers after the offset draw it.
Fitting the residual code as well, or the weights, comes less near to the photo and forgets what swaps look
like (measured in resources/docs/starter-model.md). Only this face's offset changes, never the model.

A refinement may end after any step, when its time is over, and is known by the steps it took: the step sizes
don't depend on how many follow, so that as many steps give the same result again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from core.model import Codes, Model, to_tensor
from core.recipe import FULL_REFINEMENT, Refinement
from core.training import losses

STEPS = FULL_REFINEMENT
_RATE = 0.3
# Steps after which the step size has halved.
_HALF_AFTER = 60


@dataclass(frozen=True, eq=False)
class Refined:
    """A face's own offset (1, C, s, s) to the generator's features.

    `psnr` is in dB inside the photo, of what was decoded before and of what is decoded now.
    """

    refinement: Refinement
    offset: torch.Tensor
    psnr: tuple[float, float]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.offset.nbytes

    def decode(self, model: Model, codes: Codes) -> np.ndarray:
        """(1, S, S, 3) float32 sRGB in 0..1 of the face's codes, swapped or not."""
        return model.decode(codes, self.offset)


class Refining:
    """A refinement under way: `step` until `done`, then `result`.

    Between steps anything else may be done with the model. With `seconds` it ends early where the steps, and
    nothing else, took so long.
    """

    def __init__(
        self,
        model: Model,
        codes: Codes,
        picture: np.ndarray,
        inside: np.ndarray,
        steps: Refinement = STEPS,
        seconds: float | None = None,
    ) -> None:
        """`codes` of one face, its aligned `picture` (S, S, 3) uint8 and `inside` (S, S) bool."""
        self.steps, self._seconds, self._spent, self._taken = steps.steps, seconds, 0.0, 0
        self._generator = model.networks.generator
        self._wanted = to_tensor(picture[None], model.device)
        self._mask = torch.from_numpy(inside[None, None].astype(np.float32)).to(model.device)
        self._codes = codes.joined().detach().clone()
        shape = self._generator.offset_shape
        self._offset = torch.zeros((1, *shape), device=model.device, requires_grad=True)
        self._optimizer = torch.optim.Adam([self._offset], betas=(0.9, 0.99))
        self._first: torch.Tensor | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self._taken >= self.steps or (self._seconds is not None and self._spent >= self._seconds)

    @property
    def fraction(self) -> float:
        """How far it is, 0 to 1, by steps or by time, whichever is further."""
        by_steps = self._taken / self.steps if self.steps else 1.0
        by_time = self._spent / self._seconds if self._seconds else 0.0
        return 1.0 if self.done else min(1.0, max(by_steps, by_time))

    def step(self) -> None:
        """One step; none once it is done."""
        if self.done:
            return
        started = time.perf_counter()
        for group in self._optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (self._taken + 1) / 5) / (1 + self._taken / _HALF_AFTER)
        made = self._decoded()
        if self._first is None:
            self._first = made.detach()
        loss = losses.reconstruction(made, self._wanted, self._mask, l1=0.5, mse=2.0, bce=0.0)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._taken += 1
        self._spent += time.perf_counter() - started

    def result(self) -> Refined:
        """What was reached so far."""
        with torch.no_grad():
            last = self._decoded()
        first = last if self._first is None else self._first
        offset = self._offset.detach().clone()
        return Refined(Refinement(self._taken), offset, (self._psnr(first), self._psnr(last)))

    def _decoded(self) -> torch.Tensor:
        return self._generator(self._codes, self._offset)

    def _psnr(self, made: torch.Tensor) -> float:
        error = losses.masked_mean(((made.clamp(-1, 1) - self._wanted) / 2).square(), self._mask)
        return float(-10 * torch.log10(error.clamp(min=1e-8)))


def go_on(refining: Refining, seconds: float) -> bool:
    """Steps for about so long, at least one; whether it is done."""
    end = time.perf_counter() + seconds
    while not refining.done:
        refining.step()
        if time.perf_counter() >= end:
            break
    return refining.done
