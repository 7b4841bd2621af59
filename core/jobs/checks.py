"""Before a job starts: is there enough to learn from, is there room, and how long will it take."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.attributes import AttributeSet
from core.errors import StudioError
from core.jobs.spec import Estimate, Finding, JobSpec, preset_path

if TYPE_CHECKING:
    from core.training.dataset import Dataset

FEW, GOOD = 20, 100  # labels of a value: fewer than the first hardly teach, from the second on it is well
LEAST_IMAGES = 50
WARM_STEPS = 3  # timed steps of a stage; the first one is not counted


@dataclass(frozen=True)
class LabelCounts:
    """How many labels there are: by attribute name the counts of each value, in order, and of none."""

    attributes: AttributeSet
    images: int
    counts: dict[str, tuple[int, ...]]
    missing: dict[str, int]


def label_table(spec: JobSpec) -> LabelCounts:
    """Count the labels of a job's data; StudioError if the data can't be read."""
    from core.jobs.data import labels_of

    attributes, labels = labels_of(spec)
    counts, missing = {}, {}
    for k, attribute in enumerate(attributes):
        known = labels[labels[:, k] >= 0, k]
        counts[attribute.name] = tuple(int(n) for n in np.bincount(known, minlength=len(attribute.values)))
        missing[attribute.name] = len(labels) - len(known)
    return LabelCounts(attributes, len(labels), counts, missing)


def check(spec: JobSpec) -> list[Finding]:
    """All that can be said before a job starts; one with an “error” among them won't run. Never raises.

    Reads labels and sizes, no images: seconds at most.
    """
    try:
        table = label_table(spec)
        preset_path(spec.preset)
    except StudioError as error:
        return [Finding("error", error.message, error.hint)]
    findings = _of_labels(table, _known_to_base(spec))
    findings += _of_base(spec, table)
    findings += _of_room(spec, table.images)
    findings += _of_device(spec)
    return findings


def estimate(spec: JobSpec) -> Estimate:
    """Time and memory of the whole training, from a few real steps of every stage on some of the images.

    Takes the device for some seconds up to a minute. StudioError if a step fails.
    """
    from core.jobs.data import subset
    from core.jobs.settings import make_config

    with tempfile.TemporaryDirectory(prefix="zerodim-measure-") as made:
        dataset = subset(spec, Path(made) / "data")
        return measure(make_config(spec, dataset.attributes), dataset, spec, Path(made) / "run")


def measure(config: object, dataset: Dataset, spec: JobSpec, folder: Path) -> Estimate:
    """`estimate` on images that are ready; `folder` is for the trial run."""
    import msgspec
    import torch

    from core.memory import peak_bytes
    from core.model import choose_device
    from core.training import finetune
    from core.training.config import TrainConfig
    from core.training.loop import train
    from core.training.run import Run
    from core.training.state import STAGES

    assert isinstance(config, TrainConfig)
    plan = {stage: getattr(config, stage).steps for stage in STAGES}
    small = {
        stage: msgspec.structs.replace(getattr(config, stage), steps=min(plan[stage], WARM_STEPS))
        for stage in STAGES
    }
    trial = msgspec.structs.replace(config, **small, sample_every=10**9, checkpoint_every=10**9)
    run = Run.start(folder, trial)
    if spec.base:
        finetune.store_base(Path(spec.base), folder)
        dataset = finetune.fit_dataset(dataset, finetune.attributes_for(folder, trial, dataset.attributes))
    times = _StepTimes()
    device = choose_device(spec.devices[0])
    try:
        train(trial, dataset, run, str(device), watch=times)
    except (RuntimeError, MemoryError) as error:
        from core.jobs.failures import explain

        told = explain(error)
        raise StudioError(told.sentence, told.hint) from error
    seconds = {stage: times.median(stage) for stage in STAGES if plan[stage]}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    total = sum(seconds[stage] * plan[stage] for stage in seconds)
    return Estimate(total, seconds, plan, peak_bytes(device), str(device))


class _StepTimes:
    """Looks on at a training and takes the time of each step."""

    held_out: Dataset | None = None

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.before = time.perf_counter()
        self.stage = ""

    def waits(self) -> bool:
        """Nobody does."""
        return False

    def answer(self, trainer: object) -> None:
        """Nobody asks."""

    def after_step(self, trainer: object) -> None:
        """As `core.training.loop.Watch` says."""
        from core.training.state import STAGES

        now = time.perf_counter()
        name = STAGES[trainer.state.stage]  # type: ignore[attr-defined]
        # what comes before a stage's first step (features, components) belongs to no step
        taken = self.seconds.setdefault(name, [])
        if name == self.stage:
            taken.append(now - self.before)
        self.stage, self.before = name, time.perf_counter()

    def median(self, stage: str) -> float:
        """Seconds a step; 0 if the stage had one step only."""
        return float(np.median(self.seconds.get(stage) or [0.0]))


def _of_labels(table: LabelCounts, known: dict[str, set[str]]) -> list[Finding]:
    """What is missing; values that are `known` by attribute already need no label."""
    findings, least = [], list[int]()
    if table.images < LEAST_IMAGES:
        findings.append(
            Finding("error" if table.images < 8 else "warning", f"There are only {table.images} images.",
                    "A model needs hundreds, better thousands; they need not all have labels.")
        )  # fmt: skip
    if not any(sum(counts) for counts in table.counts.values()):
        return [
            *findings,
            Finding("error", "No image has a label.", "Label some images of each value first."),
        ]
    for attribute in table.attributes:
        counts = table.counts[attribute.name]
        if not sum(counts) and known.get(attribute.name):
            continue
        if not sum(counts):
            findings.append(
                Finding("error", f"{attribute.title} has no labels.", "Label some images, or leave it out.")
            )
            continue
        needed = [
            (value.title, count)
            for value, count in zip(attribute.values, counts, strict=True)
            if value.name not in known.get(attribute.name, ())
        ]
        if none := [title for title, count in needed if not count]:
            hint = "Label some, leave the attribute out, or remove the value in Curate."
            sentence = f"{attribute.title}: no image is labelled {_either(none)}."
            findings.append(Finding("error", sentence, hint))
        if few := [f"{title} ({count})" for title, count in needed if 0 < count < FEW]:
            hint = f"From {FEW} labels on a value can be learned, {GOOD} are good."
            sentence = f"{attribute.title}: few images are labelled {_either(few)}."
            findings.append(Finding("warning", sentence, hint))
        least += [count for _, count in needed]
    if not any(finding.level in ("warning", "error") for finding in findings) and least:
        what = "new value" if known else "value"
        findings.append(
            Finding("fine", f"Every {what} has at least {min(least)} labels, on {table.images} images.")
        )
    bare = min(table.missing.values())
    if bare:
        findings.append(
            Finding("note", f"At least {bare} of {table.images} images have no label of some attribute.",
                    "They help too: what they show is learned from the labelled ones.")
        )  # fmt: skip
    return findings


def _either(names: list[str]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _known_to_base(spec: JobSpec) -> dict[str, set[str]]:
    """Values by attribute that a fine-tuned model knows without any label, since its base teaches them."""
    if not spec.base or spec.mode != "add":
        return {}
    from core.model import load_card

    try:
        card = load_card(Path(spec.base))
    except StudioError:  # `_of_base` says it
        return {}
    return {attribute.name: {value.name for value in attribute.values} for attribute in card.attributes}


def _of_base(spec: JobSpec, table: LabelCounts) -> list[Finding]:
    if not spec.base:
        return []
    from core.model import load_card
    from core.training.finetune import describe

    try:
        return [
            Finding("note", sentence)
            for sentence in describe(load_card(Path(spec.base)), table.attributes, spec.mode)
        ]
    except StudioError as error:
        return [Finding("error", error.message, error.hint)]


def _of_room(spec: JobSpec, images: int) -> list[Finding]:
    from core.jobs.data import labels_of
    from core.jobs.jobs import runs_folder
    from core.jobs.settings import make_config
    from core.training.state import STAGES

    findings = []
    try:
        config = make_config(spec, labels_of(spec)[0])
    except StudioError as error:
        return [Finding("error", error.message, error.hint)]
    pixels = config.network.image_size**2
    data = 0 if spec.kind == "prepared" else images * pixels * 4
    # weights, average, two moments of Adam, twice while a checkpoint takes the last one's place; samples
    weights = _parameters(config.network, labels_of(spec)[0])
    codes = min(images, config.disentanglement.images or images) * config.network.residual_dim
    needed = data + 2 * 4 * (4 * weights + 3 * codes) + 50 * 2**20
    folder = next(p for p in (runs_folder(), *runs_folder().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        findings.append(
            Finding("error", f"The disk has {_size(free)} left; this training needs about {_size(needed)}.",
                    "Free some space, or discard old runs.")
        )  # fmt: skip
    elif free < 3 * needed:
        findings.append(
            Finding("warning", f"The disk has {_size(free)} left; about {_size(needed)} of it will be used.",
                    "Free some space.")
        )  # fmt: skip
    else:
        findings.append(Finding("fine", f"It will use about {_size(needed)} of {_size(free)} on the disk."))
    memory = _free_memory()
    batch = max(getattr(config, s).batch for s in STAGES)
    # by the pixels of the largest batch: fine-tuning at 64 px with 64 images peaked at 1.77 GB, this says 1.9
    wanted = int(600e6 + 16 * weights + batch * pixels * 4600)
    if memory and spec.devices[0] in ("auto", "cpu") and memory < wanted:
        findings.append(
            Finding("warning", f"{_size(memory)} of memory are free; this training may need {_size(wanted)}.",
                    "Close other programs, or choose smaller images.")
        )  # fmt: skip
    return findings


def _of_device(spec: JobSpec) -> list[Finding]:
    from core.model import choose_device

    try:
        for device in spec.devices:
            choose_device(device)
    except StudioError as error:
        return [Finding("error", error.message, error.hint)]
    if len(spec.devices) > 1 and any(not d.startswith("cuda") and d != "cpu" for d in spec.devices):
        return [Finding("error", "Only CUDA devices can be used together.", "Choose one device.")]
    if choose_device(spec.devices[0]).type == "cpu":
        return [Finding("note", "There is no graphics card in use: the processor takes many times longer.")]
    return []


def _parameters(network: object, attributes: AttributeSet) -> int:
    import torch

    from core.nets.build import Networks

    with torch.device("meta"):
        made = Networks(network, [len(a.values) for a in attributes])  # type: ignore[arg-type]
    return sum(p.numel() for p in made.parameters())


def _free_memory() -> int:
    """Bytes of memory that programs can still get; 0 where the system doesn't say simply."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/meminfo").read_text().splitlines():
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{max(1, number // 2**20)} MB"
