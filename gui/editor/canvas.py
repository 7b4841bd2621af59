"""The canvas: paints before and after by a split, side by side or one at a time, and what lies over them."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QPainter,
    QPaintEvent,
    QPen,
    QRegion,
    QResizeEvent,
)
from PySide6.QtWidgets import QWidget

from core.faces.frame import Frame
from gui.editor import overlay
from gui.editor.frame_tool import FrameTool
from gui.editor.layers import PatchLike, Picture
from gui.editor.viewport import Viewport
from gui.theme import Theme

MODES = ("split", "side_by_side", "single")
GAP = 2


class Canvas(QWidget):
    """Paints a Picture through a Viewport. What a person does to it is in CompareView."""

    view_changed = Signal()
    frame_changed = Signal()
    painted = Signal(int)  # the number of a render, once it is on the screen

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Photo, before and after")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._theme = theme
        theme.changed.connect(self.update)
        self.picture: Picture | None = None
        self.viewport = Viewport(QSizeF(1, 1), QSizeF(1, 1))
        self.mode = "split"
        self.split = 0.5
        self.holding = False
        self.faces: tuple[Frame, ...] = ()
        self.chosen = 0
        self.boxes = True
        self.tool: FrameTool | None = None
        self._hovered: int | None = None
        self._hot_split = False
        self._drag: str | None = None
        self._ring = False
        self._unpainted: int | None = None

    # what is shown

    def set_picture(self, picture: Picture | None, keep_view: bool = False) -> None:
        """Show another photo, or the same at another resolution with `keep_view`."""
        self.picture = picture
        if picture is not None and not keep_view:
            self.end_tool()
            self.viewport = Viewport(picture.size, self._pane_size(), self.devicePixelRatioF())
            self.viewport.fit()
            self.split = 0.5
        self._changed()

    def show_patches(self, patches: tuple[PatchLike, ...], number: int) -> None:
        """Paint a render's patches; `painted` is emitted when they have reached the screen."""
        if self.picture is None:
            return
        was_edited = self.picture.edited
        self._unpainted = number
        changed = self.picture.show_patches(patches)
        target = self.viewport.target()
        for area in changed:
            scale = self.viewport.scale
            x, y = target.x() + area.x() * scale, target.y() + area.y() * scale
            rect = QRectF(x - 2, y - 2, area.width() * scale + 4, area.height() * scale + 4)
            self.update(rect.translated(self._pane(1).topLeft()).toAlignedRect().intersected(self.rect()))
        if not changed or was_edited != self.picture.edited:
            self.update()

    def set_faces(self, faces: tuple[Frame, ...], chosen: int) -> None:
        """The frames to draw, and which is edited."""
        self.faces, self.chosen = faces, chosen
        self.update()

    def set_boxes(self, shown: bool) -> None:
        """Show or hide the faces' brackets."""
        self.boxes = shown
        self.update()

    def set_mode(self, mode: str) -> None:
        """`split`, `side_by_side` or `single`."""
        self.mode = mode if mode in MODES else "split"
        if self.picture is not None:
            self.viewport.resize(self._pane_size(), self.devicePixelRatioF())
        self._changed()

    def set_holding(self, holding: bool) -> None:
        """Show only before, while a key or button is held."""
        if self.holding != holding:
            self.holding = holding
            self.update()

    def set_split(self, split: float) -> None:
        """Where the split is, from 0 to 1 of the width."""
        old, self.split = self._split_x(), min(max(split, 0.0), 1.0)
        left, right = sorted((old, self._split_x()))
        reach = overlay.GRIP + 3
        self.update(QRect(int(left - reach), 0, int(right - left + 2 * reach) + 2, self.height()))
        if not 130 < left <= right < self.width() - 130:  # the tags come and go
            self.update()

    # zoom

    def fit(self) -> None:
        """Show all of the photo."""
        self.viewport.fit()
        self._changed()

    def actual_size(self) -> None:
        """One pixel of the photo on one of the screen."""
        self.viewport.zoom_to(1.0)
        self._changed()

    def zoom_step(self, direction: int) -> None:
        """Larger (+1) or smaller (-1)."""
        self.viewport.step(direction)
        self._changed()

    def _changed(self) -> None:
        self.update()
        self.view_changed.emit()

    # the frame tool

    def begin_tool(self, tool: FrameTool) -> None:
        """Let a person place a frame."""
        self.tool = tool
        self.viewport.resize(self._pane_size(), self.devicePixelRatioF())
        seen = QRectF(self.rect())
        if not all(seen.contains(self.viewport.to_screen(corner)) for corner in tool.corners()):
            self.viewport.fit()  # else its handles could not be reached
        self.setFocus(Qt.FocusReason.OtherFocusReason)
        self._changed()
        self.frame_changed.emit()

    def end_tool(self) -> None:
        """Put the tool away."""
        if self.tool is not None:
            self.tool = None
            self.viewport.resize(self._pane_size(), self.devicePixelRatioF())
            self.unsetCursor()
            self._changed()
            self.frame_changed.emit()

    # where things are

    def _two_panes(self) -> bool:
        return self.mode == "side_by_side" and self.tool is None

    def _pane(self, index: int) -> QRectF:
        """The area of before (0) or after (1); the same one unless they are side by side."""
        if not self._two_panes():
            return QRectF(self.rect())
        half = (self.width() - GAP) // 2  # both of one size, on whole pixels
        # an odd width makes the gap a pixel wider: a column that no pane has would show old memory
        return QRectF(index * (self.width() - half), 0, half, self.height())

    def _pane_size(self) -> QSizeF:
        if not self._two_panes():
            return QSizeF(self.size())
        return QSizeF((self.width() - GAP) // 2, self.height())

    def _local(self, point: QPointF) -> QPointF:
        """A point of the widget in its pane's coordinates."""
        second = self._pane(1)
        return point - second.topLeft() if second.x() > 0 and point.x() >= second.x() else QPointF(point)

    def _split_x(self) -> float:
        return self.split * self.width()

    def _on_split(self, point: QPointF) -> bool:
        if self.mode != "split" or self.holding or self.tool is not None or self.picture is None:
            return False
        close = abs(point.x() - self._split_x())
        return close <= 6 or (close <= overlay.GRIP and abs(point.y() - self.height() / 2) <= overlay.GRIP)

    def _face_at(self, point: QPointF) -> int | None:
        """The smallest face under a point of the widget."""
        if not self.boxes or len(self.faces) < 2:
            return None
        local = self._local(point)
        hits = [
            i
            for i, frame in enumerate(self.faces)
            if overlay.polygon(frame, self.viewport).containsPoint(local, Qt.FillRule.OddEvenFill)
        ]
        return min(hits, key=lambda i: self.faces[i].side, default=None)

    # painting

    def sizeHint(self) -> QSize:
        """A comfortable size."""
        return QSize(800, 600)

    def minimumSizeHint(self) -> QSize:
        """Still usable."""
        return QSize(240, 200)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep what is in the middle, or the whole photo, in sight."""
        super().resizeEvent(event)
        self.viewport.resize(self._pane_size(), self.devicePixelRatioF())
        self.view_changed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint what is exposed."""
        painter = QPainter(self)
        exposed = QRectF(event.rect())
        ground = QColor(self._theme.tokens.canvas)
        if self.picture is None:
            painter.fillRect(exposed, ground)
            return
        ratio = self.devicePixelRatioF()
        if ratio != self.viewport.ratio:
            self.viewport.resize(self._pane_size(), ratio)
        self._paint_photos(painter, exposed, ground, ratio)
        accent = QColor(overlay.MARK)
        if self.tool is not None:
            self.tool.paint(painter, self.viewport, QRectF(self.rect()), accent)
        else:
            if self.boxes and len(self.faces) > 1:
                self._paint_faces(painter, accent)
            self._paint_marks(painter, accent)
        if self._unpainted is not None:
            number, self._unpainted = self._unpainted, None
            self.painted.emit(number)

    def _paint_photos(self, painter: QPainter, exposed: QRectF, ground: QColor, ratio: float) -> None:
        picture = self.picture
        assert picture is not None
        target = self.viewport.target()
        for index in (0, 1):
            pane = self._pane(index)
            if self.holding or self.mode == "single" or self.tool is not None:
                if index == 0 and not self._two_panes():
                    continue
                # a frame is placed on the face as it is, not as edited through the frame before
                before = self.holding or self.tool is not None
                layer, clip = picture.before if before else picture.after, pane
            else:
                layer, clip = (picture.before, picture.after)[index], pane
                if self.mode == "split":
                    x = round(self._split_x() * ratio) / ratio
                    clip = QRectF(0, 0, x, pane.height()) if index == 0 else pane.adjusted(x, 0, 0, 0)
            part = clip.intersected(exposed)
            if part.isEmpty():
                continue
            painter.save()
            painter.setClipRect(part)
            shown = target.translated(pane.topLeft())
            # ground only beside the photo: filling under it would double the cost of a frame
            region = QRegion(part.toAlignedRect()).subtracted(QRegion(_inner(shown)))
            for rect in region:  # type: ignore[attr-defined]  # a sequence, which its stub does not say
                painter.fillRect(rect, ground)
            layer.draw(painter, shown, part, ratio)
            painter.restore()
        if self._two_panes():
            left, right = self._pane(0).right(), self._pane(1).left()
            painter.fillRect(QRectF(left, 0, right - left, self.height()), self._theme.tokens.window)

    def _paint_faces(self, painter: QPainter, accent: QColor) -> None:
        shapes = [overlay.polygon(frame, self.viewport) for frame in self.faces]
        for index in {self._pane(i).x() for i in (0, 1)}:
            for i, shape in enumerate(shapes):
                overlay.draw_face(
                    painter, shape.translated(index, 0), accent, i == self.chosen, i == self._hovered
                )

    def _paint_marks(self, painter: QPainter, accent: QColor) -> None:
        after = self._pane(1)
        if self.holding:
            overlay.draw_tag(painter, "Before", QPointF(12, 12), right=False)
        elif self.mode == "side_by_side":
            overlay.draw_tag(painter, "Before", QPointF(12, 12), right=False)
            overlay.draw_tag(painter, "After", QPointF(after.x() + 12, 12), right=False)
        elif self.mode == "split":
            x = self._split_x()
            if x > 90:
                overlay.draw_tag(painter, "Before", QPointF(12, 12), right=False)
            if self.width() - x > 90:
                overlay.draw_tag(painter, "After", QPointF(self.width() - 12, 12), right=True)
            overlay.draw_split(painter, x, self.height(), self._hot_split or self._drag == "split", accent)
        if self._ring:
            painter.setPen(QPen(QColor(self._theme.tokens.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))


def _inner(rect: QRectF) -> QRect:
    """The whole pixels that a rectangle covers."""
    left, top = int(-(-rect.left() // 1)), int(-(-rect.top() // 1))
    return QRect(left, top, int(rect.right() // 1) - left, int(rect.bottom() // 1) - top)
