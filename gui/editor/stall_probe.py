"""Measure what a person feels: how long the window's loop stands still, and how late the after picture is."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, Qt, QTimer

from core.errors import StudioError
from gui import app
from gui.editor.attribute_row import AttributeRow
from gui.editor.view import EditorView
from gui.main_window import MainWindow

TICK = 5  # ms between two beats of the loop when nothing holds it up
STEP = 16  # ms between two moves of the slider, as from a mouse
PATIENCE = 300.0  # s for loading and opening


def measure(photo: Path, model: Path | None = None, seconds: float = 10.0) -> dict[str, float]:
    """Drag strengths in the real window, offscreen where there is no screen; milliseconds.

    `stall_*` is how much longer than asked a beat of the window's loop took while strengths were dragged,
    `drag_*` the time from each move of a dragged slider to the first picture painted with it or a later move,
    `single_*` the time from one changed control, when nothing else is under way, to its painted picture.
    StudioError where the photo can't be edited.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="zerodim-probe-") as folder:
        # nothing of a person's own settings is read or changed
        QSettings.setDefaultFormat(QSettings.Format.IniFormat)
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, folder)

        async def scenario(window: MainWindow) -> None:
            window.resize(1280, 800)
            found.update(await _Probe(window).run(seconds))

        app.run(photo, model=model, scenario=scenario)
    return found


class _Probe(QObject):
    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._editor: EditorView = window.editor
        self._editor.canvas.painted.connect(self._painted)
        self._waiting: list[tuple[int, float]] = []
        self._late: list[float] = []

    async def run(self, seconds: float) -> dict[str, float]:
        rows = await self._ready()
        await self._warm_up(rows)
        result = {"seconds": seconds}
        result |= _percentiles("single", await self._single(rows, seconds / 2))
        gaps, late = await self._drag(rows, seconds)
        result |= _percentiles("stall", gaps)
        result |= _percentiles("drag", late)
        return result

    async def _ready(self) -> list[AttributeRow]:
        """The rows of the panel, once the photo is open."""
        editor, failed = self._editor, []
        editor.session.failed.connect(lambda message, hint: failed.append(StudioError(message, hint)))
        await _until(lambda: bool(failed) or (editor.state.photo is not None and editor.session.up_to_date))
        if failed:
            raise failed[0]
        if editor.state.face is None:
            raise StudioError("No face was found in the photo.", "Measure with another photo.")
        return list(editor.panel.rows.values())[:3]

    async def _warm_up(self, rows: list[AttributeRow]) -> None:
        for row in rows:
            view = self._editor.state.view
            seen = view.values[row.attribute.name] if view is not None else {}
            unlike = min((v.name for v in row.attribute.values), key=lambda name: seen.get(name, 0.0))
            row.value_wanted.emit(row.attribute.name, unlike)
            await self._settled()

    async def _single(self, rows: list[AttributeRow], seconds: float) -> list[float]:
        """One change at a time."""
        self._late = []
        end, i = time.perf_counter() + seconds, 0
        while time.perf_counter() < end or not self._late:
            self._move(rows[i % len(rows)], (i * 37) % 150 + 1)
            await self._settled()
            # past the caches of the last change, as a person's next one comes later
            await asyncio.sleep(0.03)
            i += 1
        return list(self._late)

    async def _drag(self, rows: list[AttributeRow], seconds: float) -> tuple[list[float], list[float]]:
        """Sliders dragged to and fro, each for its share of the time; beats of the loop meanwhile."""
        self._late = []
        gaps: list[float] = []
        last = [time.perf_counter()]

        def beat() -> None:
            now = time.perf_counter()
            gaps.append((now - last[0]) * 1000 - TICK)
            last[0] = now

        timer = QTimer(self)
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.timeout.connect(beat)
        timer.start(TICK)
        try:
            for row in rows:
                row.slider.setSliderDown(True)
                start = time.perf_counter()
                while (passed := time.perf_counter() - start) < seconds / len(rows):
                    self._move(row, round(75 + 74 * math.sin(passed * 2.5)))
                    await asyncio.sleep(STEP / 1000)
                row.slider.setSliderDown(False)
        finally:
            timer.stop()
        await self._settled()
        return [max(0.0, gap) for gap in gaps[1:]], list(self._late)

    def _move(self, row: AttributeRow, value: int) -> None:
        """Move a slider as the pointer would."""
        before, now = self._editor.session.asked, time.perf_counter()
        row.slider.setSliderPosition(value)
        if self._editor.session.asked > before:
            self._waiting.append((self._editor.session.asked, now))

    def _painted(self, number: int) -> None:
        now = time.perf_counter()
        self._late += [(now - since) * 1000 for asked, since in self._waiting if asked <= number]
        self._waiting = [pair for pair in self._waiting if pair[0] > number]

    async def _settled(self) -> None:
        await _until(lambda: self._editor.session.up_to_date and not self._waiting)


async def _until(true: Callable[[], bool]) -> None:
    end = time.perf_counter() + PATIENCE
    while not true():
        if time.perf_counter() > end:
            raise StudioError("The window took too long.", "Measure again when the machine is less busy.")
        await asyncio.sleep(0.002)


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile, largest, and how many."""
    if not values:
        raise StudioError("There was no time to measure anything.", "Measure for longer.")
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    return {
        f"{name}_p50": round(cuts[49], 2),
        f"{name}_p95": round(cuts[94], 2),
        f"{name}_p99": round(cuts[98], 2),
        f"{name}_max": round(max(values), 2),
        f"{name}_count": len(values),
    }
