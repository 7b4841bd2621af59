"""The workspace's keys: which widget they belong to, and others where a person chose others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QKeySequenceEdit,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from gui.actions import with_keys
from gui.curator.actions import ACTIONS, GRID, OTHER_KEYS
from gui.settings import Settings
from gui.widgets import asking

if TYPE_CHECKING:
    from gui.curator.view import CuratorView

SETTING = "curator/keys"


class Keys:
    """Keys of `GRID` work where the grid or the large view has the focus, so that texts can be typed."""

    def __init__(self, view: CuratorView, settings: Settings) -> None:
        self._view, self._settings = view, settings
        self._actions: Mapping[str, QAction] | None = None
        self._own: dict[str, str] = {}
        for line in settings.get(SETTING):
            name, _, keys = line.partition("=")
            self._own[name] = keys

    def keys_of(self, name: str) -> tuple[str, ...]:
        """An action's keys as they are now."""
        if name in self._own:
            return (self._own[name],) if self._own[name] else ()
        return next(spec.keys for spec in ACTIONS if spec.name == name)

    def workspace(self) -> Any:
        """What `about.show_shortcuts` lists."""
        specs = [replace(spec, keys=self.keys_of(spec.name)) for spec in ACTIONS]
        return SimpleNamespace(ACTIONS=tuple(specs), OTHER_KEYS=OTHER_KEYS)

    def take(self, actions: Mapping[str, QAction], widgets: Sequence[QWidget]) -> None:
        """Make the actions' keys those of `widgets`; the first call counts."""
        if self._actions is not None:
            return
        self._actions = actions
        for name in GRID:
            actions[name].setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            for widget in widgets:
                widget.addAction(actions[name])
            self._view.removeAction(actions[name])
        self._apply()

    def show_tip(self, action: QAction, tip: str) -> None:
        """A tooltip with the key of now."""
        action.setToolTip(with_keys(tip, self.keys_of(action.objectName())))

    def _apply(self) -> None:
        assert self._actions is not None
        for spec in ACTIONS:
            keys = self.keys_of(spec.name)
            self._actions[spec.name].setShortcuts([QKeySequence(key) for key in keys])
            self.show_tip(self._actions[spec.name], spec.tip)

    def set_keys(self, name: str, keys: str) -> None:
        """Another key for an action, kept in the settings; the same key leaves the action that had it."""
        for other in ACTIONS:
            if keys and other.name != name and keys in self.keys_of(other.name):
                rest = [key for key in self.keys_of(other.name) if key != keys]
                self._own[other.name] = rest[0] if rest else ""
        self._own[name] = keys
        self._settings.set(SETTING, [f"{name}={keys}" for name, keys in self._own.items()])
        self._apply()

    def reset(self) -> None:
        """The keys the program came with."""
        self._own.clear()
        self._settings.set(SETTING, [])
        self._apply()

    async def ask(self) -> None:
        """Let a person choose keys."""
        dialog = QDialog(self._view)
        dialog.setWindowTitle("Change keys")
        body = QWidget()
        form = QFormLayout(body)
        fields: dict[str, QKeySequenceEdit] = {}
        for spec in ACTIONS:
            field = QKeySequenceEdit(QKeySequence((self.keys_of(spec.name) or ("",))[0]))
            field.setMaximumSequenceLength(1)
            field.setClearButtonEnabled(True)
            fields[spec.name] = field
            form.addRow(spec.tip, field)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(body)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok
            | QDialogButtonBox.StandardButton.Cancel
            | QDialogButtonBox.StandardButton.RestoreDefaults
        )
        buttons.accepted.connect(dialog.accept)
        buttons.rejected.connect(dialog.reject)
        restore = buttons.button(QDialogButtonBox.StandardButton.RestoreDefaults)
        restore.clicked.connect(lambda: dialog.done(2))
        column = QVBoxLayout(dialog)
        column.addWidget(QLabel("Click a field and press the key. A key that another action has moves here."))
        column.addWidget(scroll, 1)
        column.addWidget(buttons)
        dialog.resize(560, 560)
        answer = await asking.finished(dialog)
        if answer == 2:
            self.reset()
        elif answer:
            for name, field in fields.items():
                chosen = field.keySequence().toString()
                if chosen != QKeySequence((self.keys_of(name) or ("",))[0]).toString():
                    self.set_keys(name, chosen)
        self._view.changed.emit()
