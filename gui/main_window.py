"""The main window: workspaces, menus, tool bar, status bar. What is edited is the workspace's business."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QGuiApplication
from PySide6.QtWidgets import (
    QLabel,
    QMainWindow,
    QMenu,
    QProgressBar,
    QStackedWidget,
    QToolBar,
    QToolButton,
    QWidget,
)

from core.worker import Worker
from gui import about, actions
from gui.editor.session import Activity
from gui.editor.view import EditorView
from gui.settings import Settings
from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.elided_label import ElidedLabel

TITLE = "ZeroDIM Studio"
# name, title, icon of each workspace there is; the switch is shown once there are several
WORKSPACES = (("edit", "Edit", "edit"),)


class MainWindow(QMainWindow):
    """The window. `closed` is emitted once it has closed and nothing of it is needed any more."""

    closed = Signal()
    fault = Signal(object)  # an unexpected error, from any thread

    def __init__(self, theme: Theme, settings: Settings, worker: Worker, model: Path | None = None) -> None:
        super().__init__()
        self.setWindowTitle(TITLE)
        self.setMinimumSize(640, 440)
        self._theme, self.settings = theme, settings
        self._asking = self._leaving = False
        self.editor = EditorView(theme, settings, worker, model)
        self.workspaces = QStackedWidget()
        self.workspaces.addWidget(self.editor)
        self.setCentralWidget(self.workspaces)
        self.actions_by_name = actions.make_actions(self, self._handlers(), theme)
        self._make_menus()
        self._make_tool_bar()
        self._make_status_bar()
        theme.changed.connect(self._colour)
        self.editor.changed.connect(self._update)
        self.editor.state.photo_changed.connect(self._show_photo)
        self.editor.session.activity_changed.connect(self._show_activity)
        self.editor.opened.connect(self._show_recent)
        self.editor.session.failed.connect(self._show_recent)
        self.editor.canvas.view_changed.connect(self._show_zoom)
        self.fault.connect(self.editor.session.tell)
        self._restore()
        self._colour()
        self._update()
        self._show_photo()

    # what actions do

    def _handlers(self) -> dict[str, Callable[..., object]]:
        editor, canvas, state = self.editor, self.editor.canvas, self.editor.state
        session, files = editor.session, editor.files
        return {
            "open": editor.ask_open,
            "save_as": editor.ask_save,
            "open_recipe": lambda: session.start(files.ask_open_recipe()),
            "save_recipe": lambda: session.start(files.ask_save_recipe()),
            "quit": self.close,
            "undo": state.undo.undo,
            "redo": state.undo.redo,
            "reset": state.reset_face,
            "next_face": lambda: state.step_face(1),
            "previous_face": lambda: state.step_face(-1),
            "adjust_frame": editor.adjust_frame,
            "add_frame": editor.add_frame,
            "boxes": canvas.set_boxes,
            "split": lambda _: editor.set_mode("split"),
            "side_by_side": lambda _: editor.set_mode("side_by_side"),
            "single": lambda _: editor.set_mode("single"),
            "zoom_in": lambda: canvas.zoom_step(1),
            "zoom_out": lambda: canvas.zoom_step(-1),
            "fit": canvas.fit,
            "actual_size": canvas.actual_size,
            "theme_system": lambda _: self._choose_theme("system"),
            "theme_light": lambda _: self._choose_theme("light"),
            "theme_dark": lambda _: self._choose_theme("dark"),
            "shortcuts": lambda: session.start(about.show_shortcuts(self)),
            "about": lambda: session.start(about.show_about(self)),
        }

    def _choose_theme(self, choice: str) -> None:
        self._theme.choose(choice)
        self.settings.set("window/theme", choice)

    # parts

    def _make_menus(self) -> None:
        for title, names in actions.MENUS.items():
            menu = self.menuBar().addMenu(title)
            menu.setToolTipsVisible(False)
            for name in names:
                if name is None:
                    menu.addSeparator()
                elif name.startswith(">"):
                    text, inner = actions.SUBMENUS[name[1:]]
                    submenu = menu.addMenu(text)
                    for item in inner:
                        submenu.addAction(self.actions_by_name[item])
                    if name == ">recent":
                        self.recent_menu = submenu
                else:
                    menu.addAction(self.actions_by_name[name])

    def _make_tool_bar(self) -> None:
        bar = QToolBar("Tools")
        bar.setObjectName("tools")
        bar.setMovable(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self._add_workspace_switch(bar)
        for name in actions.TOOLBAR:
            if name is None:
                bar.addSeparator()
            elif name == "hold":
                bar.addWidget(self._make_hold_button())
            else:
                bar.addAction(self.actions_by_name[name])
                button = bar.widgetForAction(self.actions_by_name[name])
                if isinstance(button, QToolButton):
                    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
                    if name in actions.WITH_TEXT:
                        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.addToolBar(bar)
        self.tool_bar = bar
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)

    def _add_workspace_switch(self, bar: QToolBar) -> None:
        """One button a workspace, as soon as there is a choice."""
        if len(WORKSPACES) < 2:
            return
        group = QActionGroup(self)
        for index, (name, title, icon) in enumerate(WORKSPACES):
            action = QAction(icons.icon(icon, self._theme.tokens.text), title, group)
            action.setObjectName(f"workspace_{name}")
            action.setCheckable(True)
            action.setChecked(index == 0)
            action.triggered.connect(lambda _=False, index=index: self.workspaces.setCurrentIndex(index))
            bar.addAction(action)
        bar.addSeparator()

    def _make_hold_button(self) -> QToolButton:
        self.hold = QToolButton()
        self.hold.setToolTip("Hold to see the photo before (B)")
        self.hold.setAccessibleName("Hold to see the photo before")
        self.hold.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.hold.pressed.connect(lambda: self.editor.canvas.set_holding(True))
        self.hold.released.connect(lambda: self.editor.canvas.set_holding(False))
        return self.hold

    def _make_status_bar(self) -> None:
        bar = self.statusBar()
        bar.setSizeGripEnabled(False)
        self.activity = ElidedLabel("Ready")
        self.activity.setAccessibleName("What the program does")
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedWidth(140)
        self.progress.setAccessibleName("Progress")
        self.progress.hide()
        self.about_photo = QLabel()
        self.zoom = QLabel()
        self.zoom.setAccessibleName("Zoom")
        self.zoom.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.zoom.setMinimumWidth(self.zoom.fontMetrics().horizontalAdvance("3200 %") + 12)
        bar.addWidget(self.activity, 1)
        bar.addWidget(self.progress)
        bar.addPermanentWidget(self.about_photo)
        self._zoom_buttons: list[QWidget] = [self.zoom]
        for name in ("zoom_out", "zoom_in", "fit", "actual_size"):
            button = QToolButton()
            button.setDefaultAction(self.actions_by_name[name])
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            bar.addPermanentWidget(button)
            self._zoom_buttons.append(button)
            if name == "zoom_out":
                bar.addPermanentWidget(self.zoom)

    # what they show

    def _update(self) -> None:
        state, by_name = self.editor.state, self.actions_by_name
        photo, placing = state.photo, self.editor.canvas.tool is not None
        faces = len(state.recipe.faces) if state.recipe is not None else 0
        for name in ("save_as", "save_recipe"):
            by_name[name].setEnabled(photo is not None and not placing)
        for name in ("split", "side_by_side", "single", "zoom_in", "zoom_out", "fit", "actual_size"):
            by_name[name].setEnabled(photo is not None)
        self.hold.setEnabled(photo is not None and not placing)
        ready = photo is not None and state.card is not None and not placing
        by_name["adjust_frame"].setEnabled(ready)
        by_name["add_frame"].setEnabled(ready and faces > 0)
        by_name["reset"].setEnabled(ready and state.face is not None and bool(state.face.swaps))
        for name in ("next_face", "previous_face", "boxes"):
            by_name[name].setEnabled(faces > 1 and not placing)
        for name, possible, text in (
            ("undo", state.undo.canUndo(), state.undo.undoText()),
            ("redo", state.undo.canRedo(), state.undo.redoText()),
        ):
            action = by_name[name]
            action.setEnabled(possible and not placing)
            action.setText(f"&{name.title()} {text}".rstrip())
            spec = next(spec for spec in actions.ACTIONS if spec.name == name)
            action.setToolTip(actions.with_keys(f"{name.title()}: {text}" if text else spec.tip, spec.keys))
        by_name["boxes"].setChecked(self.editor.canvas.boxes)
        by_name[self.editor.canvas.mode].setChecked(True)
        by_name[f"theme_{self._theme.choice}"].setChecked(True)
        self.setWindowModified(state.unsaved)

    def _show_photo(self) -> None:
        photo = self.editor.state.photo
        self.about_photo.setVisible(photo is not None)
        for widget in self._zoom_buttons:
            widget.setVisible(photo is not None)
        if photo is None:
            return
        self.setWindowTitle(f"{photo.path.name}[*] – {TITLE}")
        self.about_photo.setText(f"{photo.width} × {photo.height}")
        self._show_zoom()

    def _show_zoom(self) -> None:
        self.zoom.setText(f"{self.editor.canvas.viewport.zoom * 100:.0f} %")

    def _show_recent(self, *_: object) -> None:
        recent = self.settings.recent()
        self.editor.drop_area.set_recent(recent)
        fill_recent(self.recent_menu, recent, self.editor.open, self._clear_recent)

    def _clear_recent(self) -> None:
        self.settings.clear_recent()
        self._show_recent()

    def _show_activity(self, activity: Activity) -> None:
        self.activity.setText(activity.text or "Ready")
        self.progress.setVisible(bool(activity.text))
        if activity.fraction is None:
            self.progress.setRange(0, 0)
        else:
            self.progress.setRange(0, 1000)
            self.progress.setValue(round(activity.fraction * 1000))

    def _colour(self) -> None:
        actions.colour_actions(self.actions_by_name, self._theme)
        self.hold.setIcon(icons.icon("eye", self._theme.tokens.text, self._theme.tokens.groove))

    # coming and going

    def _restore(self) -> None:
        self._show_recent()
        geometry = self.settings.get("window/geometry")
        if geometry.isEmpty() or not self.restoreGeometry(geometry):
            room = QGuiApplication.primaryScreen().availableGeometry().size()
            self.resize(min(1280, int(room.width() * 0.9)), min(800, int(room.height() * 0.9)))

    def start(self, photo: Path | None) -> None:
        """Load the model, and open the photo of the command line if there is one."""
        if photo is not None:
            self.editor.open(photo)
        else:
            self.editor.session.start(self.editor.session.load())

    def changeEvent(self, event: QEvent) -> None:
        """A held key is let go when another window takes over: its release will not come here."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and not self.isActiveWindow():
            self.editor.canvas.set_holding(False)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask first where edits would be lost; a save that is under way is finished."""
        session = self.editor.session
        if not self._leaving and (self.editor.state.unsaved or session.saving):
            event.ignore()
            if not self._asking:
                self._asking = True
                session.start(self._leave())
            return
        self.settings.set("window/geometry", self.saveGeometry())
        self.settings.set("editor/splitter", self.editor.splitter.saveState())
        self.settings.sync()
        event.accept()
        self.closed.emit()

    async def _leave(self) -> None:
        session = self.editor.session
        try:
            await session.saved()
            if await self.editor.files.may_leave():
                self._leaving = True
                self.close()
        finally:
            self._asking = False


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
