"""What the Train workspace shows before there is a run."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QVBoxLayout, QWidget

from gui.theme import Theme
from gui.widgets import icons

TEXT = (
    "A training turns labelled images into a model that you can edit with. "
    "It runs beside the window, which may be closed meanwhile."
)
STEPS = (
    "Label some images of each value in Curate, or prepare a folder.",
    "Start a quick try: it soon shows whether the labels are enough.",
    "Watch the samples, stop when they are good, and keep the model.",
)
WIDTH = 440


class StartPage(QWidget):
    """Empty state: what this is for, and a button."""

    new_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("dropArea")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        card = QFrame()
        card.setObjectName("startCard")
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sentence = QLabel(TEXT)
        font = self.sentence.font()
        font.setPointSizeF(font.pointSizeF() * 1.15)
        self.sentence.setFont(font)
        self._lines = [self.sentence]
        self._lines += [QLabel(f"{number}.  {step}") for number, step in enumerate(STEPS, 1)]
        for line in self._lines:
            line.setWordWrap(True)
        for line in self._lines[1:]:
            line.setProperty("role", "muted")
        self.button = QPushButton("New training…")
        self.button.setProperty("primary", True)
        self.button.setToolTip("Choose data, a base and a preset (Ctrl+N)")
        self.button.clicked.connect(self.new_wanted)
        inner = QVBoxLayout(card)
        inner.setContentsMargins(44, 34, 44, 34)
        inner.setSpacing(12)
        inner.addWidget(self._picture)
        for line in self._lines:
            inner.addWidget(line)
        inner.addSpacing(6)
        inner.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 16, 16, 16)
        outer.addWidget(card, 0, Qt.AlignmentFlag.AlignCenter)
        theme.changed.connect(self._colour)
        self._colour()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Wrap the texts: Qt does not, in a card that is only as large as it must be."""
        super().resizeEvent(event)
        width = max(200, min(WIDTH, self.width() - 130))
        for line in self._lines:
            line.setFixedSize(width, line.heightForWidth(width))

    def _colour(self) -> None:
        self._picture.setPixmap(icons.pixmap("train", self._theme.tokens.muted, 52, self.devicePixelRatioF()))
