"""The Edit workspace: the canvas, the panel, the message bar, and how they hang together."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QApplication, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.faces.frame import Frame
from core.worker import Worker
from gui.editor import panel
from gui.editor.compare_view import CompareView
from gui.editor.files import EditorFiles, dropped_file
from gui.editor.frame_bar import FrameBar
from gui.editor.frame_tool import FrameTool, first_frame
from gui.editor.layers import Picture
from gui.editor.panel import Panel
from gui.editor.session import Session
from gui.editor.state import EditorState
from gui.settings import Settings
from gui.theme import Theme
from gui.widgets.drop_area import DropArea
from gui.widgets.message_bar import MessageBar


class EditorView(QWidget):
    """The editor. `changed` is emitted when what can be done now may have changed."""

    changed = Signal()
    opened = Signal()  # a photo was opened, and is among the recent ones

    def __init__(self, theme: Theme, settings: Settings, worker: Worker, model: Path | None) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.settings = settings
        self.state = EditorState(self)
        self.session = Session(self.state, worker, model, parent=self)
        self.files = EditorFiles(self, self.state, self.session, settings, self.opened.emit)
        self.messages = MessageBar(theme)
        self.drop_area = DropArea(theme)
        self.canvas = CompareView(theme)
        self.canvas.set_mode(settings.get("editor/compare"))
        self.frame_bar = FrameBar(self.canvas)
        self.panel = Panel(self.state, theme)
        self._lay_out()
        self._connect()
        self.drop_area.set_recent(settings.recent())

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
        session.failed.connect(self.messages.show_error)
        session.opened.connect(self._opened)
        session.rendered.connect(self._rendered)
        state.recipe_changed.connect(self._show_faces)
        state.face_changed.connect(self._show_faces)
        for signal in (state.photo_changed, state.face_changed, state.model_changed, state.undo.indexChanged):
            signal.connect(self._tell_changed)
        state.undo.cleanChanged.connect(self._tell_changed)
        canvas.face_clicked.connect(state.choose_face)
        canvas.view_changed.connect(self._want_detail)
        canvas.frame_changed.connect(self._frame_changed)
        canvas.frame_accepted.connect(self.accept_frame)
        canvas.frame_cancelled.connect(canvas.end_tool)
        self.frame_bar.accepted.connect(self.accept_frame)
        self.frame_bar.cancelled.connect(canvas.end_tool)
        self.panel.frame_wanted.connect(self.adjust_frame)
        self.drop_area.open_wanted.connect(self.ask_open)
        self.drop_area.recent_wanted.connect(self.open)

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
