"""What a check found, as a list of sentences with what to do."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from core.jobs import Finding
from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.labels import muted_label

ORDER = ("error", "warning", "note", "fine")
ICONS = {"error": "error", "warning": "error", "note": "info", "fine": "check"}


class Findings(QWidget):
    """The gravest first."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("findings")
        self._theme = theme
        self._found: tuple[Finding, ...] = ()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(10, 8, 10, 8)
        self._column.setSpacing(8)
        self._column.addStretch(1)
        theme.changed.connect(self._colour)

    def say(self, text: str) -> None:
        """One line in place of findings."""
        self._found = ()
        self._clear()
        self._column.insertWidget(0, muted_label(text))

    def show_findings(self, found: Sequence[Finding]) -> None:
        """Show these."""
        self._found = tuple(found)
        self._clear()
        tokens = self._theme.tokens
        colours = {"warning": tokens.warning, "note": tokens.muted, "fine": tokens.accent}
        for place, finding in enumerate(sorted(found, key=lambda f: ORDER.index(f.level))):
            picture = QLabel()
            ratio = self.devicePixelRatioF()
            picture.setPixmap(
                icons.pixmap(ICONS[finding.level], colours.get(finding.level, tokens.danger), 16, ratio)
            )
            picture.setAccessibleName(finding.level.capitalize())
            texts = QVBoxLayout()
            texts.setSpacing(1)
            for text, role in ((finding.sentence, "finding"), (finding.hint, "muted")):
                if text:
                    label = QLabel(text)
                    label.setTextFormat(Qt.TextFormat.PlainText)
                    label.setProperty("role", role)
                    label.setWordWrap(True)
                    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
                    texts.addWidget(label)
            line = QWidget()
            row = QHBoxLayout(line)
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(8)
            row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
            row.addLayout(texts, 1)
            self._column.insertWidget(place, line)

    def _colour(self) -> None:
        if self._found:
            self.show_findings(self._found)

    def _clear(self) -> None:
        while self._column.count() > 1:
            item = self._column.takeAt(0)
            if item is not None and (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
