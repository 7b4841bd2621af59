"""What a person does at the window, as real events, and what a person waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMessageBox, QWidget

from gui.editor.attribute_row import AttributeRow
from gui.main_window import MainWindow

PATIENCE = 240.0
LEFT = Qt.MouseButton.LeftButton


class Hands:
    """Hands on a MainWindow."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.editor = window.editor
        self.state = window.editor.state
        self.session = window.editor.session
        self.canvas = window.editor.canvas

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        end = time.perf_counter() + PATIENCE
        while not true():
            assert time.perf_counter() < end, f"waited in vain {what}"
            await asyncio.sleep(0.005)

    async def opened(self) -> None:
        await self.until(lambda: self.state.photo is not None and self.session.up_to_date, "for a photo")

    async def settled(self) -> None:
        await self.until(lambda: self.session.up_to_date and not self.state.unseen(), "for the after picture")
        await asyncio.sleep(0.02)  # painted

    def row(self, name: str) -> AttributeRow:
        return self.editor.panel.rows[name]

    def choose(self, attribute: str, value: str) -> None:
        """Click a value of an attribute."""
        row = self.row(attribute)
        names = [v.name for v in row.attribute.values]
        self.click(row.values.tab_widgets()[names.index(value)])

    def click(self, widget: QWidget, at: QPointF | None = None) -> None:
        QTest.mouseClick(widget, LEFT, Qt.KeyboardModifier.NoModifier, at.toPoint() if at else QPoint())

    def key(
        self, key: Qt.Key, widget: QWidget | None = None, modifiers=Qt.KeyboardModifier.NoModifier
    ) -> None:
        QTest.keyClick(widget or QApplication.focusWidget() or self.window, key, modifiers)

    def drag(self, widget: QWidget, *points: QPointF, release: bool = True) -> None:
        """Press at the first point, move through the others, let go at the last."""
        QTest.mousePress(widget, LEFT, Qt.KeyboardModifier.NoModifier, points[0].toPoint())
        for point in points[1:]:
            QTest.mouseMove(widget, point.toPoint())
        if release:
            QTest.mouseRelease(widget, LEFT, Qt.KeyboardModifier.NoModifier, points[-1].toPoint())

    def drag_strength(self, attribute: str, *per_cent: int, release: bool = True) -> None:
        slider = self.row(attribute).slider
        points = [QPointF(slider._x(value), slider.height() / 2) for value in per_cent]
        self.drag(slider, QPointF(slider._x(slider.value()), slider.height() / 2), *points, release=release)

    def trigger(self, action: str) -> None:
        assert self.window.actions_by_name[action].isEnabled(), action
        self.window.actions_by_name[action].trigger()

    def drop(self, *paths) -> bool:
        """Drag files over the editor and let them go; whether they were taken."""
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        over = QDragEnterEvent(
            QPoint(50, 50), Qt.DropAction.CopyAction, data, LEFT, Qt.KeyboardModifier.NoModifier
        )
        over.ignore()
        QApplication.sendEvent(self.editor, over)
        if not over.isAccepted():
            return False
        event = QDropEvent(
            QPointF(50, 50),
            Qt.DropAction.CopyAction,
            data,
            LEFT,
            Qt.KeyboardModifier.NoModifier,
            QEvent.Type.Drop,
        )
        QApplication.sendEvent(self.editor, event)
        return event.isAccepted()

    async def answer(self, name: str) -> str:
        """Wait for a question and give this answer; returns what was asked."""
        await self.until(lambda: self.question() is not None, "for a question")
        box = self.question()
        assert box is not None
        asked = box.text()
        button = next(b for b in box.buttons() if b.objectName() == name)
        self.click(button)
        return asked

    def question(self) -> QMessageBox | None:
        boxes = self.window.findChildren(QMessageBox)
        return next((b for b in boxes if b.isVisible()), None)

    # what is seen

    def before(self) -> np.ndarray:
        picture = self.canvas.picture
        assert picture is not None
        return picture.before.read((0, 0, picture.before.width, picture.before.height))

    def after(self) -> np.ndarray:
        picture = self.canvas.picture
        assert picture is not None
        return picture.after.read((0, 0, picture.after.width, picture.after.height))

    def seen(self) -> np.ndarray:
        """(h, w, 3) pixels of the canvas on the screen, without what lies over the photo."""
        image = (
            self.canvas.grab().toImage().convertToFormat(self.canvas.grab().toImage().Format.Format_RGB888)
        )
        lines = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return lines[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def inside(frame, height: int, width: int) -> np.ndarray:
    """(h, w) bool: pixels whose centre is in the frame."""
    inverse = np.linalg.inv(np.vstack([frame.matrix, [0, 0, 1]]))
    y, x = np.mgrid[0:height, 0:width]
    u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    return (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
