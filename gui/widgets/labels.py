"""Labels for sentences, and looks that change."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget


def muted_label(text: str = "") -> QLabel:
    """For a quiet sentence of any length."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setProperty("role", "muted")
    return label


def message_label(role: str) -> QLabel:
    """For a sentence of a bar: plain text that wraps, asks for no width, and can be copied."""
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def restyle(*widgets: QWidget) -> None:
    """Draw widgets anew whose properties the style sheet asks for have changed."""
    for widget in widgets:
        widget.style().unpolish(widget)
        widget.style().polish(widget)
