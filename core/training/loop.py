"""The training loop: warm-up and the method's three stages, one after the other, in one place.

Every random choice of a step is drawn from (seed, stage, step), so that a run that is killed and resumed
goes on exactly as one that wasn't, and nothing but tensors and two counters need to be stored.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import torch

from core.errors import StudioError
from core.model import OUTSIDE_VALUE, Model, ModelCard, Source, choose_device
from core.training import stages
from core.training.config import TrainConfig
from core.training.dataset import Dataset, balance_weights
from core.training.perceptual import features_record, find_features, load_features
from core.training.run import Run
from core.training.samples import grid_columns, sample_grid
from core.training.start import component_start
from core.training.state import STAGES, TrainState

REPORT_EVERY = 20
SAMPLE_ROWS = 10
Progress = Callable[[str, int, int, dict[str, float]], None]


class Watch(Protocol):
    """Somebody who looks on: may measure and write samples, must change nothing and draw no random number."""

    held_out: Dataset | None  # images for samples, once there is an encoder to see them

    def after_step(self, trainer: Trainer) -> None:
        """Called after every step, `trainer.state` says which."""


def train(
    config: TrainConfig,
    dataset: Dataset,
    run: Run,
    device: str = "auto",
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Model | None:
    """Train to the end, or until asked to stop (then None); goes on from the run's checkpoint.

    StudioError if a loss is no longer a number: the last checkpoint is from before that.
    """
    trainer = Trainer(config, dataset, run, choose_device(device))
    trainer.watch = watch
    run.event("start", images=len(dataset), device=str(trainer.device), perceptual=trainer.features)
    trainer.resume()
    while trainer.state.stage < len(STAGES):
        if not trainer.run_stage(progress):
            return None
    return trainer.model()


def model_so_far(config: TrainConfig, dataset: Dataset, run: Run, device: str = "auto") -> tuple[Model, str]:
    """The averaged networks of the last checkpoint as a model, and the stage the run is in, "" at its end."""
    trainer = Trainer(config, dataset, run, choose_device(device))
    trainer.resume()
    return trainer.model(), (*STAGES, "")[trainer.state.stage]


class Trainer:
    """One training in progress: what it reads, its state, and the loop over a stage's steps."""

    watch: Watch | None = None

    def __init__(self, config: TrainConfig, dataset: Dataset, run: Run, device: torch.device) -> None:
        if not len(dataset):
            raise StudioError("There are no images to train on.", "Prepare a folder with images first.")
        self.config, self.dataset, self.run, self.device = config, dataset, run, device
        self.size = config.network.image_size
        self.labels = dataset.label_array()
        if not len(dataset.attributes):
            raise StudioError("The images have no attributes.", "Prepare them with labels.")
        weights = balance_weights(self.labels, config.balance) if config.balance else np.ones(len(dataset))
        self.weights = weights / weights.sum()
        # the warm-up's: an image without any label has nothing to say there
        labelled = weights * (self.labels >= 0).any(1)
        self.labelled_weights = labelled / labelled.sum() if labelled.any() else self.weights
        self.features = self._features_record()
        self.coded = self._choose_coded()
        self.code_rows = np.full(len(dataset), -1, np.int64)
        self.code_rows[self.coded] = np.arange(len(self.coded))
        counts = [len(a.values) for a in dataset.attributes]
        self.state = TrainState.fresh(config, counts, len(self.coded), device)

    def _choose_coded(self) -> np.ndarray:
        """The images that get a residual code: all, or a fixed choice that favours rare values."""
        wanted = self.config.disentanglement.images
        if not wanted or wanted >= len(self.dataset):
            return np.arange(len(self.dataset))
        rng = np.random.default_rng([self.config.seed, 77])
        return np.sort(rng.choice(len(self.dataset), wanted, replace=False, p=self.weights))

    # -- resuming -------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Go to where the last checkpoint is, or to the beginning."""
        stored = self.run.load_checkpoint()
        if stored is None:
            self._enter(0)
            return
        tensors, where = stored
        self.state.stage, self.state.step = where["stage"], where["step"]
        if STAGES.index("warmup") < self.state.stage < len(STAGES):
            if where.get("features", "") != self.features.get("sha256", ""):
                raise StudioError(
                    "The file of perceptual features is not the one that the run began with.",
                    "Put that file back, or start a new run.",
                )
            self._take_features()
        if self.state.stage < len(STAGES):
            self.state.optimizers = stages.make_optimizers(self.config, self.state, STAGES[self.state.stage])
        self.state.restore(tensors)

    def checkpoint(self) -> None:
        """Store the state; never one that has diverged."""
        bad = [name for name, p in self.state.networks.named_parameters() if not bool(p.isfinite().all())]
        if bad:
            self._check(STAGES[min(self.state.stage, len(STAGES) - 1)], {bad[0]: math.nan})
        where = {"stage": self.state.stage, "step": self.state.step}
        features = self.features.get("sha256", "")
        self.run.save_checkpoint(self.state.tensors(), {**where, "features": features})

    def _enter(self, stage: int) -> None:
        """Make what a stage starts from."""
        self.state.stage, self.state.step, self.state.optimizers = stage, 0, {}
        if stage >= len(STAGES):
            return
        if STAGES[stage] == "disentanglement":
            self._take_features()
            if self.config.disentanglement.residual_start == "components":
                component_start(self.config, self.dataset.take(self.coded), self.state)
        self.state.optimizers = stages.make_optimizers(self.config, self.state, STAGES[stage])

    def _features_record(self) -> dict[str, str]:
        """Which features the perceptual loss compares, for the run's record; StudioError without any."""
        reconstruction = self.config.reconstruction
        if not reconstruction.perceptual:
            return {}
        if reconstruction.perceptual_file:
            return features_record(find_features(reconstruction.perceptual_file))
        if not self.config.warmup.steps:
            raise StudioError(
                "The perceptual loss needs features.", "Set reconstruction.perceptual_file or warmup.steps."
            )
        return {"name": "classifier after warm-up"}

    def _take_features(self) -> None:
        """Features from their file, or as they are in the classifier now."""
        reconstruction = self.config.reconstruction
        if not reconstruction.perceptual:
            return
        self.state.features_from_file = bool(reconstruction.perceptual_file)
        if self.state.features_from_file:
            found = load_features(find_features(reconstruction.perceptual_file))
            self.state.features = found.to(self.device)
        else:
            self.state.features = stages.perceptual_features(self.state.networks.classifier)

    # -- running --------------------------------------------------------------------------------------------

    def run_stage(self, progress: Progress | None) -> bool:
        """The rest of the current stage; False if asked to stop."""
        state, name = self.state, STAGES[self.state.stage]
        total = getattr(self.config, name).steps
        self.run.event("stage", stage=name, step=state.step, steps=total)
        started, seen = time.monotonic(), 0
        while state.step < total:
            self._set_rates(name, state.step / total)
            batch = self._batch(name, state.step)
            parts = self._step(name, batch, state.step / total)
            state.update_average(self.config.ema_decay, state.step)
            state.step += 1
            seen += len(batch.labels)
            if state.step % REPORT_EVERY == 0 or state.step == total:
                numbers = {key: float(value.detach()) for key, value in parts.items()}
                self._check(name, numbers)
                rate = seen / (time.monotonic() - started)
                self.run.event(
                    "step", stage=name, step=state.step, images_per_second=round(rate, 2), **numbers
                )
                if progress:
                    progress(name, state.step, total, {**numbers, "images/s": rate})
            if state.step % self.config.sample_every == 0 and name in ("disentanglement", "synthesis"):
                self.sample(name)
            if state.step % self.config.checkpoint_every == 0 and state.step < total:
                self._check(name, {key: float(value.detach()) for key, value in parts.items()})
                self.checkpoint()
            if self.watch is not None:
                self.watch.after_step(self)
            if self.run.asked_to_stop():
                self.checkpoint()
                self.run.event("stopped", stage=name, step=state.step)
                return False
        if total and name in ("disentanglement", "synthesis"):
            self.sample(name)
        self._enter(state.stage + 1)
        self.checkpoint()
        return True

    def _step(self, name: str, batch: stages.Batch, share: float) -> stages.Losses:
        if name == "warmup":
            return stages.warmup_step(self.config, self.state, batch)
        if name == "disentanglement":
            return stages.disentanglement_step(self.config, self.state, batch, share)
        if name == "amortisation":
            return stages.amortisation_step(self.config, self.state, batch)
        return stages.synthesis_step(self.config, self.state, batch, share, self.state.step)

    def _set_rates(self, name: str, share: float) -> None:
        """Cosine schedule from the full rate to a hundredth of it, after a short rise."""
        factor = min(1.0, share / 0.02 + 0.05) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        for optimizer in self.state.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor

    def _check(self, name: str, numbers: dict[str, float]) -> None:
        bad = [key for key, value in numbers.items() if not math.isfinite(value)]
        if bad:
            self.run.event("diverged", stage=name, step=self.state.step, losses=bad)
            raise StudioError(
                f"The training diverged in stage {name}: {', '.join(bad)} is no longer a number.",
                "Resume from the last checkpoint with lower learning rates.",
            )

    # -- data -----------------------------------------------------------------------------------------------

    def _batch(self, name: str, step: int) -> stages.Batch:
        seed = [self.config.seed, STAGES.index(name), step]
        rng = np.random.default_rng(seed)
        size = getattr(self.config, name).batch
        if name in ("disentanglement", "amortisation"):
            positions = self.coded[self._epoch_rows(name, step, size)]
        else:
            weights = self.labelled_weights if name == "warmup" else self.weights
            positions = rng.choice(len(self.dataset), size, p=weights)
        images, mask = self.dataset.batch(positions, self.size)
        code_rows = torch.from_numpy(self.code_rows[positions])
        labels = torch.from_numpy(self.labels[positions])
        if self.config.mirror and name in ("warmup", "synthesis"):
            mirrored = torch.from_numpy(rng.random(len(positions)) < 0.5)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            mask = torch.where(mirrored[:, None, None, None], mask.flip(3), mask)
            code_rows = torch.where(mirrored, -1, code_rows)  # codes are of unmirrored images
        seen = self._with_border(images, mask, rng)
        if name == "warmup":
            seen = _vary_light(seen, rng)
        noise = torch.Generator().manual_seed(int(np.random.default_rng([*seed, 1]).integers(2**62)))
        move = self.device
        return stages.Batch(
            images.to(move), seen.to(move), mask.to(move), labels.to(move), code_rows.to(move), noise
        )

    def _epoch_rows(self, name: str, step: int, size: int) -> np.ndarray:
        """Rows of residual codes: every one once in each epoch, in a new order each time."""
        count = len(self.coded)
        places = np.arange(step * size, (step + 1) * size)
        rows = np.empty(size, np.int64)
        for epoch in np.unique(places // count):
            order = np.random.default_rng(
                [self.config.seed, 100 + STAGES.index(name), int(epoch)]
            ).permutation(count)
            here = places // count == epoch
            rows[here] = order[places[here] % count]
        return rows

    def _with_border(
        self, images: torch.Tensor, mask: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Some images lose the border that another lacks, so that it tells nothing of the source."""
        if not self.config.border:
            return images
        other = mask[torch.from_numpy(rng.permutation(len(images)))]
        chosen = torch.from_numpy(rng.random(len(images)) < self.config.border)[:, None, None, None]
        keep = torch.where(chosen, other, torch.ones_like(other))
        return torch.where(keep > 0, images, torch.tensor(OUTSIDE_VALUE))

    # -- results --------------------------------------------------------------------------------------------

    def sample(self, name: str) -> Path:
        """Write a picture of what the model does now; held-out images once the encoder has learned to see."""
        held = self.watch.held_out if self.watch is not None and name != "disentanglement" else None
        if held is not None and len(held):
            shown, codes = held, None
        else:
            rows = np.linspace(0, len(self.coded) - 1, min(SAMPLE_ROWS, len(self.coded))).astype(np.int64)
            shown = self.dataset.take(self.coded[rows])
            codes = self.state.residuals.weight.detach()[rows] if name == "disentanglement" else None
        picture = sample_grid(self.model(), shown, codes)
        path = self.run.save_sample(f"{self.state.stage}-{name}-{self.state.step:06d}", picture)
        self.run.event(
            "sample",
            stage=name,
            step=self.state.step,
            file=f"samples/{path.name}",
            tile=self.size,
            rows=len(shown),
            columns=grid_columns(self.dataset.attributes),
            held_out=held is not None,
        )
        return path

    def model(self) -> Model:
        """The averaged networks as a model."""
        names = {
            self.dataset.index.sources[s] for s in np.asarray(self.dataset.index.source)[self.dataset.rows]
        }
        sources = tuple(self._source(name) for name in sorted(names))
        card = ModelCard(
            name=self.config.name,
            title=self.config.title,
            description=self.config.description,
            attributes=self.dataset.attributes,
            network=self.config.network,
            licence=self.config.licence,
            sources=sources,
            limits=self.config.limits,
            training={
                "images": len(self.dataset),
                "images_with_residual_codes": len(self.coded),
                "seed": self.config.seed,
                **{f"{stage}_steps": getattr(self.config, stage).steps for stage in STAGES},
                **{f"{stage}_batch": getattr(self.config, stage).batch for stage in STAGES},
                "settings": msgspec.json.encode(self.config).decode(),
            },
        )
        return Model(card, copy.deepcopy(self.state.average), self.device)

    def _source(self, name: str) -> Source:
        index = self.dataset.index
        rows = self.dataset.rows[np.asarray(index.source)[self.dataset.rows] == index.sources.index(name)]
        known = (self.dataset.labels[rows] >= 0).sum(0)
        labels = ", ".join(
            f"{a.title.lower()} {n}" for a, n in zip(index.attributes, known, strict=True) if n
        )
        return Source(name, len(rows), labels or "none", index.licences.get(name, ""))


def _vary_light(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Small random changes of contrast and brightness; mid grey outside the photo stays near mid grey."""
    n = len(images)
    contrast = torch.from_numpy(rng.uniform(0.85, 1.15, (n, 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (n, 1, 1, 1)).astype(np.float32))
    return (images * contrast + shift).clamp(-1, 1)
