"""A run as a list shows it: all that its folder says, folded into one record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.errors import StudioError
from core.files import atomic_write
from core.jobs.events import Event
from core.jobs.spec import JobSpec

State = Literal[
    "queued", "preparing", "training", "pausing", "paused", "stopping", "evaluating", "finished", "failed"
]
BUSY = ("preparing", "training", "pausing", "stopping", "evaluating")
JOB, CONTROL, QUEUED, REQUESTS = "job.json", "control", "queued", ("pause", "stop", "sample")
# In `control` too, for a run's next process: more steps; half the learning rates; nothing but its model.
LONGER, CALMER, FINISH = "longer", "calmer", "finish"


@dataclass(frozen=True)
class JobError:
    """What went wrong: one sentence, what to do, and the raw text for those who want it."""

    sentence: str
    hint: str = ""
    raw: str = ""


@dataclass(frozen=True)
class RunInfo:
    """One run. `done` of `total` steps over all stages; `seconds_left` None while unknown; `memory` in bytes.

    `stopped_early` says that a finished run was kept before its plan's end. `model` is the finished model's
    folder inside the run, `kept` the copy among the user's models. `place` counts from 1 while queued.
    """

    folder: Path
    title: str
    state: State
    spec: JobSpec
    created: float = 0.0
    stage: str = ""
    step: int = 0
    steps: int = 0
    done: int = 0
    total: int = 0
    images: int = 0
    images_per_second: float = 0.0
    seconds_left: float | None = None
    seconds: float = 0.0
    memory: int = 0
    device: str = ""
    prepared: tuple[int, int] = (0, 0)
    accuracy: dict[str, float] = field(default_factory=dict)
    leakage: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: JobError | None = None
    notes: tuple[str, ...] = ()
    asked: str = ""
    stopped_early: bool = False
    thumbnail: Path | None = None
    model: Path | None = None
    kept: Path | None = None
    place: int = 0

    @property
    def base(self) -> str:
        """The folder of the model that it began with, empty for none."""
        return self.spec.base

    @property
    def can_pause(self) -> bool:
        """Whether a pause does something."""
        return self.state in ("training", "preparing", "evaluating") and not self.asked

    @property
    def can_resume(self) -> bool:
        """Whether it can go on from its last checkpoint."""
        return self.state in ("paused", "failed")

    @property
    def can_keep(self) -> bool:
        """Whether there is something to make a model of, or that is one."""
        return (self.folder / "checkpoints" / "last.safetensors").exists()


@dataclass(frozen=True)
class Sample:
    """One picture of a run: a grid of `rows` images by `columns`, in tiles of `tile` pixels."""

    path: Path
    time: float
    stage: str
    step: int
    tile: int
    rows: int
    columns: tuple[dict[str, str], ...]
    held_out: bool


# What a fold carries from one batch of events to the next, beside the record itself.
@dataclass
class Folded:
    """The record of a run up to some event."""

    info: RunInfo
    last: float = 0.0

    def add(self, events: Iterable[Event]) -> None:
        """Fold more events in."""
        for event in events:
            if event.kind not in ("start", "preparing") and self.last:
                gap = event.time - self.last
                self.info = replace(self.info, seconds=self.info.seconds + max(0.0, gap))
            self.last = event.time
            self.info = _after(self.info, event)


def _after(info: RunInfo, event: Event) -> RunInfo:
    """The record after one more event."""
    n = event.numbers
    place: dict[str, Any] = {k: n[k] for k in ("stage", "step", "steps", "done", "total") if k in n}
    match event.kind:
        case "preparing":
            counts = (int(n.get("done", 0)), int(n.get("total", 0)))
            return replace(info, state="preparing", prepared=counts, error=None, asked="")
        case "start":
            device, images = str(n.get("device", "")), int(n.get("images", 0))
            return replace(
                info, state="training", device=device, images=images, error=None, asked="", notes=()
            )
        case "stage":
            return replace(info, **place)
        case "step":
            return replace(
                info,
                **place,
                images_per_second=float(n.get("images_per_second", 0.0)),
                seconds_left=n.get("seconds_left"),
                memory=max(info.memory, int(n.get("memory", 0))),
            )
        case "evaluation":
            return replace(info, accuracy=n.get("accuracy", {}), leakage=n.get("leakage", {}))
        case "sample":
            picture = info.folder / str(n.get("file", ""))
            asked = "" if info.asked == "sample" else info.asked
            return replace(info, thumbnail=picture, asked=asked)
        case "asked":
            request = str(n.get("request", ""))
            states: dict[str, State] = {"pause": "pausing", "stop": "stopping"}
            return replace(info, state=states.get(request, info.state), asked=request)
        case "gap":
            said = f"The machine stood still for {_minutes(n)}; the training has gone on by itself."
            return replace(info, notes=(*info.notes, said))
        case "budget":
            return replace(info, notes=(*info.notes, "The time budget is used up."))
        case "paused":
            return replace(info, state="paused", asked="", seconds_left=None, **place)
        case "evaluating":
            return replace(info, state="evaluating", asked="", seconds_left=None)
        case "finished":
            early = bool(n.get("stage"))
            return replace(
                info,
                state="finished",
                asked="",
                error=None,
                metrics=n.get("metrics", {}),
                stopped_early=early,
                model=info.folder / "model",
            )
        case "kept":
            return replace(info, kept=Path(str(n.get("folder", ""))))
        case "failed":
            error = JobError(str(n.get("sentence", "")), str(n.get("hint", "")), str(n.get("raw", "")))
            return replace(info, state="failed", asked="", error=error, seconds_left=None)
    return info


def _minutes(numbers: dict[str, Any]) -> str:
    seconds = float(numbers.get("seconds", 0.0))
    if seconds >= 7200:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


# ------------------------------------------------------------------------------------------------ the folder


class Record(msgspec.Struct, frozen=True):
    """What `job.json` holds."""

    spec: JobSpec
    created: float
    schema: int = 1


def read_record(folder: Path) -> Record:
    """A run's `job.json`; StudioError if it isn't one."""
    try:
        return msgspec.json.decode((folder / JOB).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as error:
        raise StudioError(f"{folder} holds no training job: {error}.", "Choose another folder.") from error


def write_record(folder: Path, record: Record) -> None:
    """Replace `job.json`."""
    with atomic_write(folder / JOB, overwrite=True) as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=2))


def ask(folder: Path, request: str) -> None:
    """Put a request to a run's process: pause, stop or sample."""
    control = folder / CONTROL
    control.mkdir(exist_ok=True)
    (control / request).touch()


def withdraw(folder: Path, *requests: str) -> None:
    """Take requests back, all of them without a name."""
    for request in requests or REQUESTS:
        (folder / CONTROL / request).unlink(missing_ok=True)


def samples_of(folder: Path, events: Iterable[Event]) -> list[Sample]:
    """The pictures of a run in the order they were made, the last of each name, that are still there."""
    found: dict[str, Sample] = {}
    for event in events:
        if event.kind != "sample":
            continue
        n = event.numbers
        with suppress(KeyError, TypeError, ValueError):
            path = folder / str(n["file"])
            found.pop(path.name, None)
            columns = tuple(n["columns"])
            found[path.name] = Sample(
                path, event.time, n["stage"], int(n["step"]), int(n["tile"]), int(n["rows"]), columns,
                bool(n.get("held_out")),
            )  # fmt: skip
    return [sample for sample in found.values() if sample.path.exists()]


def disk_use(folder: Path) -> int:
    """Bytes that go away with a folder: files that are elsewhere too (hard links) don't count.

    Walks it: not for every tick of a timer.
    """
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                found = (Path(root) / name).stat()
                total += found.st_size if found.st_nlink < 2 else 0
    return total


def settings_of(folder: Path) -> dict[str, Any]:
    """All settings of a run, flat: `synthesis.steps` and the like, with `job.` before those of the job."""
    flat: dict[str, Any] = {}

    def spread(prefix: str, tree: Any) -> None:
        if isinstance(tree, dict):
            for key, value in tree.items():
                spread(f"{prefix}.{key}" if prefix else str(key), value)
        else:
            flat[prefix] = tree

    for name, prefix in ((JOB, "job"), ("config.json", "")):
        with suppress(OSError, ValueError):
            tree = json.loads((folder / name).read_text("utf-8"))
            spread(prefix, tree.get("spec", {}) if name == JOB else tree)
    return flat


def differences(one: Path, other: Path) -> list[tuple[str, Any, Any]]:
    """Settings that differ between two runs: name, value here, value there (None where one lacks it)."""
    a, b = settings_of(one), settings_of(other)
    ignored = {"job.title", "title", "name"}
    return [
        (key, a.get(key), b.get(key))
        for key in sorted({*a, *b} - ignored)
        if a.get(key) != b.get(key) and not key.startswith("job.step_seconds")
    ]
