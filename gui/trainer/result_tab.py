"""What a run came to and what it was made of: numbers by attribute, facts, all settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFormLayout,
    QHeaderView,
    QLabel,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from core.jobs import RunInfo
from gui.trainer import words
from gui.widgets.elided_label import ElidedLabel

COLUMNS = (
    ("accuracy", "Accuracy", "The model sees the right value"),
    ("swap_success", "Swaps succeed", "A swap shows what it says, by a judge"),
    ("swap_preserved", "Others kept", "Other attributes stay as they are in a swap"),
    ("leakage", "Leakage", "How well it can be guessed from what should not hold it: less is better"),
    ("leakage_majority", "Leakage by chance", "What leakage is where nothing leaks"),
)


class ResultTab(QScrollArea):
    """Table, facts and settings in one column."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self._waiting = QLabel("The final numbers come when the training is over.")
        self._waiting.setProperty("role", "muted")
        self.table = table(("Attribute", *(title for _, title, _ in COLUMNS)))
        for place, (_, _, tip) in enumerate(COLUMNS, 1):
            item = self.table.horizontalHeaderItem(place)
            if item is not None:
                item.setToolTip(tip)
        self.facts: dict[str, ElidedLabel] = {}
        form = QFormLayout()
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setHorizontalSpacing(18)
        for name in ("Data", "Base", "Preset", "Device", "Trained for", "Model", "Disk use", "Command"):
            self.facts[name] = ElidedLabel()
            self.facts[name].setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            caption = QLabel(name)
            caption.setProperty("role", "muted")
            form.addRow(caption, self.facts[name])
        title = QLabel("Settings")
        title.setProperty("role", "title")
        self.settings = table(("Setting", "Value"))
        inner = QWidget()
        inner.setObjectName("trainPage")
        column = QVBoxLayout(inner)
        column.setContentsMargins(14, 12, 14, 12)
        column.setSpacing(12)
        for widget in (self._waiting, self.table):
            column.addWidget(widget)
        column.addLayout(form)
        column.addSpacing(8)
        column.addWidget(title)
        column.addWidget(self.settings)
        column.addStretch(1)
        self.setWidget(inner)

    def show_run(self, info: RunInfo, titles: dict[str, str]) -> None:
        """Numbers and facts as they are known now; `titles` of attributes by name."""
        metrics = {**({"accuracy": info.accuracy, "leakage": info.leakage}), **info.metrics}
        names = list(metrics["accuracy"] or metrics["leakage"] or {})
        self._waiting.setVisible(info.state != "finished")
        self.table.setVisible(bool(names))
        rows = []
        for name in names:
            shares = [_share(metrics, key, name) for key, _, _ in COLUMNS]
            rows.append([titles.get(name, name.replace("_", " ")), *shares])
        fill(self.table, rows)
        spec = info.spec
        self._say("Data", spec.data)
        self._say("Base", f"{spec.base} ({_mode(spec.mode)})" if spec.base else "From scratch")
        self._say("Preset", spec.preset)
        self._say("Device", info.device or ", ".join(spec.devices))
        self._say("Trained for", words.duration(info.seconds))
        kept = f"{info.kept}" if info.kept else "in the run, not among your models" if info.model else "–"
        self._say("Model", kept)

    def show_slow(self, used: int, command: str, settings: dict[str, Any]) -> None:
        """What takes reading of many files."""
        self._say("Disk use", words.size(used))
        self._say("Command", command)
        fill(self.settings, [[key, str(value)] for key, value in sorted(settings.items())])

    def _say(self, name: str, text: str) -> None:
        if self.facts[name].text() != text:
            self.facts[name].setText(text)


def _mode(mode: str) -> str:
    return "more attributes" if mode == "add" else "a new domain"


def _share(metrics: dict[str, Any], key: str, name: str) -> str:
    group = metrics.get(key)
    value = group.get(name) if isinstance(group, dict) else None
    return words.per_cent(float(value)) if isinstance(value, (int, float)) else "–"


def table(titles: tuple[str, ...]) -> QTableWidget:
    """A table to read, as high as its rows."""
    made = QTableWidget(0, len(titles))
    made.setHorizontalHeaderLabels(list(titles))
    made.verticalHeader().hide()
    made.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    made.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setShowGrid(False)
    made.setWordWrap(False)
    made.setFrameShape(QTableWidget.Shape.NoFrame)
    made.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    head = made.horizontalHeader()
    head.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
    head.setHighlightSections(False)
    return made


def fill(made: QTableWidget, rows: list[list[str]]) -> None:
    """Show rows of texts."""
    if made.rowCount() != len(rows):
        made.setRowCount(len(rows))
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            item = made.item(r, c)
            if item is None:
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                made.setItem(r, c, item)
            elif item.text() != text:
                item.setText(text)
                item.setToolTip(text)
    rows_high = sum(made.rowHeight(r) for r in range(len(rows)))
    made.setFixedHeight(made.horizontalHeader().sizeHint().height() + rows_high + 4)


def folder_name(path: str) -> str:
    """The last part of a path."""
    return Path(path).name if path else ""
