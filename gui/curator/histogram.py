"""How one value's scores are spread, with a threshold to drag and the number of images it would label."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui.theme import Theme

BINS = 64
MARGIN = 8


class Histogram(QWidget):
    """`threshold_moved` while a person drags or presses arrows."""

    threshold_moved = Signal(float)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._sorted = np.zeros(0, np.float32)
        self._heights = np.zeros(0)
        self._low, self._high = 0.0, 1.0
        self.threshold: float | None = None
        self._nothing = ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Scores and threshold")
        self.setCursor(Qt.CursorShape.SizeHorCursor)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """Bars and a line of text."""
        return QSize(240, 96)

    def set_scores(self, scores: np.ndarray | None, threshold: float | None, nothing: str = "") -> None:
        """Show (N,) scores; nan don't count. `nothing` is said where there are none."""
        found = np.zeros(0, np.float32) if scores is None else scores[np.isfinite(scores)]
        self._sorted = np.sort(found)
        self._nothing = nothing
        if len(found):
            self._low, self._high = float(self._sorted[0]), float(self._sorted[-1])
            if self._high - self._low < 1e-4:
                self._low, self._high = self._low - 0.01, self._high + 0.01
            counts, _ = np.histogram(self._sorted, BINS, (self._low, self._high))
            self._heights = np.sqrt(counts / max(1, counts.max()))  # a few images are seen beside many
        self.threshold = threshold
        self.update()

    def count(self) -> int:
        """Images at or over the threshold."""
        if self.threshold is None:
            return 0
        return len(self._sorted) - int(np.searchsorted(self._sorted, np.float32(self.threshold)))

    def _x(self, score: float) -> float:
        share = (score - self._low) / (self._high - self._low)
        return MARGIN + share * (self.width() - 2 * MARGIN)

    def _move(self, x: float) -> None:
        share = min(1.0, max(0.0, (x - MARGIN) / max(1, self.width() - 2 * MARGIN)))
        self._set(self._low + share * (self._high - self._low))

    def _set(self, score: float) -> None:
        self.threshold = min(self._high, max(self._low, score))
        self.update()
        self.threshold_moved.emit(self.threshold)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Put the threshold there."""
        if len(self._sorted) and event.button() == Qt.MouseButton.LeftButton:
            self._move(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag it."""
        if len(self._sorted) and event.buttons() & Qt.MouseButton.LeftButton:
            self._move(event.position().x())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move it by a hundredth."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_PageDown: -10, Qt.Key.Key_PageUp: 10}
        step = steps.get(Qt.Key(event.key()))
        if step is None or not len(self._sorted):
            super().keyPressEvent(event)
            return
        start = self.threshold if self.threshold is not None else (self._low + self._high) / 2
        self._set(start + step * (self._high - self._low) / 100)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Bars, those over the threshold in the accent; the threshold; its count."""
        tokens = self._theme.tokens
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        line = self.fontMetrics().height()
        top, bottom = line + 8, self.height() - line - 2
        if not len(self._sorted):
            painter.setPen(QColor(tokens.muted))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(MARGIN, 0, -MARGIN, 0), int(flags), self._nothing)
            return
        width = (self.width() - 2 * MARGIN) / BINS
        for i, height in enumerate(self._heights.tolist()):
            middle = self._low + (i + 0.5) / BINS * (self._high - self._low)
            over = self.threshold is not None and middle >= self.threshold
            painter.setBrush(QColor(tokens.accent if over else tokens.groove))
            tall = height * (bottom - top)
            painter.drawRect(QRectF(MARGIN + i * width, bottom - tall, max(1.0, width - 0.6), tall))
        painter.setPen(QColor(tokens.muted))
        ends = QRectF(MARGIN, bottom + 1, self.width() - 2 * MARGIN, line)
        painter.drawText(ends, int(Qt.AlignmentFlag.AlignLeft), f"{self._low:.2f}")
        painter.drawText(ends, int(Qt.AlignmentFlag.AlignRight), f"{self._high:.2f}")
        if self.threshold is None:
            painter.drawText(
                QRectF(MARGIN, 0, self.width() - 2 * MARGIN, line),
                int(Qt.AlignmentFlag.AlignLeft),
                "Drag here to set a threshold",
            )
            return
        x = self._x(self.threshold)
        colour = QColor(tokens.text if self.hasFocus() else tokens.accent)
        painter.setPen(QPen(colour, 2))
        painter.drawLine(QPointF(x, top - 2), QPointF(x, bottom))
        painter.setBrush(colour)
        painter.drawPolygon(QPolygonF([QPointF(x - 5, top - 7), QPointF(x + 5, top - 7), QPointF(x, top)]))
        painter.setPen(QColor(tokens.text))
        count = self.count()
        words = f"{self.threshold:.3f}: {count:,} image{'' if count == 1 else 's'}"
        painter.drawText(
            QRectF(MARGIN, 0, self.width() - 2 * MARGIN, line), int(Qt.AlignmentFlag.AlignLeft), words
        )
