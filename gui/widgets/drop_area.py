"""What the editor shows before a photo is open: a place to drop one, buttons, the recent photos."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QPushButton, QWidget

from gui.theme import Theme
from gui.widgets.empty_state import EmptyState

WIDTH = 380


class DropArea(EmptyState):
    """Empty state of the editor."""

    open_wanted = Signal()
    sample_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "photo", "Drop a photo here to change what it shows.", parent)
        self.button = QPushButton("Open a photo…")
        self.button.setProperty("primary", True)
        self.button.setToolTip("Choose a photo from your disk (Ctrl+O)")
        self.button.clicked.connect(self.open_wanted)
        self.sample = QPushButton("Try it with a sample face")
        self.sample.setToolTip("Open a photo that came with the program")
        self.sample.clicked.connect(self.sample_wanted)
        self.add_button(self.button)
        self.add_button(self.sample)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Wrap the sentence: Qt does not, in a card that is only as large as it must be."""
        super().resizeEvent(event)
        width = max(160, min(WIDTH, self.width() - 130))
        self.sentence.setFixedSize(width, self.sentence.heightForWidth(width))
