"""The log of a run in plain words; the raw lines a click away."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QPlainTextEdit, QStackedWidget, QVBoxLayout, QWidget

from core.jobs import Event
from gui.trainer import words

MOST_LINES = 2000


class LogTab(QWidget):
    """Two texts: what happened, and the events as they were written."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text, self.raw = _text("Log of the run"), _text("Raw events of the run")
        self.raw.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.raw.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.text)
        self.stack.addWidget(self.raw)
        self.show_raw = QCheckBox("Raw events")
        self.show_raw.toggled.connect(lambda on: self.stack.setCurrentIndex(int(on)))
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.show_raw)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 10, 14, 10)
        column.addLayout(row)
        column.addWidget(self.stack, 1)

    def clear(self) -> None:
        """Another run."""
        self.text.clear()
        self.raw.clear()

    def add(self, events: Iterable[Event]) -> None:
        """More of what happened."""
        events = tuple(events)[-MOST_LINES:]
        lines = [f"{words.when(e.time)}   {said}" for e in events if (said := words.event(e))]
        if lines:
            self.text.appendPlainText("\n".join(lines))
        if events:
            raw = [msgspec.json.encode({"kind": e.kind, **e.numbers}).decode() for e in events]
            self.raw.appendPlainText("\n".join(raw))
            self.raw.horizontalScrollBar().setValue(0)


def _text(name: str) -> QPlainTextEdit:
    made = QPlainTextEdit()
    made.setReadOnly(True)
    made.setMaximumBlockCount(MOST_LINES)
    made.setAccessibleName(name)
    made.setFrameShape(QPlainTextEdit.Shape.NoFrame)
    return made
