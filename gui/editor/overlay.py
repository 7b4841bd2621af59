"""What is drawn over the photo: tags, the split's handle, the brackets of faces."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPainterPath, QPen, QPolygonF

from core.faces.frame import Frame
from gui.editor.viewport import Viewport

GRIP = 15.0
# of the chosen face and of handles: light, since photos are darker than windows, whatever the theme
MARK = "#8BA5FF"


def polygon(frame: Frame, view: Viewport, inset: float = 0.12) -> QPolygonF:
    """A frame on the screen, drawn in a little, nearer to the face than the networks' square."""
    low, high = inset, 1 - inset
    unit = ((low, low), (high, low), (high, high), (low, high))
    matrix = frame.matrix
    points = [
        view.to_screen(
            QPointF(
                float(matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) + 0.5,
                float(matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) + 0.5,
            )
        )
        for x, y in unit
    ]
    return QPolygonF(points)


def draw_face(painter: QPainter, shape: QPolygonF, accent: QColor, chosen: bool, hovered: bool) -> None:
    """Brackets at the corners of a face; the chosen one in the accent."""
    path = QPainterPath()
    corners = [shape.at(i) for i in range(4)]
    for i, corner in enumerate(corners):
        before, after = corners[i - 1], corners[(i + 1) % 4]
        for j, other in enumerate((before, after)):
            side = max(1e-6, math.hypot(other.x() - corner.x(), other.y() - corner.y()))
            reach = min(side * 0.22, 26.0)
            end = corner + (other - corner) * (reach / side)
            if j == 0:
                path.moveTo(end)
                path.lineTo(corner)
            else:
                path.lineTo(end)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    line = accent if chosen else QColor(255, 255, 255, 255 if hovered else 190)
    width = 2.6 if chosen or hovered else 1.8
    for colour, thick in ((QColor(0, 0, 0, 120), width + 2.2), (line, width)):
        painter.setPen(QPen(colour, thick, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPath(path)


def draw_tag(painter: QPainter, text: str, corner: QPointF, right: bool) -> None:
    """A small tag, its top left (or right) corner at `corner`."""
    metrics = QFontMetricsF(painter.font())
    width, height = metrics.horizontalAdvance(text) + 18, metrics.height() + 7
    rect = QRectF(corner.x() - width if right else corner.x(), corner.y(), width, height)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(0, 0, 0, 150))
    painter.drawRoundedRect(rect, height / 2, height / 2)
    painter.setPen(QColor(255, 255, 255))
    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)


def draw_split(painter: QPainter, x: float, height: float, hot: bool, accent: QColor) -> None:
    """The line between before and after, with a grip."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for colour, width in ((QColor(0, 0, 0, 110), 3.6), (QColor(255, 255, 255), 1.6)):
        painter.setPen(QPen(colour, width))
        painter.drawLine(QPointF(x, 0), QPointF(x, height))
    middle = QPointF(x, height / 2)
    painter.setPen(QPen(QColor(0, 0, 0, 90), 1))
    painter.setBrush(accent if hot else QColor(255, 255, 255))
    painter.drawEllipse(middle, GRIP, GRIP)
    painter.setPen(QPen(QColor(255, 255, 255) if hot else QColor(40, 40, 46), 1.8))
    for side in (-1, 1):
        tip = middle + QPointF(side * 8.5, 0)
        painter.drawPolyline([tip + QPointF(-side * 4, -4.5), tip, tip + QPointF(-side * 4, 4.5)])
