"""The workspace's keys: which widget they belong to, and others where a person chose others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from gui.actions import ActionSpec, with_keys
from gui.curator.actions import ACTIONS, GRID
from gui.curator.keys_dialog import KeysDialog
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

    def specs(self) -> tuple[ActionSpec, ...]:
        """All actions with their keys of now."""
        return tuple(replace(spec, keys=self.keys_of(spec.name)) for spec in ACTIONS)

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

    def set_keys(self, chosen: Mapping[str, str]) -> None:
        """Other keys for some actions, kept in the settings; empty for none."""
        self._own.update(chosen)
        self._settings.set(SETTING, [f"{name}={keys}" for name, keys in self._own.items()])
        self._apply()

    def reset(self) -> None:
        """The keys the program came with."""
        self._own.clear()
        self._settings.set(SETTING, [])
        self._apply()

    async def ask(self) -> None:
        """Let a person choose keys."""
        dialog = KeysDialog(self._view, self.specs())
        answer = await asking.finished(dialog)
        if answer == dialog.RESTORE:
            self.reset()
        elif answer:
            self.set_keys(dialog.changed())
        self._view.changed.emit()
