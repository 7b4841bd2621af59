"""Refine: fit the model to one face, so that what it decodes unedited is that face.

First the residual code follows the photo, then the finer layers of a copy of the generator do (pivotal
tuning: Roich et al. 2022). The attributes' codes stay. Either freedom alone would forget what swaps look
like: the code is held near the encoder's, and in every step one random swap is decoded as well, which the
model's own classifier has to recognise. Only this face's copy changes, never the model.

A refinement may end after any step, when its time is over, and is known by the steps it took: the step sizes
don't depend on how many follow, so that as many steps give the same result again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from core.model import Codes, Model, to_tensor
from core.nets.generator import StyleGenerator
from core.nets.layers import Trunk
from core.nets.lite import Lite0
from core.recipe import FULL_REFINEMENT, Refinement
from core.training import losses

STEPS = FULL_REFINEMENT
# Of the time, for the code at most.
_CODE_SHARE = 0.3
_CODE_RATE, _GENERATOR_RATE = 0.1, 5e-4
# Steps after which the step size has halved.
_HALF_AFTER = 40
_PERCEPTUAL, _SWAPS, _NEAR = 0.3, 0.05, 0.02
_PERCEPTUAL_LEVELS = 3


@dataclass(frozen=True, eq=False)
class Refined:
    """A face's own residual code (1, R) and generator weights, those that differ from the model's.

    `psnr` is in dB inside the photo, of what was decoded before and of what is decoded now.
    """

    refinement: Refinement
    residual: torch.Tensor
    weights: dict[str, torch.Tensor]
    psnr: tuple[float, float]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(t.nbytes for t in (self.residual, *self.weights.values()))

    @torch.inference_mode()
    def decode(self, model: Model, codes: Codes) -> np.ndarray:
        """(1, S, S, 3) float32 sRGB in 0..1 of the face's codes, swapped or not."""
        joined = replace(codes, residual=self.residual).joined()
        images = functional_call(model.networks.generator, self.weights, (joined,))
        return images.clamp(-1, 1).add(1).mul(0.5).permute(0, 2, 3, 1).cpu().numpy()


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
        self.steps, self._seconds, self._spent = steps, seconds, 0.0
        self._code_steps = self._generator_steps = 0
        self._model, self._generator = model, model.networks.generator
        device = model.device
        self._wanted = to_tensor(picture[None], device)
        self._mask = torch.from_numpy(inside[None, None].astype(np.float32)).to(device)
        self._attributes = codes.attributes.detach().clone()
        self._encoded = codes.residual.detach().clone()
        self._residual = self._encoded.clone().requires_grad_(True)
        self._weights = {
            name: weight.detach().clone().requires_grad_(True)
            for name, weight in self._generator.named_parameters()
            if _is_fine(self._generator, name)
        }
        self._features = _features(model)
        with torch.no_grad():
            self._wanted_maps = self._maps(self._wanted)
            self._first = self._decoded(self._residual)
        self._code_optimizer = torch.optim.Adam([self._residual], betas=(0.9, 0.99))
        self._generator_optimizer = torch.optim.Adam(list(self._weights.values()), betas=(0.9, 0.99))
        # of its own and from a fixed start: the same face is refined the same way every time
        self._random = np.random.default_rng(0)

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return not self._in_code() and not self._in_generator()

    @property
    def fraction(self) -> float:
        """How far it is, 0 to 1, by steps or by time, whichever is further."""
        total = self.steps.code_steps + self.steps.generator_steps
        by_steps = (self._code_steps + self._generator_steps) / total if total else 1.0
        by_time = self._spent / self._seconds if self._seconds else 0.0
        return 1.0 if self.done else min(1.0, max(by_steps, by_time))

    def step(self) -> None:
        """One step of the code, or after those of the generator; none once it is done."""
        started = time.perf_counter()
        if self._in_code():
            optimizer, rate, number = self._code_optimizer, _CODE_RATE, self._code_steps
            loss = self._fit(self._decoded(self._residual))
            loss = loss + _NEAR * (self._residual - self._encoded).square().mean()
            self._code_steps += 1
        elif self._in_generator():
            optimizer, rate, number = self._generator_optimizer, _GENERATOR_RATE, self._generator_steps
            loss = self._generator_loss()
            self._generator_steps += 1
        else:
            return
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (number + 1) / 5) / (1 + number / _HALF_AFTER)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        self._spent += time.perf_counter() - started

    def result(self) -> Refined:
        """What was reached so far."""
        residual = self._residual.detach().clone()
        weights = {name: weight.detach().clone() for name, weight in self._weights.items()}
        with torch.no_grad():
            last = self._decoded(residual, weights)
        return Refined(
            Refinement(self._code_steps, self._generator_steps),
            residual,
            weights if self._generator_steps else {},
            (self._psnr(self._first), self._psnr(last)),
        )

    def _in_code(self) -> bool:
        over = self._seconds is not None and self._spent >= self._seconds * _CODE_SHARE
        # once the generator follows, the code rests
        return self._code_steps < self.steps.code_steps and not over and not self._generator_steps

    def _in_generator(self) -> bool:
        over = self._seconds is not None and self._spent >= self._seconds
        return self._generator_steps < self.steps.generator_steps and not over

    def _decoded(
        self,
        residual: torch.Tensor,
        weights: dict[str, torch.Tensor] | None = None,
        attributes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        chosen = self._attributes if attributes is None else attributes
        joined = torch.cat([chosen.flatten(1), residual.expand(len(chosen), -1)], 1)
        return functional_call(self._generator, weights or {}, (joined,))

    def _generator_loss(self) -> torch.Tensor:
        """How far the face is from the photo, and one random swap from what it should show."""
        tables = self._model.networks.embeddings.tables
        k = int(self._random.integers(len(tables)))
        v = int(self._random.integers(len(tables[k])))
        swapped = self._attributes.clone()
        swapped[:, k] = tables[k][v].detach()
        both = torch.cat([self._attributes, swapped])
        made = self._decoded(self._residual.detach(), self._weights, both)
        seen = self._model.networks.classifier(made[1:])[k]
        return self._fit(made[:1]) + _SWAPS * F.cross_entropy(seen, torch.tensor([v], device=seen.device))

    def _fit(self, made: torch.Tensor) -> torch.Tensor:
        loss = losses.reconstruction(made, self._wanted, self._mask, l1=0.5, mse=2.0, bce=0.0)
        if self._features is None:
            return loss
        return loss + _PERCEPTUAL * losses.perceptual(self._maps(made), self._wanted_maps, self._mask)

    def _maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [] if self._features is None else self._features.maps(images)[:_PERCEPTUAL_LEVELS]

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


def _is_fine(generator: nn.Module, name: str) -> bool:
    """Whether a weight of the generator may be fitted to a face.

    In a style generator those from 16 px on: layout stays what the codes say, and a copy is a tenth of all.
    """
    if not isinstance(generator, StyleGenerator):
        return True
    part, _, rest = name.partition(".")
    level = rest.partition(".")[0]
    return part in ("rises", "refines", "to_rgb") and (part == "to_rgb" or int(level) >= 1)


def _features(model: Model) -> Trunk | Lite0 | None:
    """What the perceptual loss compares: the classifier's own first layers, where it has some."""
    features = model.networks.classifier.features
    return features if isinstance(features, Trunk | Lite0) else None
