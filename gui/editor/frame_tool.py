"""Place a face frame by hand: a square over the photo that is moved, resized and turned. No widgets."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF

from core.faces.frame import CANONICAL_POINTS, Frame
from gui.editor.viewport import Viewport

SMALLEST = 16.0
REACH = 11.0
STEM = 26.0
CURSORS = {
    "move": Qt.CursorShape.SizeAllCursor,
    "turn": Qt.CursorShape.CrossCursor,
    "corner": Qt.CursorShape.SizeFDiagCursor,
}


def first_frame(width: int, height: int) -> Frame:
    """Where a new frame starts: in the middle of the photo, three fifths of its shorter side."""
    side = max(SMALLEST, min(width, height) * 0.6)
    return Frame(width / 2 - 0.5, height / 2 - 0.5, side)


class FrameTool:
    """The square while a person places it, in photo pixels, for face `index`; None is a new one."""

    def __init__(self, frame: Frame, photo: tuple[int, int], index: int | None) -> None:
        self.frame = frame
        self.index = index
        self._photo = photo
        self._handle: str | None = None
        self._start = QPointF()
        self._from = frame

    @property
    def dragging(self) -> bool:
        """Whether a handle is held."""
        return self._handle is not None

    def centre(self) -> QPointF:
        """Centre in continuous photo coordinates."""
        return QPointF(self.frame.center_x + 0.5, self.frame.center_y + 0.5)

    def corners(self) -> list[QPointF]:
        """Corners in continuous photo coordinates, clockwise from the top left."""
        return [QPointF(float(x) + 0.5, float(y) + 0.5) for x, y in self.frame.corners()]

    def _turn_handle(self, view: Viewport) -> QPointF:
        """Screen point of the turning handle, above the middle of the top side."""
        a, b = (view.to_screen(point) for point in self.corners()[:2])
        angle = math.radians(self.frame.angle)
        middle = (a + b) / 2
        return QPointF(middle.x() + STEM * math.sin(angle), middle.y() - STEM * math.cos(angle))

    def hit(self, point: QPointF, view: Viewport) -> str | None:
        """What is under a screen point: `turn`, `corner0` to `corner3`, `move`, or None."""
        if _distance(point, self._turn_handle(view)) <= REACH:
            return "turn"
        shown = [view.to_screen(corner) for corner in self.corners()]
        for i, corner in enumerate(shown):
            if _distance(point, corner) <= REACH:
                return f"corner{i}"
        inside = QPolygonF(shown).containsPoint(point, Qt.FillRule.OddEvenFill)
        return "move" if inside else None

    def cursor(self, handle: str | None) -> Qt.CursorShape:
        """The pointer's shape over a handle."""
        if handle is None:
            return Qt.CursorShape.ArrowCursor
        if handle.startswith("corner"):
            # the corner's diagonal on the screen, in steps of 90 degrees
            odd = (int(handle[-1]) + round(self.frame.angle / 90)) % 2
            return Qt.CursorShape.SizeBDiagCursor if odd else Qt.CursorShape.SizeFDiagCursor
        return CURSORS[handle]

    def press(self, point: QPointF, view: Viewport) -> bool:
        """Take hold of what is under a screen point; false if there is nothing."""
        self._handle = self.hit(point, view)
        self._start, self._from = view.to_photo(point), self.frame
        return self._handle is not None

    def drag(self, point: QPointF, view: Viewport, snap: bool) -> None:
        """Move what is held to a screen point; `snap` turns in steps of 15 degrees."""
        now, old = view.to_photo(point), self._from
        if self._handle == "move":
            moved = now - self._start
            self._set(old.center_x + moved.x(), old.center_y + moved.y(), old.side, old.angle)
        elif self._handle == "turn":
            centre = self.centre()
            angle = math.degrees(math.atan2(now.x() - centre.x(), centre.y() - now.y()))
            self._set(old.center_x, old.center_y, old.side, round(angle / 15) * 15 if snap else angle)
        elif self._handle is not None:
            self._resize(int(self._handle[-1]), now)

    def release(self) -> None:
        """Let go."""
        self._handle = None

    def _resize(self, corner: int, now: QPointF) -> None:
        """Drag one corner; the opposite one stays where it is."""
        old = self._from
        x, y = old.corners()[(corner + 2) % 4] + 0.5
        # the diagonal from the fixed corner, one unit of side long on each axis
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))[corner]
        c, s = math.cos(math.radians(old.angle)), math.sin(math.radians(old.angle))
        along = (signs[0] * c - signs[1] * s, signs[0] * s + signs[1] * c)
        side = ((now.x() - x) * along[0] + (now.y() - y) * along[1]) / 2
        side = max(SMALLEST, min(side, self._largest()))
        self._set(x + along[0] * side / 2 - 0.5, y + along[1] * side / 2 - 0.5, side, old.angle)

    def nudge(self, dx: float = 0.0, dy: float = 0.0, grow: float = 0.0, turn: float = 0.0) -> None:
        """Move by photo pixels, grow by photo pixels of side, turn by degrees: the keyboard's way."""
        f = self.frame
        self._set(f.center_x + dx, f.center_y + dy, f.side + grow, f.angle + turn)

    def _largest(self) -> float:
        return 3.0 * max(self._photo)

    def _set(self, x: float, y: float, side: float, angle: float) -> None:
        """The centre stays in the photo, the side in its limits, the angle within half a turn."""
        width, height = self._photo
        self.frame = Frame(
            min(max(x, 0.0), width - 1.0),
            min(max(y, 0.0), height - 1.0),
            max(SMALLEST, min(side, self._largest())),
            (angle + 180) % 360 - 180,
        )

    def paint(self, painter: QPainter, view: Viewport, area: QRectF, accent: QColor) -> None:
        """Darken what is outside, draw the square, its handles, and where eyes, nose and mouth belong."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shown = [view.to_screen(corner) for corner in self.corners()]
        outside = QPainterPath()
        outside.addRect(area)
        outside.addPolygon(QPolygonF([*shown, shown[0]]))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.fillPath(outside, QColor(0, 0, 0, 110))
        turn = self._turn_handle(view)
        path = QPainterPath()
        path.addPolygon(QPolygonF([*shown, shown[0]]))
        path.moveTo((shown[0] + shown[1]) / 2)
        path.lineTo(turn)
        self._guides(path, view)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((QColor(0, 0, 0, 150), 3.5), (QColor(255, 255, 255), 1.6)):
            painter.setPen(QPen(colour, width))
            painter.drawPath(path)
        painter.setPen(QPen(QColor(255, 255, 255), 1.6))
        painter.setBrush(accent)
        for point in shown:
            painter.drawRect(QRectF(point.x() - 4.5, point.y() - 4.5, 9, 9))
        painter.drawEllipse(turn, 6, 6)

    def _guides(self, path: QPainterPath, view: Viewport) -> None:
        """Two circles for the eyes, a dot for the nose, a line for the mouth."""
        points = [view.to_screen(QPointF(float(x) + 0.5, float(y) + 0.5)) for x, y in self._landmarks()]
        size = max(3.0, self.frame.side * view.scale * 0.035)
        for eye in points[:2]:
            path.addEllipse(eye, size, size)
        path.addEllipse(points[2], size / 3, size / 3)
        middle = (points[3] + points[4]) / 2
        angle = math.radians(self.frame.angle)
        path.moveTo(points[3])
        path.quadTo(
            QPointF(middle.x() - size * math.sin(angle), middle.y() + size * math.cos(angle)), points[4]
        )

    def _landmarks(self) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in self.frame.to_photo(CANONICAL_POINTS)]


def _distance(a: QPointF, b: QPointF) -> float:
    return math.hypot(a.x() - b.x(), a.y() - b.y())
