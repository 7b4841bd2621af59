"""The faces of a photo as small pictures, to choose the one to edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QScrollArea, QToolButton, QWidget

if TYPE_CHECKING:
    from core.editing import FaceView

SIDE = 44


class FaceStrip(QScrollArea):
    """One button a face, in a row that scrolls."""

    face_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Faces")
        self.setWidgetResizable(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(SIDE + 22)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self.face_wanted)
        inside = QWidget()
        inside.setObjectName("panelBody")
        self._row = QHBoxLayout(inside)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(4)
        self._row.addStretch(1)
        self.setWidget(inside)

    def show_faces(self, views: Sequence[FaceView | None], chosen: int) -> None:
        """Show these faces; one that the model has not looked at yet has no picture."""
        while len(self._group.buttons()) > len(views):
            button = self._group.buttons()[-1]
            self._group.removeButton(button)
            self._row.removeWidget(button)
            button.deleteLater()
        for i, view in enumerate(views):
            button = self._group.button(i) or self._add(i)
            if button.property("view") != id(view):
                button.setProperty("view", id(view))
                button.setIcon(_icon(view.thumbnail) if view is not None else QIcon())
            button.setChecked(i == chosen)
            if i == chosen:
                self.ensureWidgetVisible(button)

    def _add(self, index: int) -> QToolButton:
        button = QToolButton()
        button.setCheckable(True)
        button.setProperty("face", True)
        button.setIconSize(QSize(SIDE, SIDE))
        button.setAccessibleName(f"Face {index + 1}")
        button.setToolTip(f"Edit face {index + 1} (N for the next one)")
        button.setAutoExclusive(True)
        self._group.addButton(button, index)
        self._row.insertWidget(index, button)
        return button


def _icon(thumbnail: np.ndarray) -> QIcon:
    pixels = np.ascontiguousarray(thumbnail)
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image))  # fromImage copies, so that `pixels` may go
