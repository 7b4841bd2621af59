"""What the Train workspace knows: the runs, the chosen one's events, and commands to them.

All reading of run folders is done on a thread of its own: a slow disk or a long file never stops the window.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QRect, QSize, QTimer, Signal
from PySide6.QtGui import QImage, QImageReader

from core.errors import StudioError
from core.jobs import Event, EventTail, Jobs, RunInfo, Sample, samples_of
from core.worker import Worker
from gui.tasks import Tasks
from gui.trainer.curve_book import CurveBook

T = TypeVar("T")
FRONT_MS, BACK_MS = 500, 3000  # between two looks, with the workspace in front and behind another
THUMBNAIL = 104  # pixels, twice what the list shows


@dataclass(frozen=True)
class Look:
    """What one look at the folders brought."""

    runs: tuple[RunInfo, ...]
    chosen: Path | None
    first: bool  # the events are all there are of the run, not only new ones
    events: tuple[Event, ...]
    samples: tuple[Sample, ...]
    thumbnails: dict[Path, QImage]


class TrainerState(QObject):
    """The runs below the user's runs folder. `looked` comes after every look, changed or not."""

    runs_changed = Signal()
    chosen_changed = Signal()  # another run, or none
    events_came = Signal(object, bool)  # new events of the chosen run; whether they are its first
    looked = Signal()
    plots_ready = Signal()

    def __init__(self, tasks: Tasks, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tasks = tasks
        self.jobs = Jobs()
        self.runs: tuple[RunInfo, ...] = ()
        self.chosen: Path | None = None
        self.curves = CurveBook()
        self.samples: tuple[Sample, ...] = ()
        self.thumbnails: dict[Path, QImage] = {}
        self.known = False  # whether there was a look yet
        self.has_plots = False
        self._worker = Worker("runs")
        self._tail: EventTail | None = None
        self._sampled: list[Event] = []
        self._pictures: dict[Path, tuple[Path, float]] = {}
        self._looking = False
        self._told = ""
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)

    # looking

    def begin(self, front: bool) -> None:
        """Look from now on: often while the workspace is in front."""
        self._timer.start(FRONT_MS if front else BACK_MS)
        if front:
            self.look()
            if not self.has_plots:
                self.tasks.start(self._load_plots())

    @property
    def begun(self) -> bool:
        """Whether anybody looks."""
        return self._timer.isActive()

    async def _load_plots(self) -> None:
        # importing it takes half a second or more: not on the window's thread
        await self.run(lambda: importlib.import_module("pyqtgraph"))
        if not self.has_plots:
            self.has_plots = True
            self.plots_ready.emit()

    def look(self) -> None:
        """See what is new, unless a look is under way."""
        if not self._looking:
            self._looking = True
            self.tasks.start(self._look())

    async def _look(self) -> None:
        try:
            chosen = self.chosen
            found = await self.run(lambda: self._read(chosen))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # the same trouble comes back at every look: once is enough
            if str(error) != self._told:
                self._told = str(error)
                raise
            return
        finally:
            self._looking = False
        self._take(found)

    def _read(self, chosen: Path | None) -> Look:
        """On the runs' thread."""
        runs = self.jobs.poll()
        thumbnails: dict[Path, QImage] = {}
        for info in runs:
            if info.thumbnail is not None:
                with suppress(OSError):
                    mark = (info.thumbnail, info.thumbnail.stat().st_mtime)
                    if self._pictures.get(info.folder) != mark:
                        self._pictures[info.folder] = mark
                        thumbnails[info.folder] = _thumbnail(info)
        if chosen is None or all(info.folder != chosen for info in runs):
            self._tail = None
            return Look(runs, chosen, False, (), (), thumbnails)
        first = self._tail is None or self._tail.path.parent != chosen
        if first:
            self._tail, self._sampled = EventTail(chosen), []
        assert self._tail is not None
        events = self._tail.new()
        self._sampled += [event for event in events if event.kind == "sample"]
        samples = tuple(samples_of(chosen, self._sampled))
        return Look(runs, chosen, first, tuple(events), samples, thumbnails)

    def _take(self, found: Look) -> None:
        self.thumbnails.update(found.thumbnails)
        changed = found.runs != self.runs or not self.known or bool(found.thumbnails)
        self.runs, self.known = found.runs, True
        if self.chosen is not None and self.info is None:
            self.choose(None)
        if changed:
            self.runs_changed.emit()
        if found.chosen is not None and found.chosen == self.chosen:
            if found.first:
                self.curves.clear()
            self.curves.add(found.events)
            self.samples = found.samples
            if found.events or found.first:
                self.events_came.emit(found.events, found.first)
        self.looked.emit()

    @property
    def titles(self) -> dict[str, str]:
        """Titles of the chosen run's attributes by name, once there is a sample."""
        columns = self.samples[-1].columns if self.samples else ()
        return {c["attribute"]: c["title"].split(": ")[0] for c in columns if c.get("attribute")}

    # choosing

    @property
    def info(self) -> RunInfo | None:
        """The chosen run as it was at the last look."""
        return next((info for info in self.runs if info.folder == self.chosen), None)

    def choose(self, folder: Path | None) -> None:
        """Show another run, or none."""
        if folder != self.chosen:
            self.chosen = folder
            self.curves.clear()
            self.samples = ()
            self.chosen_changed.emit()
            self.look()

    # doing

    async def run(self, job: Callable[[], T]) -> T:
        """Run something short on the runs' thread."""
        return await asyncio.wrap_future(self._worker.submit(lambda _: job()))

    async def do(self, command: Callable[..., Any], *arguments: Any) -> Any:
        """Carry out a command of `Jobs`, and look what became of it."""
        try:
            return await self.run(lambda: command(*arguments))
        except OSError as error:
            raise StudioError(
                f"The run’s folder can’t be written: {error.strerror or error}.",
                "Free some space on its disk, and try again.",
            ) from error
        finally:
            self.look()

    def close(self) -> None:
        """Look no more. What trains goes on: it is another process."""
        self._timer.stop()
        self._worker.close()


def _thumbnail(info: RunInfo) -> QImage:
    """Two originals and what the model makes of them: the first tiles of the newest sample."""
    assert info.thumbnail is not None
    reader = QImageReader(str(info.thumbnail))
    tile = 64
    with suppress(OSError, ValueError, KeyError, TypeError):
        tile = int(json.loads((info.folder / "config.json").read_text("utf-8"))["network"]["image_size"])
    whole = reader.size()
    reader.setClipRect(QRect(0, 0, min(2 * tile, whole.width()), min(2 * tile, whole.height())))
    reader.setScaledClipRect(QRect())
    image = reader.read()
    return image if image.isNull() else image.scaled(QSize(THUMBNAIL, THUMBNAIL))
