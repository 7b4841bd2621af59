"""Two runs side by side: curves, newest samples, results, and the settings that differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from core.jobs import RunInfo, Sample, differences, read_events, samples_of
from gui.tasks import Tasks
from gui.theme import Theme
from gui.trainer import words
from gui.trainer.curve_book import SCORES, CurveBook, Line
from gui.trainer.plots import Plot, Shown
from gui.trainer.result_tab import fill, table
from gui.trainer.samples_tab import SampleGrid
from gui.trainer.state import TrainerState

MARGINS = (14, 12, 14, 10)


@dataclass(frozen=True)
class Pair:
    """What was read of two runs."""

    books: tuple[CurveBook, CurveBook]
    samples: tuple[Sample | None, Sample | None]
    settings: list[tuple[str, Any, Any]]


class CompareRuns(QDialog):
    """`one` is the chosen run; the other one is chosen here."""

    def __init__(
        self, parent: QWidget, state: TrainerState, tasks: Tasks, theme: Theme, one: RunInfo
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Compare two runs")
        self._state, self._tasks, self._one = state, tasks, one
        self._others = [info for info in state.runs if info.folder != one.folder]
        self.pair: Pair | None = None
        self.other = QComboBox()
        self.other.setAccessibleName("The other run")
        for info in self._others:
            self.other.addItem(info.title, info.folder)
        self.other.activated.connect(self._read)
        first = QLabel(one.title)
        first.setProperty("role", "title")
        row = QHBoxLayout()
        row.addWidget(first)
        row.addWidget(QLabel("(solid) with"))
        row.addWidget(self.other)
        row.addWidget(QLabel("(dashed)"))
        row.addStretch(1)
        self.what = QComboBox()
        self.what.setAccessibleName("Which curve")
        self.what.setMinimumWidth(240)
        self.what.activated.connect(self._draw)
        self.plot = Plot(theme, "Curves of two runs")
        curves = QWidget()
        column = QVBoxLayout(curves)
        column.setContentsMargins(*MARGINS)
        column.addWidget(self.what, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.plot, 1)
        self.grids = (SampleGrid(theme), SampleGrid(theme))
        self._whose = (QLabel(one.title), QLabel())
        samples = QWidget()
        column = QVBoxLayout(samples)
        column.setContentsMargins(*MARGINS)
        for grid, whose in zip(self.grids, self._whose, strict=True):
            whose.setProperty("role", "title")
            area = QScrollArea()
            area.setWidget(grid)
            column.addWidget(whose)
            column.addWidget(area, 1)
        self.settings = table(("Setting", "This run", "The other"))
        self.results = table(("Number", "This run", "The other"))
        tabs = QTabWidget()
        tabs.setDocumentMode(True)
        tabs.tabBar().setDrawBase(False)
        for title, tab in (
            ("Curves", curves),
            ("Samples", samples),
            ("Results", _scrolled(self.results)),
            ("Settings that differ", _scrolled(self.settings)),
        ):
            tab.setObjectName("trainPage")
            tab.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
            tabs.addTab(tab, title)
        self.tabs = tabs
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(18, 16, 18, 14)
        whole.setSpacing(12)
        whole.addLayout(row)
        whole.addWidget(tabs, 1)
        whole.addWidget(buttons)
        self.resize(900, 600)
        self._read()

    def _read(self, *_: object) -> None:
        self._tasks.start(self._show())

    async def _show(self) -> None:
        folder: Path = self.other.currentData()
        one = self._one.folder
        pair = await self._state.run(lambda: _read_pair(one, folder))
        if folder != self.other.currentData():
            return
        self.pair = pair
        kept = self.what.currentText()
        names = list(dict.fromkeys(name for book in pair.books for name in _lines(book)))
        self.what.clear()
        self.what.addItems(names)
        self.what.setCurrentIndex(max(0, self.what.findText(kept)))
        self._draw()
        for grid, sample in zip(self.grids, pair.samples, strict=True):
            grid.show_sample(sample, QImage(str(sample.path)) if sample is not None else QImage())
            grid.fit(820)
        fill(self.settings, [[key, _text(a), _text(b)] for key, a, b in pair.settings])
        other = next(info for info in self._others if info.folder == folder)
        self._whose[1].setText(other.title)
        titles = {
            column["attribute"]: column["title"].split(": ")[0]
            for sample in pair.samples
            for column in (sample.columns if sample is not None else ())
            if column.get("attribute")
        }
        fill(self.results, results(self._one, other, titles))

    def _draw(self, *_: object) -> None:
        if self.pair is None:
            return
        name = self.what.currentText()
        self.plot.shares = name.split(":")[0].lower() in SCORES
        lines = [_lines(book).get(name, Line()) for book in self.pair.books]
        self.plot.show_lines(
            tuple(
                Shown(title, np.array(line.x), np.array(line.y), index, dashed=index == 1)
                for index, (line, title) in enumerate(
                    zip(lines, (self._one.title, self.other.currentText()), strict=True)
                )
            )
        )


def _scrolled(widget: QWidget) -> QScrollArea:
    inner = QWidget()
    inner.setObjectName("trainPage")
    column = QVBoxLayout(inner)
    column.setContentsMargins(*MARGINS)
    column.addWidget(widget)
    column.addStretch(1)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(inner)
    return area


def _read_pair(one: Path, other: Path) -> Pair:
    books, newest = [], []
    for folder in (one, other):
        events = read_events(folder)
        books.append(CurveBook(events))
        samples = samples_of(folder, events)
        newest.append(samples[-1] if samples else None)
    return Pair((books[0], books[1]), (newest[0], newest[1]), differences(one, other))


def _lines(book: CurveBook) -> dict[str, Line]:
    """All curves of a run by the name that the list of curves shows."""
    found = {
        f"{words.stage(stage)}: {name.replace('_', ' ')}": line
        for stage, lines in book.losses.items()
        for name, line in lines.items()
    }
    for group, lines in book.scores.items():
        found |= {f"{group.capitalize()}: {name.replace('_', ' ')}": line for name, line in lines.items()}
    return found


def results(one: RunInfo, other: RunInfo, titles: dict[str, str]) -> list[list[str]]:
    """Rows of numbers: how long, how far, and the shares of each attribute that either knows.

    `titles` of attributes by name, as far as they are known.
    """
    rows = [
        ["State", words.state(one), words.state(other)],
        ["Trained for", words.duration(one.seconds), words.duration(other.seconds)],
        ["Steps", f"{one.done:,}", f"{other.done:,}"],
    ]
    sides = [{"accuracy": i.accuracy, "leakage": i.leakage, **i.metrics} for i in (one, other)]
    for key, title in (("accuracy", "Accuracy"), ("swap_success", "Swaps succeed"), ("leakage", "Leakage")):
        groups = [_group(side, key) for side in sides]
        for name in dict.fromkeys(n for group in groups for n in group):
            shares = [words.per_cent(float(g[name])) if name in g else "–" for g in groups]
            rows.append([f"{title}: {titles.get(name, name.replace('_', ' '))}", *shares])
    return rows


def _group(side: dict[str, Any], key: str) -> dict[str, float]:
    found = side.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
