"""What went wrong with a run: a sentence, what to do, a button that resumes, the raw text a click away."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from core.jobs import JobError
from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.labels import message_label


class FailureBanner(QFrame):
    """Hidden while all is well."""

    resume_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("failureBanner")
        self._theme = theme
        self._icon = QLabel()
        self.sentence, self.hint = message_label("message"), message_label("hint")
        self.resume = QPushButton("Resume")
        self.resume.setProperty("primary", True)
        self.resume.clicked.connect(self.resume_wanted)
        self.details = QPushButton("Details")
        self.details.setCheckable(True)
        self.raw = QPlainTextEdit()
        self.raw.setReadOnly(True)
        self.raw.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.raw.setFixedHeight(130)
        self.raw.setAccessibleName("Raw text of the error")
        self.raw.hide()
        self.details.toggled.connect(self.raw.setVisible)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self.sentence)
        texts.addWidget(self.hint)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(texts, 1)
        row.addWidget(self.details, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self.resume, 0, Qt.AlignmentFlag.AlignVCenter)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 10, 14, 10)
        column.addLayout(row)
        column.addWidget(self.raw)
        theme.changed.connect(self._colour)
        self._colour()
        self.hide()

    def show_error(self, error: JobError | None) -> None:
        """Say it; None hides the banner."""
        self.setVisible(error is not None)
        if error is None or (error.sentence, error.raw) == (self.sentence.text(), self.raw.toPlainText()):
            return
        self.sentence.setText(error.sentence)
        self.hint.setText(error.hint)
        self.hint.setVisible(bool(error.hint))
        self.raw.setPlainText(error.raw)
        self.details.setChecked(False)
        self.details.setVisible(bool(error.raw))
        self.setAccessibleDescription(f"{error.sentence} {error.hint}")

    def _colour(self) -> None:
        self._icon.setPixmap(icons.pixmap("error", self._theme.tokens.danger, 20, self.devicePixelRatioF()))
