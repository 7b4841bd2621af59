"""Actions as tables: what they are called, their keys, their icons. Here are those of every workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QWidget

from gui.theme import Theme
from gui.widgets import icons


@dataclass(frozen=True)
class ActionSpec:
    """One action. `group` makes it one of several that exclude each other; `tip` is a sentence."""

    name: str
    text: str
    tip: str
    keys: tuple[str, ...] = ()
    icon: str = ""
    checkable: bool = False
    group: str = ""


# None is a separator; in a menu a name that starts with > is a menu within it
Menus = Mapping[str, tuple[str | None, ...]]
ToolBarItems = tuple[str | None, ...]

SHARED = (
    ActionSpec("quit", "&Quit", "Close the window", ("Ctrl+Q",)),
    ActionSpec("theme_system", "As the &system", "Colours as the system", checkable=True, group="theme"),
    ActionSpec("theme_light", "&Light", "Light colours", checkable=True, group="theme"),
    ActionSpec("theme_dark", "&Dark", "Dark colours", checkable=True, group="theme"),
    ActionSpec("shortcuts", "&Keyboard shortcuts", "All keys", ("F1",)),
    ActionSpec("about", "&About ZeroDIM Studio", "Version and licences"),
)
COLOURS = {"theme": ("&Colours", ("theme_system", "theme_light", "theme_dark"))}  # a submenu


def make_actions(
    parent: QWidget,
    specs: Sequence[ActionSpec],
    handlers: Mapping[str, Callable[..., object]],
    theme: Theme,
) -> dict[str, QAction]:
    """An action of `parent` for each line of a table, connected to `handlers[name]`."""
    made: dict[str, QAction] = {}
    groups: dict[str, QActionGroup] = {}
    for spec in specs:
        action = QAction(spec.text, parent)
        action.setObjectName(spec.name)
        action.setShortcuts([QKeySequence(key) for key in spec.keys])
        action.setToolTip(with_keys(spec.tip, spec.keys))
        action.setStatusTip("")
        if spec.checkable:
            action.setCheckable(True)
        if spec.group:
            group = groups.setdefault(spec.group, QActionGroup(parent))
            group.addAction(action)
        handler = handlers[spec.name]
        if spec.checkable:
            action.triggered.connect(handler)
        else:
            action.triggered.connect(lambda _=False, handler=handler: handler())
        parent.addAction(action)
        made[spec.name] = action
    colour_actions(made, specs, theme)
    return made


def colour_actions(actions: Mapping[str, QAction], specs: Sequence[ActionSpec], theme: Theme) -> None:
    """Give the actions icons in the theme's colours."""
    tokens = theme.tokens
    for spec in specs:
        if spec.icon:
            actions[spec.name].setIcon(icons.icon(spec.icon, tokens.text, tokens.groove, tokens.accent))


def with_keys(tip: str, keys: tuple[str, ...]) -> str:
    """A tooltip that ends in the first key, as the platform writes it."""
    if not keys:
        return tip
    return f"{tip} ({QKeySequence(keys[0]).toString(QKeySequence.SequenceFormat.NativeText)})"
