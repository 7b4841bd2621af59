"""What a workspace shows before something is open: a card with a sentence, what to do, and the recent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QVBoxLayout, QWidget

from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.labels import restyle
from gui.widgets.recent_list import RecentList

PICTURE = 56


class EmptyState(QWidget):
    """A card in the middle, into whose `body` a workspace puts what can be done."""

    recent_wanted = Signal(object)

    def __init__(self, theme: Theme, icon: str, sentence: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("dropArea")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._icon = theme, icon
        self.card = QFrame()
        self.card.setObjectName("dropCard")
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sentence = QLabel(sentence)
        self.sentence.setWordWrap(True)
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        font = self.sentence.font()
        font.setPointSizeF(font.pointSizeF() * 1.25)
        self.sentence.setFont(font)
        self._recent = RecentList()
        self._recent.wanted.connect(self.recent_wanted)
        self.body = QVBoxLayout()
        self.body.setSpacing(16)
        inner = QVBoxLayout(self.card)
        inner.setContentsMargins(44, 36, 44, 36)
        inner.setSpacing(16)
        inner.addWidget(self._picture)
        inner.addWidget(self.sentence)
        inner.addLayout(self.body)
        inner.addWidget(self._recent)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 16, 16, 16)
        outer.addWidget(self.card, 0, Qt.AlignmentFlag.AlignCenter)
        theme.changed.connect(self._colour)
        self._colour()
        self.set_recent(())

    def add_button(self, button: QPushButton) -> None:
        """Put a button into the middle of the card."""
        self.body.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)

    def set_recent(self, paths: Iterable[Path]) -> None:
        """Offer these, at most four."""
        self._recent.show_paths(paths)

    def set_hot(self, hot: bool) -> None:
        """Show that something can be let go here."""
        self.card.setProperty("hot", hot)
        restyle(self.card)

    def _colour(self) -> None:
        ratio = self.devicePixelRatioF()
        self._picture.setPixmap(icons.pixmap(self._icon, self._theme.tokens.muted, PICTURE, ratio))
