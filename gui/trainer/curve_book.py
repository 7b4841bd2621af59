"""The curves of a run, grown by events as they come; and how they are smoothed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from core.jobs import Event

SCORES = ("accuracy", "leakage")


@dataclass
class Line:
    """Points of one curve: steps over all stages, and values."""

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)

    def add(self, x: float, y: float) -> None:
        """Append a point. One that goes back in steps replaces what came after it: it is trained again."""
        while self.x and self.x[-1] >= x:
            self.x.pop()
            self.y.pop()
        self.x.append(x)
        self.y.append(y)


class CurveBook:
    """`losses[stage][name]` and `scores[group][attribute]` are lines, in the order they first came."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.losses: dict[str, dict[str, Line]] = {}
        self.scores: dict[str, dict[str, Line]] = {group: {} for group in SCORES}
        self.majority: dict[str, float] = {}
        self.points = 0
        self.add(events)

    def clear(self) -> None:
        """Another run."""
        self.losses.clear()
        self.majority.clear()
        for lines in self.scores.values():
            lines.clear()
        self.points = 0

    def add(self, events: Iterable[Event]) -> None:
        """Take more events; values that are no finite numbers are left out."""
        for event in events:
            n = event.numbers
            if event.kind == "step":
                lines = self.losses.setdefault(str(n.get("stage", "")), {})
                x = float(n.get("done", n.get("step", 0)))
                for name, y in event.losses().items():
                    self._point(lines, name, x, y)
            elif event.kind == "evaluation":
                x = float(n.get("done", n.get("step", 0)))
                for group in SCORES:
                    for name, y in n.get(group, {}).items():
                        self._point(self.scores[group], name, x, float(y))
                self.majority.update(n.get("leakage_majority", {}))

    def _point(self, lines: dict[str, Line], name: str, x: float, y: float) -> None:
        if math.isfinite(y):
            lines.setdefault(name, Line()).add(x, y)
            self.points += 1


def smooth(y: np.ndarray, amount: float) -> np.ndarray:
    """A running mean that weighs the past by `amount` (0 none, towards 1 more), without a bias at the start.

    `y` is (N,); the result too.
    """
    if amount <= 0 or len(y) < 2:
        return y
    out = np.empty(len(y))
    total = weight = 0.0
    for i, value in enumerate(y.tolist()):
        total = amount * total + (1 - amount) * value
        weight = amount * weight + (1 - amount)
        out[i] = total / weight
    return out
