"""The Curate workspace: start page, grid, large view, panel, and how they hang together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.annotate.precision import sample_to_check
from core.attributes import AttributeSet
from core.clip.choices import ClipChoice
from core.collection import Collection
from core.errors import StudioError
from gui import about
from gui.actions import ActionSpec
from gui.curator import actions
from gui.curator.files import CuratorFiles, dropped_folder
from gui.curator.grid import Grid
from gui.curator.keys import Keys
from gui.curator.labelling import Labelling
from gui.curator.large import LargeView
from gui.curator.ordering import Arrangement
from gui.curator.panel import Panel
from gui.curator.session import CuratorSession
from gui.curator.start import StartPage
from gui.curator.state import CuratorState
from gui.curator.thumbnails import Thumbnails
from gui.curator.work_bar import WorkBar
from gui.widgets.elided_label import ElidedLabel
from gui.workspace import Services, Workspace

CHECKS = 20  # labels to check at a time
NEEDS_FOLDER = (
    *("close_folder", "import_labels", "export_labels", "train", "large", "arrange"),
    *("zoom_in", "zoom_out", "next_attribute", "previous_attribute"),
)
NEEDS_IMAGE = (
    *("select_all", "set_none", "accept", "reject", "skip", "unset", "next_uncertain"),
    *("accept_above", "accept_below", "reject_above", "reject_below"),
)


class CuratorView(Workspace):
    """Label the images of a folder by hand, with CLIP's help."""

    NAME, TITLE, ICON = "curate", "Curate", "curate"
    ACTIONS, MENUS, SUBMENUS = actions.ACTIONS, actions.MENUS, actions.SUBMENUS
    TOOLBAR, WITH_TEXT, OTHER_KEYS = actions.TOOLBAR, actions.WITH_TEXT, actions.OTHER_KEYS

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        theme, settings = services.theme, services.settings
        self.settings = settings
        self.setAcceptDrops(True)
        self.start_page = StartPage(theme)
        self.grid = Grid(self.state, self.thumbnails, theme)
        self.large = LargeView(self.state, self.thumbnails, theme)
        self.panel = Panel(self.state, self.session, theme)
        self.work_bar = WorkBar()
        self.labelling = Labelling(self.state, self.session, self.grid)
        self.files = CuratorFiles(self, self.state, self.session, settings)
        self.session.work.ask_download = self.files.ask_download
        self.keys = Keys(self, settings)
        self._samples = 0  # how often labels were picked to be checked
        self.place = ElidedLabel()
        self.news = ElidedLabel()
        self._lay_out()
        self._connect()
        side = settings.get("curator/tile")
        if side.isdigit():
            self.grid.set_side(max(72, min(320, int(side))))
        self.show_recent()

    def make_tasks(self) -> CuratorSession:
        """The session's."""
        self.state = CuratorState(self)
        self.thumbnails = Thumbnails(self)
        self.session = CuratorSession(self.state, self.thumbnails, parent=self)
        return self.session

    def _lay_out(self) -> None:
        self.middle = QStackedWidget()
        self.middle.addWidget(self.grid)
        self.middle.addWidget(self.large)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setHandleWidth(1)
        self.splitter.addWidget(self.middle)
        self.splitter.addWidget(self.panel)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        self.panel.setMinimumWidth(280)
        self.panel.setMaximumWidth(560)
        self.splitter.setSizes([1000, 320])
        self.splitter.restoreState(self.settings.get("curator/splitter"))
        self.stack = QStackedWidget()
        self.stack.addWidget(self.start_page)
        self.stack.addWidget(self.splitter)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.messages)
        column.addWidget(self.work_bar)
        column.addWidget(self.stack, 1)

    def _connect(self) -> None:
        state, session, grid, start = self.state, self.session, self.grid, self.start_page
        session.activity_changed.connect(self.activity_changed)
        session.work.changed.connect(self.work_bar.show_work)
        session.said.connect(self.news.setText)
        session.travelled.connect(self._travelled)
        self.work_bar.stop_wanted.connect(session.work.stop)
        self.work_bar.go_on_wanted.connect(session.work.go_on)
        start.folder_wanted.connect(self.ask_open)
        start.recent_wanted.connect(self.open)
        start.set_file_wanted.connect(lambda: session.start(self.files.ask_set(start)))
        start.models.other_wanted.connect(lambda: session.start(self.files.ask_model(start.models)))
        state.collection_changed.connect(self._collection_changed)
        for signal in (
            state.attribute_changed,
            state.labels_changed,
            state.shown_changed,
            state.scores_changed,
        ):
            signal.connect(lambda *_: self._tell_changed())
        grid.moved.connect(self._moved)
        grid.large_wanted.connect(lambda: self.set_large(True))
        grid.zoomed.connect(lambda side: self.settings.set("curator/tile", str(side)))
        self.large.left.connect(lambda: self.set_large(False))
        self.large.step_wanted.connect(lambda step: grid.go_to(grid.currentIndex().row() + step))
        panel = self.panel
        panel.label.attribute_wanted.connect(lambda name: session.start(session.choose_attribute(name)))
        panel.label.arrangement_wanted.connect(session.set_arrangement)
        panel.label.edit_wanted.connect(lambda: session.start(self.files.edit_attributes()))
        panel.label.rule.rule_wanted.connect(session.set_rule)
        panel.label.rule.apply_wanted.connect(lambda: session.start(session.apply_rule()))
        panel.prompts.prompts_typed.connect(lambda: session.start(session.score()))
        panel.prompts.prompts_kept.connect(
            lambda value, prompts: session.start(session.keep_prompts(value, prompts))
        )
        panel.prompts.models.other_wanted.connect(
            lambda: session.start(self.files.ask_model(panel.prompts.models))
        )
        panel.prompts.models.model_chosen.connect(session.work.choose_model)
        state.scores_changed.connect(self._show_model)
        panel.learn.review_wanted.connect(self._review)
        panel.learn.check_wanted.connect(self._check)
        panel.learn.apply_wanted.connect(lambda: session.start(self._take_learned()))
        panel.quality.conflicts_wanted.connect(lambda: self.show_only(show="conflicts", order="conflict"))
        panel.quality.duplicates_wanted.connect(lambda: session.start(self._find_duplicates()))
        panel.quality.images_wanted.connect(state.set_shown)

    # for the window

    def handlers(self) -> dict[str, Callable[..., object]]:
        """What the actions do."""
        session, labelling, grid, files = self.session, self.labelling, self.grid, self.files
        values = {
            f"set_{i}": (lambda i=i: labelling.set_value(i - 1)) for i in range(1, actions.MOST_KEYS + 1)
        }
        return {
            **values,
            "open_folder": self.ask_open,
            "close_folder": lambda: session.start(session.close_collection()),
            "import_labels": lambda: session.start(files.ask_import()),
            "export_labels": lambda: session.start(files.ask_export()),
            "train": self.train,
            "undo": lambda: session.start(session.travel(False)),
            "redo": lambda: session.start(session.travel(True)),
            "select_all": grid.selectAll,
            "set_none": lambda: labelling.set_value(-1),
            "accept": labelling.accept,
            "reject": labelling.reject,
            "skip": grid.go_on,
            "unset": labelling.unset,
            "next_uncertain": self._next_uncertain,
            "accept_above": lambda: labelling.accept_rows(True),
            "accept_below": lambda: labelling.accept_rows(False),
            "reject_above": lambda: labelling.reject_rows(True),
            "reject_below": lambda: labelling.reject_rows(False),
            "next_attribute": lambda: self._step_attribute(1),
            "previous_attribute": lambda: self._step_attribute(-1),
            "large": self.set_large,
            "zoom_in": lambda: grid.zoom(1),
            "zoom_out": lambda: grid.zoom(-1),
            "arrange": lambda: session.start(session.arrange()),
            "keys": lambda: session.start(about.show_shortcuts(self, self)),
            "change_keys": lambda: session.start(self.keys.ask()),
        }

    def specs(self) -> tuple[ActionSpec, ...]:
        """The actions, with other keys where a person chose others."""
        return self.keys.specs()

    def status_widgets(self) -> list[QWidget]:
        """What was done last, and where a person is."""
        return [self.news, self.place]

    def update_actions(self, actions: Mapping[str, QAction]) -> None:
        """As the folder and the selection allow."""
        self.keys.take(actions, (self.grid, self.large))
        state = self.state
        open_now, images = state.known is not None, len(state.shown) > 0
        for name in NEEDS_FOLDER:
            actions[name].setEnabled(open_now)
        for name in NEEDS_IMAGE:
            actions[name].setEnabled(open_now and images)
        values = state.attribute.values if state.attribute is not None else ()
        for i in range(1, 10):
            action = actions[f"set_{i}"]
            action.setEnabled(open_now and images and i <= len(values))
        for name, title in (("undo", state.undo_title), ("redo", state.redo_title)):
            action = actions[name]
            action.setEnabled(open_now and title is not None)
            action.setText(f"&{name.title()}{f': {title}' if title else ''}".replace("&&", "&"))
            self.keys.show_tip(action, f"{name.title()}: {title}" if title else name.title())
        actions["large"].setChecked(self.middle.currentWidget() is self.large)

    def document(self) -> str:
        """The folder's name."""
        return self.state.collection.folder.name if self.state.collection is not None else ""

    @property
    def busy_closing(self) -> bool:
        """While labels are on their way to the disk."""
        return self.session.writing

    async def may_close(self) -> bool:
        """Wait for the labels."""
        import asyncio

        while self.session.writing:
            await asyncio.sleep(0.01)
        return True

    def enter(self) -> None:
        """Keys go to the grid."""
        if self.state.known is not None:
            self._middle_now().setFocus(Qt.FocusReason.OtherFocusReason)

    def receive(self, request: object) -> None:
        """A folder to label."""
        if isinstance(request, Path):
            self.open(request)

    def remember(self) -> None:
        """Keep the layout for the next start."""
        self.settings.set("curator/splitter", self.splitter.saveState())

    async def close_down(self) -> None:
        """End the threads; labels that were given are written first."""
        self.panel.learner.stop()
        await super().close_down()
        self.thumbnails.close()

    # folders

    def ask_open(self) -> None:
        """Let a person choose a folder."""
        self.session.start(self.files.ask_open())

    def open(self, folder: Path) -> None:
        """Open a folder, with the start page's attributes and model where it has no collection yet."""
        self.session.start(self._open(folder))

    async def _open(self, folder: Path) -> None:
        start = self.start_page
        attributes: AttributeSet | None = None
        choice: ClipChoice | None = None
        if not folder.is_dir():
            raise StudioError(f"{folder} is not a folder.", "Choose a folder of images.")
        if not Collection.exists(folder):
            attributes, choice = start.attributes(), start.models.choice
        start.set_working(True)
        self.messages.hide()
        try:
            if await self.session.open(folder, attributes, choice):
                recent = [str(folder), *(r for r in self.settings.get("curator/recent") if r != str(folder))]
                self.settings.set("curator/recent", recent[:8])
                self.show_recent()
                if self.isVisible():
                    self.enter()
        finally:
            start.set_working(False)

    def show_recent(self) -> None:
        """Offer the folders opened lately that are still there."""
        folders = [Path(text) for text in self.settings.get("curator/recent")]
        self.start_page.set_recent([folder for folder in folders if folder.is_dir()])

    def train(self) -> None:
        """Go to Train with this folder."""
        if self.state.collection is not None:
            self.services.wanted.emit("train", self.state.collection.folder)

    def _collection_changed(self) -> None:
        open_now = self.state.collection is not None
        self.stack.setCurrentWidget(self.splitter if open_now else self.start_page)
        self.set_large(False)
        self.news.setText("")
        if not open_now:
            self.place.setText("")
        self._tell_changed()

    # what is seen

    def set_large(self, on: bool) -> None:
        """Show one image large, or the grid."""
        on = on and self.state.known is not None
        self.middle.setCurrentWidget(self.large if on else self.grid)
        if on:
            self.large.show_position(self.grid.position)
        elif self.state.known is not None:
            self.grid.scroll_to_current()
        if self.isVisible() and self.state.known is not None:
            self._middle_now().setFocus(Qt.FocusReason.OtherFocusReason)
        self._tell_changed()

    def _middle_now(self) -> QWidget:
        return self.large if self.middle.currentWidget() is self.large else self.grid

    def _moved(self) -> None:
        if self.middle.currentWidget() is self.large:
            self.large.show_position(self.grid.position)
        row = self.grid.currentIndex().row()
        total = len(self.state.shown)
        self.place.setText(f"{row + 1:,} of {total:,}" if row >= 0 else "")

    def _travelled(self, positions: np.ndarray) -> None:
        rows = self.grid.images.rows_of(positions)
        if len(rows):
            self.grid.go_to(int(rows[0]))

    def _next_uncertain(self) -> None:
        if not self.labelling.next_uncertain():
            self.news.setText("No image here that CLIP is unsure of.")

    def _show_model(self) -> None:
        annotator = self.session.work.annotator
        if annotator is not None:
            models = self.panel.prompts.models
            models.choose(annotator.choice)
            domain = annotator.domain
            self.panel.prompts.domain.setText(f"It knows {domain}." if domain else annotator.choice.about)

    def _review(self) -> None:
        proposals = self.panel.learner.proposals
        if proposals is not None:
            rows = np.flatnonzero(proposals.differs)
            self.state.set_shown(rows[np.argsort(-proposals.probability[rows], kind="stable")])
            self.news.setText("The proposals, the surest first. Correct them by keys, then take them over.")

    def _check(self, value: int) -> None:
        known = self.state.known
        if known is not None:
            self.state.set_shown(sample_to_check(known.labels, value, CHECKS, self._samples))
            self._samples += 1
            self.news.setText("Picked at random. Accept those that are right, correct the others.")
            self.enter()

    async def _take_learned(self) -> None:
        learner = self.panel.learner
        if learner.probe is not None and learner.proposals is not None:
            shown = self.state.shown[learner.proposals.differs[self.state.shown]]
            known = self.state.known
            if known is not None:  # what was corrected meanwhile stays
                shown = shown[~known.labels.settled[shown]]
            await self.session.take_learned(learner.probe, learner.proposals, shown)

    async def _find_duplicates(self) -> None:
        groups, found = await self.session.find_duplicates()
        self.panel.quality.show_duplicates(groups, found)

    def _step_attribute(self, step: int) -> None:
        collection = self.state.collection
        if collection is not None:
            names = [attribute.name for attribute in collection.attributes]
            at = (names.index(self.state.attribute_name) + step) % len(names)
            self.session.start(self.session.choose_attribute(names[at]))

    def _tell_changed(self) -> None:
        self.changed.emit()

    def show_only(self, **arrangement: object) -> None:
        """Filter and order from outside the panel's first page."""
        self.session.set_arrangement(Arrangement(**arrangement))  # type: ignore[arg-type]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes a message."""
        if event.key() == Qt.Key.Key_Escape and not self.messages.isHidden():
            self.messages.hide()
        else:
            super().keyPressEvent(event)

    # drag and drop

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take one folder."""
        if dropped_folder(event.mimeData()) is not None:
            event.acceptProposedAction()
            self.start_page.set_hot(True)

    def dragLeaveEvent(self, _event: QDragLeaveEvent) -> None:
        """It went elsewhere."""
        self.start_page.set_hot(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        self.start_page.set_hot(False)
        folder = dropped_folder(event.mimeData())
        if folder is not None:
            event.acceptProposedAction()
            self.open(folder)
