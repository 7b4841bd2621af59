"""Which images a step works on and how they are varied, all of it drawn from (seed, stage, step).

So a run that is killed and resumed goes on with the same batches, and so do processes that share them.
"""

from __future__ import annotations

import numpy as np
import torch

from core.model import OUTSIDE_VALUE
from core.training.augment import vary_grain, vary_light, vary_place
from core.training.batch import Batch, epoch_rows, make_batch
from core.training.config import TrainConfig
from core.training.dataset import Dataset, drawing_weights
from core.training.parallel import Team
from core.training.state import STAGES


class Sampler:
    """Draws the batches of one training.

    `labels` (N, K); `coded` (n,) are the images that have a residual code, `code_rows` (N,) their places
    among them, -1 for none. `guide_labels` and `guide_weights` (N,) are what the guides learn from, and how
    often.
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, team: Team) -> None:
        self.config, self.dataset, self.team = config, dataset, team
        self.size = config.network.image_size
        self.labels = dataset.label_array()
        self.weights, self.labelled_weights = drawing_weights(self.labels, config.balance)
        self.guide_labels, self.guide_weights = self.labels, self.labelled_weights
        self.coded = self._choose_coded()
        self.code_rows = np.full(len(dataset), -1, np.int64)
        self.code_rows[self.coded] = np.arange(len(self.coded))
        self.labelled_rows = np.flatnonzero((self.labels[self.coded] >= 0).any(1))

    def hear_base(self) -> None:
        """Half of the warm-up's images are any: the base of a fine-tuning is heard on unlabelled ones too."""
        self.labelled_weights = (self.labelled_weights + self.weights) / 2

    def _choose_coded(self) -> np.ndarray:
        """The images that get a residual code: all, or a fixed choice that favours rare values."""
        wanted = self.config.disentanglement.images
        if not wanted or wanted >= len(self.dataset):
            return np.arange(len(self.dataset))
        rng = np.random.default_rng([self.config.seed, 77])
        return np.sort(rng.choice(len(self.dataset), wanted, replace=False, p=self.weights))

    def batch(self, name: str, step: int) -> Batch:
        """This process's part of the batch of a stage's step; all choices are made for the whole."""
        seed = [self.config.seed, STAGES.index(name), step]
        rng = np.random.default_rng(seed)
        size = getattr(self.config, name).batch
        if name in ("disentanglement", "amortisation"):
            order = [self.config.seed, 100 + STAGES.index(name)]
            positions = self.coded[epoch_rows(order, len(self.coded), step, size)]
            labelled = round(size * self.config.disentanglement.labelled)
            if name == "disentanglement" and labelled and len(self.labelled_rows):
                positions[:labelled] = self.coded[rng.choice(self.labelled_rows, labelled)]
        else:
            weights = {"warmup": self.labelled_weights, "guide": self.guide_weights}.get(name, self.weights)
            positions = rng.choice(len(self.dataset), size, p=weights)
        part = self.team.part
        own = positions[part]
        images, mask = self.dataset.batch(own, self.size)
        code_rows = torch.from_numpy(self.code_rows[own])
        labels = torch.from_numpy((self.guide_labels if name == "guide" else self.labels)[own])
        mirrored = torch.zeros(size, dtype=torch.bool)
        if self.config.mirror and name in ("warmup", "guide", "synthesis"):
            mirrored = torch.from_numpy(rng.random(size) < 0.5)
            flip = mirrored[part][:, None, None, None]
            images = torch.where(flip, images.flip(3), images)
            mask = torch.where(flip, mask.flip(3), mask)
            code_rows = torch.where(mirrored[part], -1, code_rows)  # codes are of unmirrored images
        seen = self._with_border(images, positions, mirrored, rng)
        if name == "guide" or (name == "warmup" and self.config.warmup.vary):
            seen = vary_light(vary_place(seen, size, part, rng), size, part, rng)
        if name == "warmup" and self.config.warmup.grain:
            seen = vary_grain(seen, self.config.warmup.grain, size, part, rng)
        noise = torch.Generator().manual_seed(int(np.random.default_rng([*seed, 1]).integers(2**62)))
        dim = self.config.network.residual_dim
        return make_batch(images, seen, mask, labels, code_rows, dim, noise, part, size)

    def _with_border(
        self, images: torch.Tensor, positions: np.ndarray, mirrored: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Some images lose the border that another lacks, so that it tells nothing of the source.

        `images` are this process's part of the batch `positions`, of which some are `mirrored`.
        """
        if not self.config.border:
            return images
        part = self.team.part
        order = rng.permutation(len(positions))[part]
        chosen = rng.random(len(positions))[part] < self.config.border
        if not chosen.any():
            return images
        other = self.dataset.inside_of(positions[order[chosen]], self.size)
        flip = mirrored[torch.from_numpy(order[chosen])][:, None, None, None]
        keep = torch.ones(len(images), *other.shape[1:])
        keep[torch.from_numpy(chosen)] = torch.where(flip, other.flip(3), other)
        return torch.where(keep > 0, images, torch.tensor(OUTSIDE_VALUE))
