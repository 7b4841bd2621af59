"""The small bar over the canvas while a face frame is placed by hand."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QWidget

MARGIN = 16


class FrameBar(QFrame):
    """Says what to do, and takes the frame or leaves it. Floats at the bottom of its parent."""

    accepted = Signal()
    cancelled = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._area = parent
        self.setObjectName("frameBar")
        self.setAccessibleName("Place the face frame")
        self.text = QLabel("Put the eyes and the mouth on the marks.")
        self.text.setToolTip(
            "Drag the square to move it, a corner to resize it, the round handle to turn it.\n"
            "Keys: arrows move, + and − resize, [ and ] turn; with Shift ten times as far."
        )
        self.text.setMinimumWidth(40)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Leave everything as it was (Esc)")
        self.cancel.clicked.connect(self.cancelled)
        self.accept = QPushButton("Use this frame")
        self.accept.setProperty("primary", True)
        self.accept.setToolTip("Edit the face in this frame (Enter)")
        self.accept.clicked.connect(self.accepted)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 9, 10, 9)
        row.setSpacing(8)
        row.addWidget(self.text, 1)
        row.addWidget(self.cancel)
        row.addWidget(self.accept)
        parent.installEventFilter(self)
        self.hide()

    def setVisible(self, visible: bool) -> None:
        """Show it in its place."""
        super().setVisible(visible)
        if visible:
            self._place()
            self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the canvas when it is resized."""
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return False

    def _place(self) -> None:
        area = self._area
        width = min(self.sizeHint().width(), area.width() - 2 * MARGIN)
        height = self.sizeHint().height()
        self.setGeometry((area.width() - width) // 2, area.height() - height - MARGIN, width, height)
