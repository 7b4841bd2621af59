"""What a run tells: its events, read as they come, and the curves in them.

Kinds, each with `time` (seconds since 1970):
    preparing   done, total             images are being made ready
    start       images, device          a process begins to train, also after a pause
    stage       stage, step, steps
    step        stage, step, steps, done, total, images_per_second, seconds_left, memory, and the losses
    evaluation  stage, step, images, accuracy, leakage, leakage_majority (each by attribute, shares 0..1)
    sample      stage, step, file, tile, rows, columns (a title each), held_out
    asked       request                 the process has seen a request: pause, stop, sample
    gap         seconds                 the machine slept, or stood still
    diverged    stage, step, losses     these are no longer numbers
    calmer                              it goes on with half the learning rates
    budget      minutes                 the time is up
    paused, stopped                     with stage, step; the process ends after it
    evaluating                          the training is over, the model is measured
    finished    metrics, stage          the model is in the run's folder
    kept        folder                  it is also among the user's models
    failed      sentence, hint, raw     what went wrong
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.events import FILE

# Numbers of a step's event that are no losses.
NOT_LOSSES = frozenset(
    ("step", "steps", "done", "total", "images_per_second", "seconds_left", "memory", "batch", "time")
)


@dataclass(frozen=True)
class Event:
    """One line of events.jsonl; `numbers` is all but its time and kind."""

    time: float
    kind: str
    numbers: dict[str, Any]

    def losses(self) -> dict[str, float]:
        """The losses of a step, by name."""
        found = self.numbers.items() if self.kind == "step" else ()
        return {n: float(v) for n, v in found if n not in NOT_LOSSES and isinstance(v, (int, float))}


class EventTail:
    """Reads a run's events as they are written. Cheap to call often; not thread-safe."""

    def __init__(self, run: Path) -> None:
        self.path = run / FILE
        self._place = 0
        self._rest = b""

    def new(self) -> list[Event]:
        """The events since the last call; half a line waits for its end. Empty while there is no file."""
        try:
            with self.path.open("rb") as file:
                file.seek(0, 2)
                if file.tell() < self._place:  # another file took its place
                    self._place, self._rest = 0, b""
                file.seek(self._place)
                raw = file.read()
        except OSError:
            return []
        self._place += len(raw)
        *lines, self._rest = (self._rest + raw).split(b"\n")
        return [event for event in map(_parse, lines) if event is not None]


def read_events(run: Path) -> list[Event]:
    """All events of a run so far."""
    return EventTail(run).new()


@dataclass(frozen=True)
class Curve:
    """One line of a plot: `x` is steps over all stages, `y` the values, both of one length."""

    stage: str
    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def curves(events: Iterable[Event]) -> list[Curve]:
    """The losses of each stage, and accuracy and leakage by attribute (`name` is “accuracy: age” then).

    A step that was trained twice, after a process was killed, counts as it went the last time.
    """
    found: dict[tuple[str, str], dict[float, float]] = {}
    for event in events:
        if event.kind == "step":
            x = float(event.numbers.get("done", event.numbers.get("step", 0)))
            values = event.losses()
        elif event.kind == "evaluation":
            x = float(event.numbers.get("done", 0))
            values = {
                f"{group}: {name}": float(share)
                for group in ("accuracy", "leakage")
                for name, share in event.numbers.get(group, {}).items()
            }
        else:
            continue
        for name, y in values.items():
            if math.isfinite(y):
                found.setdefault((str(event.numbers.get("stage", "")), name), {})[x] = y
    return [
        Curve(stage, name, tuple(sorted(points)), tuple(points[x] for x in sorted(points)))
        for (stage, name), points in found.items()
    ]


def _parse(line: bytes) -> Event | None:
    try:
        numbers = json.loads(line)
        return Event(float(numbers.pop("time")), str(numbers.pop("kind")), numbers)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # half a line of a process that was killed
