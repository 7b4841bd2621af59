"""Curves of a run: losses of a stage, accuracy, leakage."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from gui.theme import Theme
from gui.trainer import words
from gui.trainer.curve_book import CurveBook, Line
from gui.trainer.plots import Plot, Shown, colour_of
from gui.widgets.flow_layout import FlowLayout
from gui.widgets.labels import muted_label

LOSSES, SCORES = "losses:", "scores:"
TITLES = {"accuracy": "Accuracy of the attributes", "leakage": "Leakage of the attributes"}
HINTS = {
    "accuracy": "How often the model sees the right value, on held-out images. Higher is better.",
    "leakage": "How well an attribute can be guessed from what should not hold it. Lower is better.",
}


class CurvesTab(QWidget):
    """What to draw is chosen at its top; each line has a chip that hides it."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._book = CurveBook()
        self._titles: dict[str, str] = {}
        self._follow = ""  # the stage that was newest: its curves are shown until a person chooses others
        self._hidden: set[str] = set()
        self._chips: dict[str, QToolButton] = {}
        self.plot: Plot | None = None
        self.what = QComboBox()
        self.what.setAccessibleName("Which curves")
        self.what.setMinimumWidth(240)
        self.what.activated.connect(self._chosen)
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0, 98)
        self.smoothing.setValue(0)
        self.smoothing.setFixedWidth(110)
        self.smoothing.setAccessibleName("Smoothing of the curves")
        self.smoothing.setToolTip("How much the curves are smoothed")
        self.logarithmic = QCheckBox("Log scale")
        self.smoothing.valueChanged.connect(self._draw)
        self.logarithmic.toggled.connect(self._draw)
        self._empty = QLabel("The curves begin with the first steps.")
        self._empty.setProperty("role", "muted")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint = muted_label()
        row = QHBoxLayout()
        row.addWidget(self.what)
        row.addStretch(1)
        self._smooth_label = QLabel("Smoothing")
        row.addWidget(self._smooth_label)
        row.addWidget(self.smoothing)
        row.addSpacing(12)
        row.addWidget(self.logarithmic)
        self._legend = QWidget()
        self._flow = FlowLayout(self._legend)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(14, 12, 14, 10)
        self._column.setSpacing(8)
        self._column.addLayout(row)
        self._column.addWidget(self._hint)
        self._column.addWidget(self._empty, 1)
        self._column.addWidget(self._legend)
        theme.changed.connect(self._make_chips)
        self._draw()

    def make_plot(self) -> None:
        """Pyqtgraph is there: draw with it from now on."""
        if self.plot is None:
            self.plot = Plot(self._theme, "Curves")
            self._column.insertWidget(2, self.plot, 1)
            self._draw()

    def show_run(self, book: CurveBook, titles: dict[str, str]) -> None:
        """Draw the curves of a run as far as they are known; `titles` of attributes by name."""
        self._book = book
        if titles != self._titles:
            self._titles = titles
            self._chips = {}
        choices = [(f"Losses: {words.stage(stage)}", LOSSES + stage) for stage in book.losses]
        choices += [(TITLES[group], SCORES + group) for group, lines in book.scores.items() if lines]
        if [data for _, data in choices] != [self.what.itemData(i) for i in range(self.what.count())]:
            kept = self.what.currentData()
            self.what.clear()
            for title, data in choices:
                self.what.addItem(title, data)
            newest = LOSSES + next(reversed(book.losses), "")
            if newest != self._follow and (kept is None or kept == self._follow):
                kept = newest
            self._follow = newest
            self.what.setCurrentIndex(max(0, self.what.findData(kept)))
        self._draw()

    def forget(self) -> None:
        """Another run comes."""
        self._follow = ""
        self._hidden.clear()
        self.what.clear()

    @property
    def lines(self) -> dict[str, Line]:
        """The lines of the present choice."""
        data = self.what.currentData() or ""
        if data.startswith(LOSSES):
            return self._book.losses.get(data.removeprefix(LOSSES), {})
        return self._book.scores.get(data.removeprefix(SCORES), {})

    def _chosen(self) -> None:
        self._hidden.clear()
        self._draw()

    def _draw(self, *_: object) -> None:
        data = self.what.currentData() or ""
        lines = self.lines
        shares = data.startswith(SCORES)
        self.what.setVisible(bool(lines))
        for widget in (self.smoothing, self._smooth_label, self.logarithmic):
            widget.setVisible(bool(lines) and not shares)
        self._hint.setText(HINTS.get(data.removeprefix(SCORES), ""))
        self._hint.setVisible(bool(self._hint.text()))
        if list(lines) != list(self._chips):
            self._make_chips()
        there = self.plot is not None and bool(lines)
        self._empty.setVisible(not there)
        self._legend.setVisible(bool(lines))
        if self.plot is None:
            return
        self.plot.setVisible(there)
        self.plot.shares = shares
        if not shares:
            self.plot.plot.enableAutoRange(axis="y")
        shown = tuple(
            Shown(self._name(name), np.array(line.x), np.array(line.y), index)
            for index, (name, line) in enumerate(lines.items())
            if name not in self._hidden
        )
        self.plot.show_lines(
            shown,
            0.0 if shares else self.smoothing.value() / 100,
            not shares and self.logarithmic.isChecked(),
        )

    def _make_chips(self) -> None:
        while (item := self._flow.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self._chips = {}
        for index, name in enumerate(self.lines):
            chip = QToolButton()
            chip.setText(self._name(name))
            chip.setProperty("line", True)
            chip.setCheckable(True)
            chip.setChecked(name not in self._hidden)
            chip.setToolTip(f"Show or hide “{self._name(name)}”")
            colour = colour_of(index, self._theme.dark)
            chip.setStyleSheet(
                f"QToolButton {{ border: 1px solid {self._theme.tokens.border}; border-radius: 9px;"
                f" padding: 2px 9px; color: {self._theme.tokens.muted}; }}"
                f"QToolButton:checked {{ color: {colour}; border-color: {colour}; }}"
                f"QToolButton:focus {{ border-color: {self._theme.tokens.text}; }}"
            )
            chip.toggled.connect(lambda on, name=name: self._hide(name, not on))
            self._chips[name] = chip
            self._flow.addWidget(chip)
            chip.show()
        self._legend.updateGeometry()

    def _hide(self, name: str, hidden: bool) -> None:
        self._hidden.add(name) if hidden else self._hidden.discard(name)
        self._draw()

    def _name(self, name: str) -> str:
        return self._titles.get(name, name.replace("_", " "))
