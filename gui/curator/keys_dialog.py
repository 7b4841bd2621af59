"""Choose other keys: a field for each action; a key that another action has moves to the one chosen last."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QKeySequenceEdit,
    QLabel,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from gui.actions import SHARED, ActionSpec
from gui.widgets.labels import muted_label

# keys of the window, and those that move in the grid
TAKEN = (
    *(key for spec in SHARED for key in spec.keys),
    *("Alt+1", "Alt+2", "Alt+3", "Alt+4", "Left", "Right", "Up", "Down", "Home", "End", "PgUp", "PgDown"),
    *("Tab", "Shift+Tab", "Esc"),
)
ABOUT = "Click a field and press a key. A key that another action has moves here."


class KeysDialog(QDialog):
    """`changed` are the choices of a person once it is accepted; it ends with `RESTORE` for the old keys."""

    RESTORE = 2

    def __init__(self, parent: QWidget, specs: Sequence[ActionSpec]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Change keys")
        self.about = muted_label(ABOUT)
        self.fields: dict[str, QKeySequenceEdit] = {}
        self._before = {spec.name: QKeySequence((spec.keys or ("",))[0]) for spec in specs}
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(2, 2, 14, 2)
        grid.setHorizontalSpacing(16)
        grid.setColumnStretch(0, 1)
        for row, spec in enumerate(specs):
            field = QKeySequenceEdit(self._before[spec.name])
            field.setMaximumSequenceLength(1)
            field.setClearButtonEnabled(True)
            field.setFixedWidth(190)
            field.setAccessibleName(f"Key: {spec.tip}")
            line = field.findChild(QLineEdit)
            if line is not None:
                line.setPlaceholderText("No key")
            field.keySequenceChanged.connect(lambda key, name=spec.name: self._chosen(name, key))
            self.fields[spec.name] = field
            label = QLabel(spec.tip)
            label.setBuddy(field)
            grid.addWidget(label, row, 0)
            grid.addWidget(field, row, 1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(body)
        standard = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(standard.Ok | standard.Cancel | standard.RestoreDefaults)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        buttons.button(standard.RestoreDefaults).clicked.connect(lambda: self.done(self.RESTORE))
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 18, 20, 14)
        column.setSpacing(12)
        column.addWidget(self.about)
        column.addWidget(scroll, 1)
        column.addWidget(buttons)
        self.resize(600, 600)

    def _chosen(self, name: str, key: QKeySequence) -> None:
        """Keys are unique: the other field with this one becomes empty, where a person sees it."""
        if key.isEmpty():
            return
        if key in [QKeySequence(taken) for taken in TAKEN]:
            self.fields[name].clear()
            native = key.toString(QKeySequence.SequenceFormat.NativeText)
            self.about.setText(f"{native} belongs to the window. Choose another key.")
            return
        self.about.setText(ABOUT)
        for other, field in self.fields.items():
            if other != name and field.keySequence() == key:
                field.clear()

    def changed(self) -> dict[str, str]:
        """The new key of each action that has another one now, empty for none."""
        now = {name: field.keySequence() for name, field in self.fields.items()}
        return {name: key.toString() for name, key in now.items() if key != self._before[name]}
