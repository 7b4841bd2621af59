"""The main window: workspaces, menus, tool bars, status bar. The rest is the workspaces' business."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QMainWindow,
    QProgressBar,
    QStackedWidget,
    QToolBar,
    QToolButton,
    QWidget,
)

from core.worker import Worker
from gui import about, actions
from gui.curator.view import CuratorView
from gui.editor.view import EditorView
from gui.settings import Settings
from gui.theme import Theme
from gui.trainer.view import TrainerView
from gui.widgets import icons
from gui.widgets.elided_label import ElidedLabel
from gui.workspace import Activity, Services, Workspace

TITLE = "ZeroDIM Studio"
# the workspaces beside the editor, in the order of the switch
OTHERS: tuple[type[Workspace], ...] = (CuratorView, TrainerView)


class MainWindow(QMainWindow):
    """The window. `closed` is emitted once it has closed and nothing of it is needed any more."""

    closed = Signal()
    fault = Signal(object)  # an unexpected error, from any thread

    def __init__(self, theme: Theme, settings: Settings, worker: Worker, model: Path | None = None) -> None:
        super().__init__()
        self.setWindowTitle(TITLE)
        self.setMinimumSize(640, 440)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self.services = Services(theme, settings, worker, self)
        self.settings = settings
        self._theme = theme
        self._asking = self._leaving = False
        self.editor = EditorView(self.services, model)
        self.workspaces: dict[str, Workspace] = {
            workspace.NAME: workspace
            for workspace in (self.editor, *(make(self.services) for make in OTHERS))
        }
        self.front: Workspace = self.editor
        self.stack = QStackedWidget()
        self.setCentralWidget(self.stack)
        self._shared = actions.make_actions(self, actions.SHARED, self._handlers(), theme)
        self._make_switch()
        self._make_status_bar()
        self._actions: dict[str, dict[str, QAction]] = {}
        self._tool_bars: dict[str, QToolBar] = {}
        self._menus: dict[str, list[QAction]] = {}
        self._status: dict[str, QWidget] = {}
        for workspace in self.workspaces.values():
            self._add(workspace)
        self.services.wanted.connect(self._bring)
        self.fault.connect(lambda error: self.front.tasks.tell(error))
        theme.changed.connect(self._colour)
        self._restore()
        self._colour()
        self.show_workspace(self.editor.NAME)

    @property
    def actions_by_name(self) -> dict[str, QAction]:
        """The actions there are now: the window's and those of the workspace in front."""
        return {**self._shared, **self._actions[self.front.NAME]}

    def _handlers(self) -> dict[str, Callable[..., object]]:
        return {
            "quit": self.close,
            "theme_system": lambda _: self._choose_theme("system"),
            "theme_light": lambda _: self._choose_theme("light"),
            "theme_dark": lambda _: self._choose_theme("dark"),
            "shortcuts": lambda: self.front.tasks.start(about.show_shortcuts(self, self.front)),
            "about": lambda: self.front.tasks.start(about.show_about(self)),
        }

    def _choose_theme(self, choice: str) -> None:
        self._theme.choose(choice)
        self.settings.set("window/theme", choice)

    # parts

    def _add(self, workspace: Workspace) -> None:
        """Give a workspace its place, its menus, its tool bar and its part of the status bar."""
        name = workspace.NAME
        self.stack.addWidget(workspace)
        # as children of the workspace, actions have keys only while it is in front
        made = actions.make_actions(workspace, workspace.ACTIONS, workspace.handlers(), self._theme)
        self._actions[name] = made
        self._menus[name] = self._make_menus(workspace, {**self._shared, **made})
        self._tool_bars[name] = self._make_tool_bar(workspace, made)
        self._status[name] = self._make_status(workspace)
        workspace.changed.connect(partial(self._changed, workspace))
        workspace.activity_changed.connect(partial(self._show_activity, workspace))
        workspace.update_actions(made)

    def _make_menus(self, workspace: Workspace, found: dict[str, QAction]) -> list[QAction]:
        fillers = workspace.submenus()
        made = []
        for title, names in workspace.MENUS.items():
            menu = self.menuBar().addMenu(title)
            menu.setToolTipsVisible(False)
            for name in names:
                if name is None:
                    menu.addSeparator()
                elif name.startswith(">"):
                    text, inner = workspace.SUBMENUS[name[1:]]
                    submenu = menu.addMenu(text)
                    for item in inner:
                        submenu.addAction(found[item])
                    if (fill := fillers.get(name[1:])) is not None:
                        # before its menu opens, so that it is known whether the submenu has anything
                        menu.aboutToShow.connect(partial(fill, submenu))
                        fill(submenu)
                else:
                    menu.addAction(found[name])
            made.append(menu.menuAction())
        return made

    def _make_tool_bar(self, workspace: Workspace, found: dict[str, QAction]) -> QToolBar:
        bar = QToolBar("Tools")
        bar.setObjectName(f"tools_{workspace.NAME}")
        bar.setMovable(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        for switch in self._switches:
            bar.addAction(switch)
            self._tool_button(bar, switch, with_text=True)
        if self._switches:
            bar.addSeparator()
        for name in workspace.TOOLBAR:
            if name is None:
                bar.addSeparator()
            elif (widget := workspace.tool_widget(name)) is not None:
                bar.addWidget(widget)
            else:
                bar.addAction(found[name])
                self._tool_button(bar, found[name], with_text=name in workspace.WITH_TEXT)
        self.addToolBar(bar)
        bar.hide()
        return bar

    @staticmethod
    def _tool_button(bar: QToolBar, action: QAction, *, with_text: bool) -> None:
        button = bar.widgetForAction(action)
        if isinstance(button, QToolButton):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            if with_text:
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)

    def _make_switch(self) -> None:
        """One action a workspace, as soon as there is a choice."""
        self._switches: list[QAction] = []
        if len(self.workspaces) < 2:
            return
        group = QActionGroup(self)
        for index, workspace in enumerate(self.workspaces.values(), 1):
            action = QAction(workspace.TITLE, group)
            action.setObjectName(f"workspace_{workspace.NAME}")
            action.setCheckable(True)
            action.setShortcut(QKeySequence(f"Alt+{index}"))
            action.setToolTip(actions.with_keys(f"Go to {workspace.TITLE}", (f"Alt+{index}",)))
            action.triggered.connect(partial(self.show_workspace, workspace.NAME))
            self.addAction(action)
            self._switches.append(action)

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
        bar.addWidget(self.activity, 1)
        bar.addWidget(self.progress)
        self._activities: dict[str, Activity] = {}

    def _make_status(self, workspace: Workspace) -> QWidget:
        part = QWidget()
        row = QHBoxLayout(part)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in workspace.status_widgets():
            row.addWidget(widget)
        self.statusBar().addPermanentWidget(part)
        part.hide()
        return part

    # what they show

    def show_workspace(self, name: str, *_: object) -> None:
        """Bring a workspace to the front."""
        before, self.front = self.front, self.workspaces[name]
        if before is not self.front:
            before.leave()
        for other, bar in self._tool_bars.items():
            bar.setVisible(other == name)
            self._status[other].setVisible(other == name)
            for menu in self._menus[other]:
                menu.setVisible(other == name)
        for switch in self._switches:
            switch.setChecked(switch.objectName() == f"workspace_{name}")
        self.stack.setCurrentWidget(self.front)
        self._changed(self.front)
        self._show_activity(self.front, self._activities.get(name, Activity()))
        self.front.enter()
        focused = QApplication.focusWidget()
        if focused is None or not self.front.isAncestorOf(focused):
            self.front.setFocus(Qt.FocusReason.OtherFocusReason)  # else Qt marks the first tool

    def _bring(self, name: str, request: object) -> None:
        self.show_workspace(name)
        self.front.receive(request)

    def _changed(self, workspace: Workspace) -> None:
        workspace.update_actions(self._actions[workspace.NAME])
        if workspace is not self.front:
            return
        document = workspace.document()
        self.setWindowTitle(f"{document} – {TITLE}" if document else TITLE)
        self.setWindowModified(workspace.unsaved and "[*]" in document)
        self._shared[f"theme_{self._theme.choice}"].setChecked(True)

    def _show_activity(self, workspace: Workspace, activity: Activity) -> None:
        self._activities[workspace.NAME] = activity
        if workspace is not self.front:
            return
        self.activity.setText(activity.text or "Ready")
        self.progress.setVisible(bool(activity.text))
        if activity.fraction is None:
            self.progress.setRange(0, 0)
        else:
            self.progress.setRange(0, 1000)
            self.progress.setValue(round(activity.fraction * 1000))

    def _colour(self) -> None:
        actions.colour_actions(self._shared, actions.SHARED, self._theme)
        for workspace in self.workspaces.values():
            actions.colour_actions(self._actions[workspace.NAME], workspace.ACTIONS, self._theme)
        tokens = self._theme.tokens
        for switch, workspace in zip(self._switches, self.workspaces.values(), strict=False):
            switch.setIcon(icons.icon(workspace.ICON, tokens.text, tokens.groove, tokens.accent))

    # coming and going

    def _restore(self) -> None:
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
        """Ask first where work would be lost; what is under way and must be finished is finished."""
        if not self._leaving and any(w.busy_closing for w in self.workspaces.values()):
            event.ignore()
            if not self._asking:
                self._asking = True
                self.front.tasks.start(self._leave())
            return
        self.settings.set("window/geometry", self.saveGeometry())
        for workspace in self.workspaces.values():
            workspace.remember()
        self.settings.sync()
        event.accept()
        self.closed.emit()

    async def _leave(self) -> None:
        try:
            for name, workspace in self.workspaces.items():
                if workspace.busy_closing:
                    self.show_workspace(name)
                    if not await workspace.may_close():
                        return
            self._leaving = True
            self.close()
        finally:
            self._asking = False

    async def close_down(self) -> None:
        """The window is closed: end what its workspaces have under way."""
        await asyncio.gather(*(workspace.close_down() for workspace in self.workspaces.values()))
