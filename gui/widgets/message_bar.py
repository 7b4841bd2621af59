"""A bar over the content that says what went wrong and what to do; it never blocks."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible, QAccessibleEvent, QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.labels import message_label, restyle


class MessageBar(QFrame):
    """One message at a time; Escape or its button closes it."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("messageBar")
        self.setAccessibleName("Message")
        self._theme = theme
        self._kind = "info"
        self._icon = QLabel()
        self._icon.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._text = message_label("message")
        self._hint = message_label("hint")
        self._close = QToolButton()
        self._close.setProperty("plain", True)
        self._close.setToolTip("Close this message (Esc)")
        self._close.setAccessibleName("Close this message")
        self._close.clicked.connect(self.hide)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._text)
        texts.addWidget(self._hint)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 9, 9, 9)
        row.setSpacing(10)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(texts, 1)
        row.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        theme.changed.connect(self._colour)
        self.hide()

    @property
    def message(self) -> str:
        """The message shown, with its hint; empty while hidden."""
        if self.isHidden():
            return ""
        return f"{self._text.text()} {self._hint.text()}".strip()

    def show_error(self, message: str, hint: str = "") -> None:
        """Say what went wrong and what to do next."""
        self._show("error", message, hint)

    def show_info(self, message: str, hint: str = "") -> None:
        """Say something that is no error."""
        self._show("info", message, hint)

    def _show(self, kind: str, message: str, hint: str) -> None:
        self._kind = kind
        self.setProperty("kind", kind)
        restyle(self, self._text)
        self._text.setText(message)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        self.setAccessibleDescription(f"{message} {hint}".strip())
        self._colour()
        self.show()
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes it."""
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
        else:
            super().keyPressEvent(event)

    def _colour(self) -> None:
        tokens = self._theme.tokens
        colour = tokens.danger if self._kind == "error" else tokens.accent
        self._icon.setPixmap(icons.pixmap(self._kind, colour, 20, self.devicePixelRatioF()))
        self._close.setIcon(icons.icon("close", tokens.text))
