"""The training loop: warm-up and the method's three stages, one after the other, in one place.

Every random choice of a step is drawn from (seed, stage, step) (`core.training.sampler`), so that a run that
is killed and resumed goes on exactly as one that wasn't, and nothing but tensors and two counters need to be
stored.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import torch

from core.errors import Diverged, StudioError
from core.model import Model, ModelCard, Source, choose_device
from core.nets.average import follow
from core.precision import choose_precision
from core.training import finetune, stages
from core.training.batch import Batch
from core.training.config import TrainConfig
from core.training.dataset import Dataset, drawing_weights, log_priors
from core.training.interrupt import Interrupted, interruptible
from core.training.leakage import fit_to
from core.training.parallel import Team
from core.training.perceptual import features_record, find_features, load_features
from core.training.pseudo import PseudoLabels
from core.training.run import Run
from core.training.sampler import Sampler
from core.training.samples import grid_columns, sample_grid
from core.training.start import start_stage
from core.training.state import STAGES, TrainState, stage_place

REPORT_EVERY = 20
SAMPLE_ROWS = 10
SAMPLED = ("disentanglement", "synthesis")  # stages in which the generator learns
BEST_IMAGES, BEST_BATCH = 256, 64  # held-out images that choose the best checkpoint
Progress = Callable[[str, int, int, dict[str, float]], None]


class Watch(Protocol):
    """Somebody who looks on: may measure and write samples, must change nothing and draw no random number."""

    held_out: Dataset | None  # images for samples, once there is an encoder to see them

    def waits(self) -> bool:
        """Whether somebody waits for `answer`: then a step in its middle is broken off, and taken again."""

    def answer(self, trainer: Trainer) -> None:
        """Called between steps where somebody waits."""

    def after_step(self, trainer: Trainer) -> None:
        """Called after every step, `trainer.state` says which."""


def train(
    config: TrainConfig,
    dataset: Dataset,
    run: Run,
    device: str = "auto",
    progress: Progress | None = None,
    watch: Watch | None = None,
    held_out: Dataset | None = None,
    say: Callable[[str], None] | None = None,
    team: Team | None = None,
) -> Model | None:
    """Train to the end, or until asked to stop (then None); goes on from the run's checkpoint.

    With `held_out` images the best checkpoint of the stages with an encoder is kept beside the last. `say`
    is told, in a sentence, what a person should know while it goes on. In a `team` only the leader writes.
    Diverged if a loss is no longer a number: the last checkpoint is from before that.
    """
    trainer = Trainer(config, dataset, run, torch.device(device) if team else choose_device(device), team)
    trainer.watch, trainer.held_out, trainer.say = watch, held_out, say
    run.event(
        "start",
        images=len(dataset),
        device=str(trainer.device),
        perceptual=trainer.features,
        processes=trainer.team.size,
        precision=str(trainer.state.precision).removeprefix("torch."),
    )
    trainer.resume()
    while trainer.state.stage < len(STAGES):
        if not trainer.run_stage(progress):
            return None
    return trainer.model()


def model_so_far(
    config: TrainConfig, dataset: Dataset, run: Run, device: str = "auto", watch: Watch | None = None
) -> tuple[Model, str]:
    """The averaged networks of the last checkpoint as a model, and the stage the run is in, "" at its end.

    Leaves a sample of it in the run, with the images of `watch`.
    """
    trainer = Trainer(config, dataset, run, choose_device(device))
    trainer.watch = watch
    trainer.resume()
    stage = (*STAGES, "")[trainer.state.stage]
    if stage in SAMPLED and trainer.state.step:
        trainer.sample(stage)
    return trainer.model(), stage


class Trainer:
    """One training in progress: what it reads, its state, and the loop over a stage's steps."""

    watch: Watch | None = None
    held_out: Dataset | None = None
    say: Callable[[str], None] | None = None

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        run: Run,
        device: torch.device,
        team: Team | None = None,
    ) -> None:
        if not len(dataset):
            raise StudioError("There are no images to train on.", "Prepare a folder with images first.")
        self.config, self.dataset, self.run, self.device = config, dataset, run, device
        self.team, self.pieces, self.best = team or Team(), 1, math.inf
        self.size = config.network.image_size
        if not len(dataset.attributes):
            raise StudioError("The images have no attributes.", "Prepare them with labels.")
        self.features = self._features_record()
        self.sampler = Sampler(config, dataset, self.team)
        counts = [len(a.values) for a in dataset.attributes]
        self.state = TrainState.fresh(config, counts, len(self.sampler.coded), device, self.team)
        self.state.precision = choose_precision(config.precision, device)
        labels, weights = self.sampler.labels, self.sampler.labelled_weights
        self.state.priors = self._priors(labels, weights)
        if config.guide.sure and config.guide.steps:
            self.state.pseudo = PseudoLabels(torch.from_numpy(labels), config.guide.sure).to(device)
        used = [getattr(config, name).batch for name in STAGES if getattr(config, name).steps]
        if self.team.size > 1 and min(used, default=2) < 2 * self.team.size:
            raise StudioError(
                f"A batch of {min(used)} can't be shared by {self.team.size} processes.",
                "Start fewer processes, or make the batches larger.",
            )
        if config.finetune.base:
            nets = self.state.networks, self.state.average
            self.state.teacher = finetune.begin(run.folder, dataset.attributes, *nets, device)
            self.sampler.hear_base()
        self._teach_guides(labels, self.sampler.labelled_weights)

    def _priors(self, labels: np.ndarray, weights: np.ndarray) -> list[torch.Tensor]:
        counts = [len(a.values) for a in self.dataset.attributes]
        return [p.to(self.device) for p in log_priors(labels, weights, counts)]

    def _teach_guides(self, labels: np.ndarray, weights: np.ndarray) -> None:
        """What the guides learn from, drawn by `weights` (N,); it also limits what is asked of each value."""
        self.sampler.guide_labels, self.sampler.guide_weights = labels, weights
        self.state.guide_priors = self._priors(labels, weights)
        if self.state.asking is not None:
            self.state.asking.limit(torch.from_numpy(labels).to(self.device))

    def _take_pseudo_labels(self) -> None:
        if self.state.pseudo is not None:
            labels = self.state.pseudo.labels.cpu().numpy().astype(np.int64)
            self._teach_guides(labels, drawing_weights(labels, self.config.balance)[1])

    # -- resuming -------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Go to where the last checkpoint is, or to the beginning."""
        stored = self.run.load_checkpoint()
        if stored is None:
            self._enter(0)
            return
        tensors, where = stored
        self.state.stage, self.state.step = stage_place(where["stage"]), where["step"]
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
        self._take_pseudo_labels()
        self.best = where.get("best", math.inf)

    def checkpoint(self) -> None:
        """Store the state; never one that has diverged."""
        bad = [name for name, p in self.state.networks.named_parameters() if not bool(p.isfinite().all())]
        if bad:
            self._check(STAGES[min(self.state.stage, len(STAGES) - 1)], {bad[0]: math.nan})
        where = {"stage": (*STAGES, "")[self.state.stage], "step": self.state.step}
        features = self.features.get("sha256", "")
        tensors = self.state.tensors()
        measure = self._held_out_error()
        better = measure is not None and measure < self.best
        if measure is not None and better:
            self.best = measure
            self.run.event("best", **where, held_out_error=measure)
        best = {"best": self.best} if self.best < math.inf else {}
        self.run.save_checkpoint(tensors, {**where, "features": features, **best}, better)

    @torch.no_grad()
    def _held_out_error(self) -> float | None:
        """Mean absolute error of held-out pixels (0..2), decoded from their codes by the averaged networks.

        None before the encoder has learned, or without held-out images.
        """
        if self.held_out is None or not len(self.held_out) or self.state.stage < STAGES.index("synthesis"):
            return None
        nets, total, count = self.state.average, 0.0, 0.0
        for start in range(0, min(len(self.held_out), BEST_IMAGES), BEST_BATCH):
            positions = np.arange(start, min(start + BEST_BATCH, len(self.held_out)))
            images, mask = (t.to(self.device) for t in self.held_out.batch(positions, self.size))
            codes = nets.embeddings.assign([v.softmax(1) for v in nets.classifier(images)])
            made = nets.generator(torch.cat([codes.flatten(1), nets.residual_encoder(images)], 1))
            total += float(((made - images).abs() * mask).sum())
            count += float(mask.sum()) * images.shape[1]
        return total / max(count, 1.0)

    def _enter(self, stage: int) -> None:
        """Make what a stage starts from."""
        self.state.stage, self.state.step, self.state.optimizers = stage, 0, {}
        if stage >= len(STAGES):
            return
        if STAGES[stage] == "disentanglement":
            self._take_features()
        coded = self.dataset.take(self.sampler.coded)
        start_stage(STAGES[stage], self.config, self.dataset, coded, self.state)
        self._take_pseudo_labels()
        self.state.optimizers = stages.make_optimizers(self.config, self.state, STAGES[stage])

    def _features_record(self) -> dict[str, str]:
        """Which features the perceptual loss compares, for the record; StudioError if they are missing."""
        reconstruction = self.config.reconstruction
        if not reconstruction.perceptual:
            return {}
        if self._features_from_file():
            return features_record(find_features(reconstruction.perceptual_file))
        return {"name": "classifier after warm-up"}

    def _features_from_file(self) -> bool:
        return bool(self.config.reconstruction.perceptual_file) or not self.config.warmup.steps

    def _take_features(self) -> None:
        """Features from their file, or as they are in the classifier now."""
        reconstruction = self.config.reconstruction
        if not reconstruction.perceptual:
            return
        self.state.features_from_file = self._features_from_file()
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
            share = state.step / total
            self._set_rates(name, share)
            if name == "synthesis":
                self._fit_leakage(share)
            parts = self._step(name, self.sampler.batch(name, state.step).to(self.device), share)
            if parts is None:
                if self._asked_to_stop():
                    return self._stop(name)
                if self.watch is not None:
                    self.watch.answer(self)
                continue
            follow(state.average, state.networks, self.config.ema_decay, state.step)
            state.step += 1
            seen += getattr(self.config, name).batch
            if state.step % REPORT_EVERY == 0 or state.step == total:
                numbers = {key: float(value.detach()) for key, value in parts.items()}
                self._check(name, numbers)
                rate = seen / (time.monotonic() - started)
                self.run.event(
                    "step", stage=name, step=state.step, images_per_second=round(rate, 2), **numbers
                )
                if progress:
                    progress(name, state.step, total, {**numbers, "images/s": rate})
            stop = self._asked_to_stop()  # who waits for it waits for no sample
            if not stop and name in SAMPLED and state.step % self.config.sample_every == 0:
                self.sample(name)
            if not stop and state.step % self.config.checkpoint_every == 0 and state.step < total:
                self._check(name, {key: float(value.detach()) for key, value in parts.items()})
                self.checkpoint()
            if self.watch is not None:
                self.watch.after_step(self)
            if stop or self._asked_to_stop():
                return self._stop(name)
        if total and name in SAMPLED:
            self.sample(name)
        self._enter(state.stage + 1)
        self.checkpoint()
        return True

    def _stop(self, name: str) -> bool:
        self.checkpoint()
        self.run.event("stopped", stage=name, step=self.state.step)
        return False

    def _awaited(self) -> bool:
        return self.run.asked_to_stop() or (self.watch is not None and self.watch.waits())

    def _asked_to_stop(self) -> bool:
        return self.team.any(self.team.leads and self.run.asked_to_stop(), self.device)

    def _fit_leakage(self, share: float) -> None:
        state, y = self.state, self.config.synthesis
        due = share >= y.leakage_after and state.step % y.leakage_every == 0
        if state.leakage is not None and due:
            seed = [self.config.seed, 500, state.step]
            fit_to(state.leakage, self.dataset, state.networks, self.size, seed, state.precision)

    def _step(self, name: str, batch: Batch, share: float) -> stages.Losses | None:
        """One step; where memory runs out, in smaller pieces from then on. None, with nothing changed, if it
        was broken off because somebody waits. Processes of a team end their steps together."""
        alone = self.team.size == 1
        while True:
            try:
                with interruptible(self._awaited) if alone else nullcontext():
                    return stages.step(self.config, self.state, batch, name, share, self.pieces)
            except Interrupted:
                return None
            except torch.OutOfMemoryError as error:
                size = getattr(self.config, name).batch // self.team.size
                if self.pieces * 2 > size:
                    raise StudioError(
                        f"The memory is too small for one image at a time in stage {name}.",
                        "Choose smaller networks or images, or another device.",
                    ) from error
            # outside the handler, whose traceback would keep the step's tensors alive
            self.pieces *= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            images = -(-size // self.pieces)
            self.run.event(
                "memory", stage=name, step=self.state.step, pieces=self.pieces, images_at_a_time=images
            )
            if self.say is not None:
                self.say(
                    f"Out of memory in stage {name}: each batch of {size} is now worked on {images} images "
                    "at a time. The results stay the same, the training is slower."
                )

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
            raise Diverged(
                f"The training diverged in stage {name}: {', '.join(bad)} is no longer a number.",
                "Resume from the last checkpoint with lower learning rates.",
            )

    # -- results --------------------------------------------------------------------------------------------

    def sample(self, name: str) -> Path:
        """Write a picture of what the model does now; held-out images once the encoder has learned to see."""
        held = self.watch.held_out if self.watch is not None and name != "disentanglement" else None
        if held is not None and len(held):
            shown, codes = held, None
        else:
            rows = np.linspace(
                0, len(self.sampler.coded) - 1, min(SAMPLE_ROWS, len(self.sampler.coded))
            ).astype(np.int64)
            shown = self.dataset.take(self.sampler.coded[rows])
            wanted = torch.from_numpy(rows).to(self.device)
            codes = self.state.residual_codes(wanted) if name == "disentanglement" else None
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
                "images_with_residual_codes": len(self.sampler.coded),
                "seed": self.config.seed,
                **{f"{stage}_steps": getattr(self.config, stage).steps for stage in STAGES},
                **{f"{stage}_batch": getattr(self.config, stage).batch for stage in STAGES},
                "perceptual_features": self.features.get("name", "none"),
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
