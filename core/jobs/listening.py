"""A run that listens to requests and tells how it goes, while the training loop stays as it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.jobs.info import CONTROL, withdraw
from core.jobs.spec import JobSpec
from core.memory import peak_bytes
from core.training.run import Run
from core.training.state import STAGES

if TYPE_CHECKING:
    from core.training.config import TrainConfig
    from core.training.dataset import Dataset
    from core.training.loop import Trainer

EVALUATION_IMAGES = 200
SAMPLE_IMAGES = 8
STANDSTILL = 60.0  # seconds by which the clock may run away from the process before it is said
OVERTIME = 1.15  # of the budget: then the training ends, wherever it is


class JobRun(Run):
    """A run folder whose step events also say what is left, and whose requests are answered."""

    def __init__(self, folder: Path, writes: bool = True) -> None:
        super().__init__(folder, writes)
        self.listener: Listener | None = None
        self._told: set[str] = set()

    def asked(self, request: str) -> bool:
        """Whether somebody asks for pause, stop or sample."""
        return (self.folder / CONTROL / request).exists()

    def acknowledge(self) -> None:
        """Say once of each request that it was seen."""
        for request in ("stop", "pause"):
            if request not in self._told and self.asked(request):
                self._told.add(request)
                self.event("asked", request=request)

    def asked_to_stop(self) -> bool:
        """Whether the loop is to store its state and return."""
        over = self.listener is not None and self.listener.over_budget()
        if self.asked("stop") or self.asked("pause"):
            self.acknowledge()
            return True
        return over

    def event(self, kind: str, **numbers: Any) -> None:
        """As a run's, with what is left added to steps."""
        if self.listener is not None and kind in ("step", "stage", "evaluation", "sample"):
            numbers |= self.listener.standing(kind, numbers)
        super().event(kind, **numbers)


class Listener:
    """Looks on at a training (see `core.training.loop.Watch`): answers, samples, measures, counts."""

    def __init__(self, run: JobRun, config: TrainConfig, whole: Dataset, spec: JobSpec) -> None:
        self.run, self.config, self.spec = run, config, spec
        run.listener = self
        shown, self.checked = fixed_images(whole)
        self.held_out: Dataset | None = shown
        self.plan = {stage: getattr(config, stage).steps for stage in STAGES}
        self.seconds = self._known_times()
        self.begun, self.before = run.seconds(), run.seconds()
        self.started = self.clock = time.monotonic()
        self.wall = time.time()
        self.device: Any = None
        self.stage, self.step = STAGES[0], 0
        self._spent: dict[str, list[float]] = {}
        self._over = False

    def _known_times(self) -> dict[str, float]:
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode((self.run.folder / "times.json").read_bytes(), type=dict[str, float])
        return dict(self.spec.step_seconds)

    # -- called by the loop ---------------------------------------------------------------------------------

    def after_step(self, trainer: Trainer) -> None:
        """Measure the time, and do what is asked or due."""
        state = trainer.state
        name = STAGES[state.stage]
        now, wall = time.monotonic(), time.time()
        self._notice_standstill(wall - self.wall, now - self.clock)
        if name == self.stage and self.step and state.step == self.step + 1:
            spent = self._spent.setdefault(name, [])
            spent.append(now - self.clock)
            del spent[:-50]
            self.seconds[name] = float(np.mean(spent))
        self.device = trainer.device
        self.stage, self.step = name, state.step
        if self.waits():
            self.answer(trainer)
        if self._due(name, state.step) and not self._wanted():
            self._evaluate(trainer, name)
        self.clock, self.wall = time.monotonic(), time.time()

    def waits(self) -> bool:
        """Whether somebody asks for a sample."""
        return self.run.asked("sample")

    def answer(self, trainer: Trainer) -> None:
        """Draw the sample that is asked for."""
        withdraw(self.run.folder, "sample")
        self.run.event("asked", request="sample")
        trainer.sample(STAGES[trainer.state.stage])
        self.clock, self.wall = time.monotonic(), time.time()  # no step has taken that long

    def _due(self, name: str, step: int) -> bool:
        every = self.config.sample_every
        return step % every == 0 or step == self.plan[name]

    def _notice_standstill(self, wall: float, own: float) -> None:
        """A sleeping machine's clock goes on, while the process stands still (or a step took an age)."""
        usual = self.seconds.get(self.stage, own)
        if wall - own > STANDSTILL or own > STANDSTILL + 20 * usual:
            self.run.event("gap", seconds=round(max(wall, own)))

    def _evaluate(self, trainer: Trainer, name: str) -> None:
        """Accuracy and leakage on a few fixed held-out images: shares, by attribute."""
        if len(self.checked) < 20:
            return
        with_leakage = name in ("amortisation", "guide", "synthesis")
        numbers = quick_evaluation(trainer, self.checked, with_leakage, self._wanted)
        if numbers is not None:
            self.run.event("evaluation", stage=name, step=trainer.state.step, **numbers)

    def _wanted(self) -> bool:
        """Whether somebody waits for the training to end."""
        return self.run.asked("pause") or self.run.asked("stop")

    def over_budget(self) -> bool:
        """Whether the time is up; said once."""
        budget = self.spec.minutes * 60 * OVERTIME
        if not budget or self.before + time.monotonic() - self.started < budget:
            return False
        if not self._over:
            self._over = True
            self.run.event("budget", minutes=self.spec.minutes)
        return True

    # -- standing -------------------------------------------------------------------------------------------

    def place(self) -> dict[str, Any]:
        """Stage and step, for events."""
        return {"stage": self.stage, "step": self.step}

    def standing(self, kind: str, numbers: dict[str, Any]) -> dict[str, Any]:
        """Steps done and left over all stages, seconds left, memory."""
        name, step = numbers.get("stage", self.stage), int(numbers.get("step", self.step))
        before = STAGES[: STAGES.index(name)]
        more: dict[str, Any] = {
            "done": sum(self.plan[s] for s in before) + step,
            "total": sum(self.plan.values()),
        }
        if kind == "step":
            more |= {"steps": self.plan[name], "memory": peak_bytes(self.device)}
            left = self._seconds_left(name, step)
            if left is not None:
                more["seconds_left"] = round(left, 1)
        return more

    def _seconds_left(self, name: str, step: int) -> float | None:
        own = self.seconds.get(name)
        if own is None:
            return None
        left = own * (self.plan[name] - step)
        for stage in STAGES[STAGES.index(name) + 1 :]:
            # a stage that nobody has measured yet: as dear an image as in this one
            guess = own * getattr(self.config, stage).batch / getattr(self.config, name).batch
            left += self.plan[stage] * self.seconds.get(stage, guess)
        return left


def fixed_images(whole: Dataset) -> tuple[Dataset, Dataset]:
    """The images that samples show and those that are measured during training: always the same ones.

    Labelled ones first, spread over the held-out part.
    """
    held = whole.part("held_out")
    labelled = np.flatnonzero((held.label_array() >= 0).any(1))
    if not len(held):
        return held, held

    def spread(places: np.ndarray, count: int) -> np.ndarray:
        return places[np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64)]

    shown = labelled if len(labelled) >= SAMPLE_IMAGES else np.arange(len(held))
    return held.take(spread(shown, SAMPLE_IMAGES)), held.take(spread(labelled, EVALUATION_IMAGES))


def quick_evaluation(
    trainer: Trainer, dataset: Dataset, with_leakage: bool, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any] | None:
    """The averaged networks' accuracy on labelled images and, by a probe on the residual codes, leakage.

    None where `stop` said so in between: all probes together take seconds.
    """
    from core.metrics.probe import Probe, probe
    from core.training.evaluate import encode_all, pixels_of

    model = trainer.model()
    images, _ = pixels_of(dataset, model.card.image_size)
    codes, labels = encode_all(model, images), dataset.label_array()
    names = [a.name for a in model.card.attributes]
    accuracy = {
        name: float((codes.probabilities[k][known].argmax(1) == labels[known, k]).mean())
        for k, name in enumerate(names)
        if (known := labels[:, k] >= 0).any()
    }
    numbers: dict[str, Any] = {"images": len(dataset), "accuracy": accuracy}
    if with_leakage:
        residual = codes.residual.cpu().numpy()
        probes: list[Probe] = []
        for k in range(len(names)):
            if stop():
                return None
            if _enough(labels[:, k]):
                probes += probe(residual, labels[:, [k]], [names[k]], seed=0)
        numbers["leakage"] = {p.name: p.accuracy.share for p in probes}
        numbers["leakage_majority"] = {p.name: p.majority for p in probes}
    return numbers


def _enough(labels: np.ndarray) -> bool:
    """Whether a probe can be trained and checked: two values, ten images of each."""
    counts = np.bincount(labels[labels >= 0])
    return bool((counts >= 10).sum() >= 2)
