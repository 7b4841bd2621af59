"""Every action of the window as a table: what it is called, its keys, its icon, and where it is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


ACTIONS = (
    ActionSpec("open", "&Open a photo…", "Open a photo", ("Ctrl+O",), "open"),
    ActionSpec("save_as", "&Save as…", "Save the edited photo", ("Ctrl+S", "Ctrl+Shift+S"), "save"),
    ActionSpec("open_recipe", "Open a &recipe…", "Open a photo with the edits of a saved recipe"),
    ActionSpec("save_recipe", "Save the re&cipe…", "Save these edits as a recipe, to repeat them"),
    ActionSpec("quit", "&Quit", "Close the window", ("Ctrl+Q",)),
    ActionSpec("undo", "&Undo", "Take back the last change", ("Ctrl+Z",), "undo"),
    ActionSpec("redo", "&Redo", "Do again what was taken back", ("Ctrl+Shift+Z", "Ctrl+Y"), "redo"),
    ActionSpec("reset", "Reset &all", "Leave the chosen face as in the photo", ("Ctrl+R",), "reset"),
    ActionSpec("next_face", "&Next face", "Edit the next face", ("N",)),
    ActionSpec("previous_face", "&Previous face", "Edit the face before", ("Shift+N",)),
    ActionSpec(
        "adjust_frame", "&Adjust the face frame", "Move, resize or turn the face frame", ("Ctrl+F",), "frame"
    ),
    ActionSpec(
        "add_frame", "Add a &face by hand", "Place a frame around another face", ("Ctrl+Shift+F",), "face"
    ),
    ActionSpec("boxes", "Show face &marks", "Mark the faces in the photo", ("M",), "", checkable=True),
    ActionSpec(
        "split", "S&plit", "Before and after with a line to drag", ("1",), "split", True, group="compare"
    ),
    ActionSpec(
        "side_by_side", "Side &by side", "Before beside after", ("2",), "side_by_side", True, group="compare"
    ),
    ActionSpec("single", "&After only", "Only the edited photo", ("3",), "single", True, group="compare"),
    ActionSpec("zoom_in", "Zoom &in", "Zoom in", ("Ctrl++", "Ctrl+="), "zoom_in"),
    ActionSpec("zoom_out", "Zoom &out", "Zoom out", ("Ctrl+-",), "zoom_out"),
    ActionSpec("fit", "&Fit", "Show the whole photo", ("Ctrl+0",), "fit"),
    ActionSpec("actual_size", "100 &%", "One pixel of the photo on one of the screen", ("Ctrl+1",)),
    ActionSpec("theme_system", "As the &system", "Colours as the system", checkable=True, group="theme"),
    ActionSpec("theme_light", "&Light", "Light colours", checkable=True, group="theme"),
    ActionSpec("theme_dark", "&Dark", "Dark colours", checkable=True, group="theme"),
    ActionSpec("shortcuts", "&Keyboard shortcuts", "All keys", ("F1",)),
    ActionSpec("about", "&About ZeroDIM Studio", "Version and licences"),
)

# None is a separator; a name that starts with > is a menu within the menu
MENUS: dict[str, tuple[str | None, ...]] = {
    "&File": ("open", ">recent", None, "save_as", None, "open_recipe", "save_recipe", None, "quit"),
    "&Edit": ("undo", "redo", None, "reset"),
    "F&ace": ("next_face", "previous_face", None, "adjust_frame", "add_frame", None, "boxes"),
    "&View": (
        *("split", "side_by_side", "single", None),
        *("zoom_in", "zoom_out", "fit", "actual_size", None),
        ">theme",
    ),
    "&Help": ("shortcuts", "about"),
}
SUBMENUS: dict[str, tuple[str, tuple[str, ...]]] = {
    "recent": ("Open &recent", ()),
    "theme": ("&Colours", ("theme_system", "theme_light", "theme_dark")),
}
TOOLBAR: tuple[str | None, ...] = (
    *("open", "save_as", None, "undo", "redo", None),
    *("split", "side_by_side", "single", "hold", None, "adjust_frame", "add_frame"),
)
WITH_TEXT = ("open", "save_as")

# keys that are no actions, for the list of keys
OTHER_KEYS = (
    ("B (hold)", "See the photo before"),
    ("Arrows", "On the photo: move it. Among values: go to the next"),
    ("Ctrl+Left, Ctrl+Right", "On the photo: move the split"),
    ("Space, Enter", "Choose a value, or take it back"),
    ("Tab", "To the next control"),
    ("Esc", "Leave the face frame, close a message"),
)


def make_actions(
    parent: QWidget, handlers: Mapping[str, Callable[..., object]], theme: Theme
) -> dict[str, QAction]:
    """An action for each line of the table, connected to `handlers[name]`."""
    made: dict[str, QAction] = {}
    groups: dict[str, QActionGroup] = {}
    for spec in ACTIONS:
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
    colour_actions(made, theme)
    return made


def colour_actions(actions: Mapping[str, QAction], theme: Theme) -> None:
    """Give the actions icons in the theme's colours."""
    tokens = theme.tokens
    for spec in ACTIONS:
        if spec.icon:
            actions[spec.name].setIcon(icons.icon(spec.icon, tokens.text, tokens.groove, tokens.accent))


def with_keys(tip: str, keys: tuple[str, ...]) -> str:
    """A tooltip that ends in the first key, as the platform writes it."""
    if not keys:
        return tip
    return f"{tip} ({QKeySequence(keys[0]).toString(QKeySequence.SequenceFormat.NativeText)})"
