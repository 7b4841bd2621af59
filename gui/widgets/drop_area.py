"""What the editor shows before a photo is open: a place to drop one, buttons, the recent photos."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QVBoxLayout, QWidget

from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.labels import restyle
from gui.widgets.recent_list import RecentList

WIDTH = 380


class DropArea(QWidget):
    """Empty state of the editor."""

    open_wanted = Signal()
    sample_wanted = Signal()
    recent_wanted = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("dropArea")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._card = QFrame()
        self._card.setObjectName("dropCard")
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sentence = QLabel("Drop a photo here to change what it shows.")
        self.sentence.setWordWrap(True)
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        font = self.sentence.font()
        font.setPointSizeF(font.pointSizeF() * 1.25)
        self.sentence.setFont(font)
        self.button = QPushButton("Open a photo…")
        self.button.setProperty("primary", True)
        self.button.setToolTip("Choose a photo from your disk (Ctrl+O)")
        self.button.clicked.connect(self.open_wanted)
        self.sample = QPushButton("Try it with a sample face")
        self.sample.setToolTip("Open a photo that came with the program")
        self.sample.clicked.connect(self.sample_wanted)
        self._recent = RecentList()
        self._recent.wanted.connect(self.recent_wanted)
        inner = QVBoxLayout(self._card)
        inner.setContentsMargins(44, 36, 44, 36)
        inner.setSpacing(16)
        inner.addWidget(self._picture)
        inner.addWidget(self.sentence)
        inner.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        inner.addWidget(self.sample, 0, Qt.AlignmentFlag.AlignHCenter)
        inner.addSpacing(4)
        inner.addWidget(self._recent)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 16, 16, 16)
        outer.addWidget(self._card, 0, Qt.AlignmentFlag.AlignCenter)
        theme.changed.connect(self._colour)
        self._colour()
        self.set_recent(())

    def set_recent(self, paths: Iterable[Path]) -> None:
        """Offer these photos, at most four."""
        self._recent.show_paths(paths)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Wrap the sentence: Qt does not, in a card that is only as large as it must be."""
        super().resizeEvent(event)
        width = max(160, min(WIDTH, self.width() - 130))
        self.sentence.setFixedSize(width, self.sentence.heightForWidth(width))

    def set_hot(self, hot: bool) -> None:
        """Show that a photo can be let go here."""
        self._card.setProperty("hot", hot)
        restyle(self._card)

    def _colour(self) -> None:
        self._picture.setPixmap(icons.pixmap("photo", self._theme.tokens.muted, 56, self.devicePixelRatioF()))
