"""Curves on pyqtgraph, which is imported by the first plot that is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QColor, QFont
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from gui.theme import Theme
from gui.trainer import words
from gui.trainer.curve_book import smooth

# Told apart also by people who see colours differently; on light and on dark ground.
LIGHT = ("#3453D1", "#C2410C", "#0F7B6C", "#9D2FA8", "#8A6A00", "#B3261E", "#4B5563", "#1478A8")
DARK = ("#8BA5FF", "#FF9D5C", "#4FD1BD", "#E08CEB", "#E5C04B", "#FF938A", "#B7BCC6", "#66C7F4")
MOST_POINTS = 4000  # of a line on the screen


@dataclass(frozen=True)
class Shown:
    """One line of a plot. `dashed` is for the other run, or for a line of reference."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: int
    dashed: bool = False


def colour_of(index: int, dark: bool) -> str:
    """The colour of the index-th line."""
    table = DARK if dark else LIGHT
    return table[index % len(table)]


class Plot(QWidget):
    """Lines over steps. What the pointer is at is said above it."""

    def __init__(self, theme: Theme, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        import pyqtgraph as pg

        self._pg, self._theme, self._title = pg, theme, title
        self.lines: tuple[Shown, ...] = ()
        self.items: list[Any] = []
        self.smoothing, self.logarithmic = 0.0, False
        self.shares = False  # values are shares of 1
        self.plot = pg.PlotWidget()
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.setAccessibleName(title)
        self.plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.plot.getPlotItem().setContentsMargins(2, 4, 10, 2)
        axis = self.plot.getAxis("left")
        tell = axis.logTickStrings
        # all nine of a decade would lie over each other
        axis.logTickStrings = lambda values, *more: [
            text if text.lstrip("0.")[:1] in ("1", "2", "5") else "" for text in tell(values, *more)
        ]
        self.cross = pg.InfiniteLine(angle=90, movable=False)
        self.cross.hide()
        self.plot.addItem(self.cross, ignoreBounds=True)
        self.reading = QLabel(" ")
        self.reading.setProperty("role", "muted")
        self.reading.setTextFormat(Qt.TextFormat.RichText)
        self.reading.setMinimumHeight(self.reading.fontMetrics().height() + 2)
        self.plot.scene().sigMouseMoved.connect(self._moved)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.reading)
        column.addWidget(self.plot, 1)
        theme.changed.connect(self.colour)
        self.colour()

    def show_lines(self, lines: tuple[Shown, ...], smoothing: float = 0.0, logarithmic: bool = False) -> None:
        """Draw these lines in place of those before."""
        if [line.name for line in lines] != [line.name for line in self.lines]:
            self._forget_reading()  # it is of other lines
        self.lines, self.smoothing, self.logarithmic = lines, smoothing, logarithmic
        self.plot.setLogMode(x=False, y=logarithmic)
        self.plot.getAxis("left").setLogMode(x=False, y=logarithmic)
        for item in self.items:
            self.plot.removeItem(item)
        self.items = []
        ratio = self.devicePixelRatioF()  # pens of plots are in pixels of the screen
        for line in lines:
            x, y = thinned(line.x, line.y)
            colour = QColor(colour_of(line.colour, self._theme.dark))
            if smoothing and not line.dashed:
                pale = QColor(colour)
                pale.setAlpha(60)
                self._draw(x, y, self._pg.mkPen(pale, width=ratio))
            pen = self._pg.mkPen(colour, width=2 * ratio)
            if line.dashed:
                pen.setDashPattern([3.0, 3.0])
            self._draw(x, smooth(y, smoothing), pen)
        if self.shares:
            self.plot.setYRange(0, 1, padding=0.02)

    def _draw(self, x: np.ndarray, y: np.ndarray, pen: Any) -> None:
        if self.logarithmic:
            kept = y > 0
            x, y = x[kept], y[kept]
        if len(x):
            lonely = {"symbol": "o", "symbolSize": 5, "symbolPen": pen, "symbolBrush": pen.color()}
            item = self.plot.plot(x, y, pen=pen, antialias=True, **(lonely if len(x) < 2 else {}))
            item.curve.setSegmentedLineMode("off")  # else dashes begin anew, and so never end, at each point
            self.items.append(item)

    def _moved(self, place: QPointF) -> None:
        box = self.plot.getPlotItem().vb
        if not self.lines or not box.sceneBoundingRect().contains(place):
            self._forget_reading()
            return
        self.read_at(box.mapSceneToView(place).x())

    def _forget_reading(self) -> None:
        self.cross.hide()
        self.reading.setText(" ")

    def leaveEvent(self, event: QEvent) -> None:
        """The pointer is at no step any more."""
        self._forget_reading()
        super().leaveEvent(event)

    def read_at(self, x: float) -> str:
        """Say the values at a step; returns what is said."""
        parts = []
        step = None
        for line in self.lines:
            if not len(line.x) or (line.dashed and self.shares):
                continue
            at = int(np.abs(line.x - x).argmin())
            step = line.x[at] if step is None else step
            value = float(line.y[at])
            said = words.per_cent(value) if self.shares else words.number(value)
            colour = colour_of(line.colour, self._theme.dark)
            parts.append(f'<span style="color:{colour}">{line.name} <b>{said}</b></span>')
        if step is None:
            return ""
        self.cross.setPos(step)
        self.cross.show()
        text = f"Step {step:,.0f} &nbsp; " + " &nbsp; ".join(parts[:8])
        self.reading.setText(text)
        return text

    def colour(self) -> None:
        """Take the theme's colours."""
        tokens = self._theme.tokens
        self.plot.setBackground(tokens.surface)
        for name in ("left", "bottom"):
            axis = self.plot.getAxis(name)
            axis.setPen(self._pg.mkPen(tokens.border))
            axis.setTextPen(self._pg.mkPen(tokens.muted))
            font = QFont(self.font())
            font.setPointSizeF(max(7.0, font.pointSizeF() * 0.85))
            axis.setTickFont(font)
        grid = 60 if self._theme.dark else 45
        self.plot.showGrid(x=False, y=True, alpha=grid / 255)
        self.cross.setPen(self._pg.mkPen(tokens.muted, style=Qt.PenStyle.DotLine))
        self.show_lines(self.lines, self.smoothing, self.logarithmic)


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No more points than a screen can show: (N,) and (N,), N at most `MOST_POINTS`, the last one kept."""
    if len(x) <= MOST_POINTS:
        return x, y
    step = -(-len(x) // MOST_POINTS)
    places = np.arange(len(x) - 1, -1, -step)[::-1]
    return x[places], y[places]
