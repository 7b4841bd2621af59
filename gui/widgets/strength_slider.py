"""A slider for a strength of 0 to 150 %, with a mark at 100 %."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QWheelEvent
from PySide6.QtWidgets import QSlider, QWidget

LARGEST = 150
FULL = 100
MARGIN = 8.0


class StrengthSlider(QSlider):
    """Whole per cents. A click goes there, a double click to 100 %; the wheel scrolls the panel."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(0, LARGEST)
        self.setValue(FULL)
        self.setSingleStep(1)
        self.setPageStep(10)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:
        """High enough for the handle."""
        return QSize(140, 22)

    def minimumSizeHint(self) -> QSize:
        """Still usable."""
        return QSize(60, 22)

    def _x(self, value: int) -> float:
        return MARGIN + (self.width() - 2 * MARGIN) * value / LARGEST

    def _value_at(self, x: float) -> int:
        value = round((x - MARGIN) / max(1.0, self.width() - 2 * MARGIN) * LARGEST)
        if abs(self._x(FULL) - x) < 4:  # the mark catches
            value = FULL
        return max(0, min(LARGEST, value))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to where the pointer is, and follow it."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.setSliderPosition(self._value_at(event.position().x()))
            event.accept()
        else:
            event.ignore()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the pointer while it is down."""
        if self.isSliderDown():
            self.setSliderPosition(self._value_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End of the drag."""
        if event.button() == Qt.MouseButton.LeftButton and self.isSliderDown():
            self.setSliderDown(False)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Back to 100 %."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.setValue(FULL)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the panel, so that scrolling never changes a photo."""
        event.ignore()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Groove, the part in use, the mark at 100 %, the handle."""
        colours = self.palette()
        groove = colours.color(QPalette.ColorRole.Mid)
        accent = colours.color(QPalette.ColorRole.Highlight)
        base = colours.color(QPalette.ColorRole.Base)
        if not self.isEnabled():
            accent = groove
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        middle = self.height() / 2
        painter.setBrush(groove)
        painter.drawRoundedRect(QRectF(MARGIN, middle - 2, self.width() - 2 * MARGIN, 4), 2, 2)
        x = self._x(self.sliderPosition())
        painter.setBrush(accent)
        painter.drawRoundedRect(QRectF(MARGIN, middle - 2, x - MARGIN, 4), 2, 2)
        painter.setBrush(colours.color(QPalette.ColorRole.PlaceholderText))
        painter.drawRect(QRectF(self._x(FULL) - 0.75, middle - 7, 1.5, 3.5))
        if self.hasFocus():
            halo = QColor(accent)
            halo.setAlpha(70)
            painter.setBrush(halo)
            painter.drawEllipse(QPointF(x, middle), 10, 10)
        painter.setBrush(accent)
        painter.drawEllipse(QPointF(x, middle), 7, 7)
        painter.setBrush(base)
        painter.drawEllipse(QPointF(x, middle), 3, 3)
