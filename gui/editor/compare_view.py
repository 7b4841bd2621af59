"""The canvas with a person's hands on it: pointer, wheel, touch and keys."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QNativeGestureEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from gui.editor.canvas import Canvas
from gui.theme import Theme

KEYBOARD = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


class CompareView(Canvas):
    """The canvas of the editor. It changes no recipe itself: it says what a person did with signals."""

    face_clicked = Signal(int)
    frame_accepted = Signal()
    frame_cancelled = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, parent)
        self._last = QPointF()
        self._press = QPointF()

    # the pointer

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of the frame, the split or the photo."""
        self._last = self._press = event.position()
        left = event.button() == Qt.MouseButton.LeftButton
        if self.picture is None or not (left or event.button() == Qt.MouseButton.MiddleButton):
            return
        if self.tool is not None and left and self.tool.press(event.position(), self.viewport):
            self._drag = "tool"
        elif left and self._on_split(event.position()):
            self._drag = "split"
        else:
            self._drag = "pan"

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or show what could be dragged."""
        point = event.position()
        moved = point - self._last
        self._last = point
        if self._drag == "tool" and self.tool is not None:
            self.tool.drag(point, self.viewport, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            self.update()
            self.frame_changed.emit()
        elif self._drag == "split":
            self.set_split(point.x() / max(1, self.width()))
        elif self._drag == "pan":
            self.viewport.pan(moved.x(), moved.y())
            self._changed()
        else:
            self._hover(point)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go; a click that moved nothing chooses a face."""
        drag, self._drag = self._drag, None
        if self.tool is not None:
            self.tool.release()
        still = (event.position() - self._press).manhattanLength() < 4
        if drag == "pan" and still and event.button() == Qt.MouseButton.LeftButton and self.tool is None:
            face = self._face_at(event.position())
            if face is not None:
                self.face_clicked.emit(face)
        self._hover(event.position())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Between the whole photo and its own pixels."""
        if self.picture is None or self.tool is not None or self._on_split(event.position()):
            return
        if self.viewport.fitted:
            self.viewport.zoom_to(1.0, self._local(event.position()))
        else:
            self.viewport.fit()
        self._changed()

    def _hover(self, point: QPointF) -> None:
        if self.picture is None:
            return
        hot, face = self._on_split(point), None
        if self.tool is not None:
            self.setCursor(self.tool.cursor(self.tool.hit(point, self.viewport)))
        elif hot:
            self.setCursor(Qt.CursorShape.SplitHCursor)
        else:
            face = self._face_at(point)
            self.setCursor(
                Qt.CursorShape.PointingHandCursor if face is not None else Qt.CursorShape.ArrowCursor
            )
        if (hot, face) != (self._hot_split, self._hovered):
            self._hot_split, self._hovered = hot, face
            self.update()

    def leaveEvent(self, _event: object) -> None:
        """Nothing is under the pointer."""
        self._hot_split, self._hovered = False, None
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom at the pointer; a touchpad without Ctrl pans."""
        if self.picture is None:
            return
        pixels, control = event.pixelDelta(), event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if not pixels.isNull() and not control:
            self.viewport.pan(pixels.x(), pixels.y())
        elif event.angleDelta().y():
            factor = 1.2 ** (event.angleDelta().y() / 120)
            self.viewport.zoom_to(self.viewport.zoom * factor, self._local(event.position()))
        self._changed()
        event.accept()

    def event(self, event: QEvent) -> bool:
        """Pinch zooms."""
        if (
            isinstance(event, QNativeGestureEvent)
            and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture
            and self.picture is not None
        ):
            self.viewport.zoom_to(self.viewport.zoom * (1 + event.value()), self._local(event.position()))
            self._changed()
            return True
        return super().event(event)

    # the keyboard

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows pan or move the split; with the frame tool they move, grow and turn the frame."""
        if self.picture is not None and (
            self._tool_key(event) if self.tool is not None else self._view_key(event)
        ):
            event.accept()
        else:
            super().keyPressEvent(event)

    def _view_key(self, event: QKeyEvent) -> bool:
        step = _arrow(event)
        if step is None:
            return False
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            if self.mode != "split" or not step[0]:
                return False
            self.set_split(self.split + 0.02 * step[0])
        else:
            self.viewport.pan(-40 * step[0], -40 * step[1])
            self._changed()
        return True

    def _tool_key(self, event: QKeyEvent) -> bool:
        tool = self.tool
        assert tool is not None
        key, step = event.key(), _arrow(event)
        far = 10.0 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1.0
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.frame_accepted.emit()
            return True
        if key == Qt.Key.Key_Escape:
            self.frame_cancelled.emit()
            return True
        if step is not None:
            tool.nudge(dx=step[0] * far, dy=step[1] * far)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            tool.nudge(grow=2 * far)
        elif key in (Qt.Key.Key_Minus, Qt.Key.Key_Underscore):
            tool.nudge(grow=-2 * far)
        elif key in (Qt.Key.Key_BracketLeft, Qt.Key.Key_BraceLeft):
            tool.nudge(turn=-far)
        elif key in (Qt.Key.Key_BracketRight, Qt.Key.Key_BraceRight):
            tool.nudge(turn=far)
        else:
            return False
        self.update()
        self.frame_changed.emit()
        return True

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the focus to those who came by keyboard."""
        super().focusInEvent(event)
        self._set_ring(event.reason() in KEYBOARD)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """The focus is elsewhere."""
        super().focusOutEvent(event)
        self._set_ring(False)

    def _set_ring(self, shown: bool) -> None:
        if self._ring != shown:
            self._ring = shown
            self.update()


def _arrow(event: QKeyEvent) -> tuple[int, int] | None:
    return {
        Qt.Key.Key_Left: (-1, 0),
        Qt.Key.Key_Right: (1, 0),
        Qt.Key.Key_Up: (0, -1),
        Qt.Key.Key_Down: (0, 1),
    }.get(Qt.Key(event.key()))
