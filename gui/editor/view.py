"""The Edit workspace: the canvas, the panel, the message bar, and how they hang together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QApplication, QMenu, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.faces.frame import Frame
from core.installed import CARD, default_model, installed_models
from gui.editor import actions, panel
from gui.editor.compare_view import CompareView
from gui.editor.files import EditorFiles, dropped_file, same_file
from gui.editor.frame_bar import FrameBar
from gui.editor.frame_tool import FrameTool, first_frame
from gui.editor.layers import Picture
from gui.editor.panel import Panel
from gui.editor.refiner import Refiner
from gui.editor.session import Session
from gui.editor.state import EditorState
from gui.editor.tools import EditorTools, fill_recent
from gui.widgets.drop_area import DropArea
from gui.workspace import Services, Workspace


class EditorView(Workspace):
    """The editor."""

    NAME, TITLE, ICON = "edit", "Edit", "edit"
    ACTIONS, MENUS, SUBMENUS = actions.ACTIONS, actions.MENUS, actions.SUBMENUS
    TOOLBAR, WITH_TEXT, OTHER_KEYS = actions.TOOLBAR, actions.WITH_TEXT, actions.OTHER_KEYS

    opened = Signal()  # a photo was opened, and is among the recent ones

    def __init__(self, services: Services, model: Path | None = None) -> None:
        chosen = services.settings.get("editor/model")
        # a model that was removed meanwhile is no reason not to start
        self._model = model or (Path(chosen) if chosen and (Path(chosen) / CARD).is_file() else None)
        super().__init__(services)
        theme, settings = services.theme, services.settings
        self.setAcceptDrops(True)
        self.settings = settings
        self.files = EditorFiles(self, self.state, self.session, settings, self.opened.emit)
        self.drop_area = DropArea(theme)
        self.canvas = CompareView(theme)
        self.canvas.set_mode(settings.get("editor/compare"))
        self.frame_bar = FrameBar(self.canvas)
        self.panel = Panel(self.state, self.refiner, theme)
        self.tools = EditorTools(self)
        self._lay_out()
        self._connect()
        self.show_recent()

    def make_tasks(self) -> Session:
        """The session's: it is the editor's side of the worker."""
        self.state = EditorState(self)
        self.session = Session(self.state, self.services.worker, self._model, parent=self)
        self.refiner = Refiner(self.state, self.session, self)
        return self.session

    def _lay_out(self) -> None:
        self.stack = QStackedWidget()
        self.stack.addWidget(self.drop_area)
        self.stack.addWidget(self.canvas)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setHandleWidth(1)
        self.splitter.addWidget(self.stack)
        self.splitter.addWidget(self.panel)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        self.panel.setMinimumWidth(264)
        self.panel.setMaximumWidth(520)
        self.splitter.setSizes([1000, panel.WIDTH])
        self.splitter.restoreState(self.settings.get("editor/splitter"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.messages)
        column.addWidget(self.splitter, 1)

    def _connect(self) -> None:
        state, session, canvas = self.state, self.session, self.canvas
        session.activity_changed.connect(self.activity_changed)
        session.opened.connect(self._opened)
        session.rendered.connect(self._rendered)
        state.recipe_changed.connect(self._show_faces)
        state.face_changed.connect(self._show_faces)
        for signal in (state.photo_changed, state.face_changed, state.model_changed, state.undo.indexChanged):
            signal.connect(self._tell_changed)
        state.undo.cleanChanged.connect(self._tell_changed)
        self.services.device_wanted.connect(self._free_device)
        self.refiner.changed.connect(self._tell_changed)
        canvas.face_clicked.connect(state.choose_face)
        canvas.view_changed.connect(self._want_detail)
        canvas.view_changed.connect(self.tools.show_zoom)
        self.opened.connect(self.show_recent)
        session.failed.connect(self.show_recent)
        state.photo_changed.connect(self.tools.show_photo)
        canvas.frame_changed.connect(self._frame_changed)
        canvas.frame_accepted.connect(self.accept_frame)
        canvas.frame_cancelled.connect(canvas.end_tool)
        self.frame_bar.accepted.connect(self.accept_frame)
        self.frame_bar.cancelled.connect(canvas.end_tool)
        self.panel.frame_wanted.connect(self.adjust_frame)
        self.drop_area.open_wanted.connect(self.ask_open)
        self.drop_area.sample_wanted.connect(self.open_sample)
        self.drop_area.recent_wanted.connect(self.open)

    # for the window

    def handlers(self) -> dict[str, Callable[..., object]]:
        """What the editor's actions do."""
        canvas, state, session, files = self.canvas, self.state, self.session, self.files
        return {
            "open": self.ask_open,
            "save_as": self.ask_save,
            "open_recipe": lambda: session.start(files.ask_open_recipe()),
            "save_recipe": lambda: session.start(files.ask_save_recipe()),
            "undo": state.undo.undo,
            "redo": state.undo.redo,
            "reset": state.reset_face,
            "next_face": lambda: state.step_face(1),
            "previous_face": lambda: state.step_face(-1),
            "refine": self.refiner.toggle,
            "adjust_frame": self.adjust_frame,
            "add_frame": self.add_frame,
            "boxes": canvas.set_boxes,
            "split": lambda _: self.set_mode("split"),
            "side_by_side": lambda _: self.set_mode("side_by_side"),
            "single": lambda _: self.set_mode("single"),
            "zoom_in": lambda: canvas.zoom_step(1),
            "zoom_out": lambda: canvas.zoom_step(-1),
            "fit": canvas.fit,
            "actual_size": canvas.actual_size,
        }

    def submenus(self) -> dict[str, Callable[[QMenu], None]]:
        """The photos opened lately, and the models there are."""
        return {"recent": self._fill_recent, "model": self._fill_models}

    def tool_widget(self, name: str) -> QWidget | None:
        """The button to hold."""
        return self.tools.hold if name == "hold" else None

    def status_widgets(self) -> list[QWidget]:
        """Size of the photo and zoom."""
        return self.tools.status

    def update_actions(self, actions: Mapping[str, QAction]) -> None:
        """As the photo, the face and the frame tool allow."""
        self.tools.update(actions)

    def document(self) -> str:
        """The photo's name."""
        return f"{self.state.photo.path.name}[*]" if self.state.photo is not None else ""

    @property
    def unsaved(self) -> bool:
        """Whether there are edits that no file has."""
        return self.state.unsaved

    @property
    def busy_closing(self) -> bool:
        """Whether there is something to ask or to wait for."""
        return self.state.unsaved or self.session.saving > 0

    async def may_close(self) -> bool:
        """Finish a save that is under way, then ask about edits that no file has."""
        await self.session.saved()
        return await self.files.may_leave()

    def leave(self) -> None:
        """A held key is let go: its release will not come here."""
        self.canvas.set_holding(False)

    def remember(self) -> None:
        """Keep the layout for the next start."""
        self.settings.set("editor/splitter", self.splitter.saveState())

    def show_recent(self, *_: object) -> None:
        """Offer the photos opened lately."""
        self.drop_area.set_recent(self.settings.recent())

    def _fill_recent(self, menu: QMenu) -> None:
        fill_recent(menu, self.settings.recent(), self.open, self._clear_recent)

    def _fill_models(self, menu: QMenu) -> None:
        menu.clear()
        used = self.session.model or default_model()
        for model in installed_models():
            action = menu.addAction(model.title.replace("&", "&&"))
            action.setCheckable(True)
            action.setChecked(same_file(model.folder, used))
            action.setToolTip(str(model.folder))
            action.triggered.connect(lambda _=False, folder=model.folder: self.use_model(folder))

    def use_model(self, folder: Path) -> None:
        """Edit with another model from now on, also after the next start."""
        self.session.start(self._use_model(folder))

    async def _use_model(self, folder: Path) -> None:
        await self.session.use_model(folder)
        self.settings.set("editor/model", str(folder))

    def _free_device(self, reason: str) -> None:
        self.session.start(self.session.free_device())
        self.messages.show_info(reason, "The next edit loads the model again.")

    def receive(self, request: object) -> None:
        """A model's folder: edit with it. A photo: open it."""
        if isinstance(request, Path):
            if request.is_dir():
                self.use_model(request)
            else:
                self.open(request)

    def _clear_recent(self) -> None:
        self.settings.clear_recent()
        self.show_recent()

    def _tell_changed(self, *_: object) -> None:
        self.changed.emit()

    # files

    def ask_open(self) -> None:
        """Let a person choose a photo."""
        self.session.start(self.files.ask_open())

    def open(self, path: Path) -> None:
        """Open a photo, or the photo of a recipe."""
        recipe = path.name.lower().endswith(".json")
        self.session.start(self.files.open_recipe(path) if recipe else self.files.open(path))

    def open_sample(self) -> None:
        """Open the photo that came with the program, as a copy."""
        self.session.start(self.files.open_sample())

    def ask_save(self) -> None:
        """Let a person choose where to save."""
        if self.state.photo is not None:
            self.session.start(self.files.ask_save())

    def _opened(self, picture: Picture) -> None:
        self.messages.hide()
        self.canvas.set_picture(picture)
        self.stack.setCurrentWidget(self.canvas)
        focused = QApplication.focusWidget()
        if focused is None or not focused.isVisible():
            self.canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    def _rendered(self, number: int, picture: Picture, patches: object) -> None:
        if picture is not self.canvas.picture:
            self.canvas.set_picture(picture, keep_view=True)
        self.canvas.show_patches(patches, number)  # type: ignore[arg-type]

    def _want_detail(self) -> None:
        picture = self.canvas.picture
        if picture is not None:
            # with some slack to either side, so that it does not go back and forth
            usual = self.state.photo.scale if self.state.photo is not None else 1.0
            zoom = self.canvas.viewport.zoom
            if zoom > usual * 1.3:
                self.session.want_detail(True)
            elif zoom < usual * 1.1:
                self.session.want_detail(False)

    # faces

    def _show_faces(self) -> None:
        recipe = self.state.recipe
        frames = tuple(face.frame for face in recipe.faces) if recipe is not None else ()
        if (frames, self.state.chosen) != (self.canvas.faces, self.canvas.chosen):
            self.canvas.set_faces(frames, self.state.chosen)

    def adjust_frame(self) -> None:
        """Let a person move the chosen face's frame, or place the first one."""
        photo, face = self.state.photo, self.state.face
        if photo is None:
            return
        size = (photo.width, photo.height)
        frame = face.frame if face is not None else first_frame(*size)
        self._begin_frame(frame, self.state.chosen if face is not None else None)

    def add_frame(self) -> None:
        """Let a person place a frame around another face."""
        photo = self.state.photo
        if photo is not None:
            self._begin_frame(first_frame(photo.width, photo.height), None)

    def _begin_frame(self, frame: Frame, index: int | None) -> None:
        photo = self.state.photo
        assert photo is not None
        self.canvas.set_holding(False)
        self.canvas.begin_tool(FrameTool(frame, (photo.width, photo.height), index))

    def accept_frame(self) -> None:
        """Use the frame as it is placed."""
        tool = self.canvas.tool
        if tool is not None:
            self.canvas.end_tool()
            self.state.set_frame(tool.frame, tool.index)

    def _frame_changed(self) -> None:
        shown = self.canvas.tool is not None
        if shown != self.frame_bar.isVisibleTo(self.canvas):
            self.frame_bar.setVisible(shown)
            self.panel.setEnabled(not shown)
            self.changed.emit()

    # comparing

    def set_mode(self, mode: str) -> None:
        """`split`, `side_by_side` or `single`, remembered."""
        self.canvas.set_mode(mode)
        self.settings.set("editor/compare", mode)
        self.changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """B shows before while it is held; Escape closes a message."""
        if event.key() == Qt.Key.Key_B and not event.modifiers():
            if not event.isAutoRepeat():
                self.canvas.set_holding(self.canvas.tool is None)
        elif event.key() == Qt.Key.Key_Escape and not self.messages.isHidden():
            self.messages.hide()
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """B let go."""
        if event.key() == Qt.Key.Key_B:
            if not event.isAutoRepeat():
                self.canvas.set_holding(False)
        else:
            super().keyReleaseEvent(event)

    # drag and drop

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take one file."""
        if dropped_file(event.mimeData()) is not None:
            event.acceptProposedAction()
            self.drop_area.set_hot(True)

    def dragLeaveEvent(self, _event: QDragLeaveEvent) -> None:
        """It went elsewhere."""
        self.drop_area.set_hot(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        self.drop_area.set_hot(False)
        path = dropped_file(event.mimeData())
        if path is not None:
            event.acceptProposedAction()
            self.open(path)
