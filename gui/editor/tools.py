"""What the editor puts into the window's tool bar, menus and status bar, and when it can be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QMenu, QToolButton, QWidget

from gui import actions as tables
from gui.editor.actions import ACTIONS
from gui.widgets import icons

if TYPE_CHECKING:
    from gui.editor.view import EditorView


class EditorTools(QObject):
    """The button to hold, the photo's size, the zoom; and which actions are possible."""

    def __init__(self, editor: EditorView) -> None:
        super().__init__(editor)
        self._editor, self._theme = editor, editor.services.theme
        self.hold = QToolButton()
        self.hold.setToolTip("Hold to see the photo before (B)")
        self.hold.setAccessibleName("Hold to see the photo before")
        self.hold.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.hold.pressed.connect(lambda: editor.canvas.set_holding(True))
        self.hold.released.connect(lambda: editor.canvas.set_holding(False))
        self.about_photo = QLabel()
        self.zoom = QLabel()
        self.zoom.setAccessibleName("Zoom")
        self.zoom.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.zoom.setMinimumWidth(self.zoom.fontMetrics().horizontalAdvance("3200 %") + 12)
        self._buttons = {name: QToolButton() for name in ("zoom_out", "zoom_in", "fit", "actual_size")}
        for button in self._buttons.values():
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        out, *others = self._buttons.values()
        self.status: list[QWidget] = [self.about_photo, out, self.zoom, *others]
        self._theme.changed.connect(self._colour)
        self._colour()

    def update(self, actions: Mapping[str, QAction]) -> None:
        """Enable and name the actions as they are possible now."""
        editor = self._editor
        for name, button in self._buttons.items():
            if button.defaultAction() is not actions[name]:
                button.setDefaultAction(actions[name])
        state, placing = editor.state, editor.canvas.tool is not None
        photo = state.photo
        faces = len(state.recipe.faces) if state.recipe is not None else 0
        for name in ("save_as", "save_recipe"):
            actions[name].setEnabled(photo is not None and not placing)
        for name in ("split", "side_by_side", "single", "zoom_in", "zoom_out", "fit", "actual_size"):
            actions[name].setEnabled(photo is not None)
        self.hold.setEnabled(photo is not None and not placing)
        ready = photo is not None and state.card is not None and not placing
        actions["adjust_frame"].setEnabled(ready)
        actions["add_frame"].setEnabled(ready and faces > 0)
        refiner, refined = editor.refiner, state.face is not None and state.face.refinement is not None
        actions["refine"].setEnabled(
            ready and state.face is not None and (refiner.frame is None or refiner.here)
        )
        what = "Take the &refinement back" if refined else "&Refine the face"
        actions["refine"].setText("Cancel &refining" if refiner.here else what)
        actions["reset"].setEnabled(ready and state.face is not None and bool(state.face.swaps))
        for name in ("next_face", "previous_face", "boxes"):
            actions[name].setEnabled(faces > 1 and not placing)
        for name, possible, text in (
            ("undo", state.undo.canUndo(), state.undo.undoText()),
            ("redo", state.undo.canRedo(), state.undo.redoText()),
        ):
            action = actions[name]
            action.setEnabled(possible and not placing)
            action.setText(f"&{name.title()} {text}".rstrip())
            spec = next(spec for spec in ACTIONS if spec.name == name)
            action.setToolTip(tables.with_keys(f"{name.title()}: {text}" if text else spec.tip, spec.keys))
        actions["boxes"].setChecked(editor.canvas.boxes)
        actions[editor.canvas.mode].setChecked(True)
        self.show_photo()

    def show_photo(self) -> None:
        """Its size; nothing where there is none."""
        photo = self._editor.state.photo
        if photo is not None:
            self.about_photo.setText(f"{photo.width} × {photo.height}")
        for widget in self.status:
            widget.setVisible(photo is not None)
        self.show_zoom()

    def show_zoom(self) -> None:
        """How large the photo is seen."""
        self.zoom.setText(f"{self._editor.canvas.viewport.zoom * 100:.0f} %")

    def _colour(self) -> None:
        self.hold.setIcon(icons.icon("eye", self._theme.tokens.text, self._theme.tokens.groove))


def fill_recent(
    menu: QMenu, recent: list[Path], open_photo: Callable[[Path], None], clear: Callable[[], None]
) -> None:
    """Photos opened lately as a menu."""
    menu.clear()
    menu.setEnabled(bool(recent))
    for path in recent:
        action = menu.addAction(path.name.replace("&", "&&"))
        action.setToolTip(str(path))
        action.triggered.connect(lambda _=False, path=path: open_photo(path))
    menu.addSeparator()
    menu.addAction("Clear this list").triggered.connect(lambda _=False: clear())
