"""The Train workspace: the runs at the left, the chosen one at the right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import QLabel, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.jobs import JobSpec, RunInfo
from gui.trainer import actions, words
from gui.trainer.commands import Commands
from gui.trainer.new_job import NewJob
from gui.trainer.run_list import RunList
from gui.trainer.run_page import RunPage
from gui.trainer.start import StartPage
from gui.trainer.state import TrainerState
from gui.workspace import Activity, Services, Workspace


class TrainerView(Workspace):
    """Training jobs. What trains goes on when the window is closed."""

    NAME, TITLE, ICON = "train", "Train", "train"
    ACTIONS, MENUS, SUBMENUS = actions.ACTIONS, actions.MENUS, actions.SUBMENUS
    TOOLBAR, WITH_TEXT, OTHER_KEYS = actions.TOOLBAR, actions.WITH_TEXT, actions.OTHER_KEYS

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        theme = services.theme
        self.state = TrainerState(self.tasks, self)
        self.commands = Commands(self, self.state, services, self.tasks)
        self.dialog: NewJob | None = None
        self._activity = Activity()
        self._kept: set[Path] | None = None  # models that runs have put among the user's; None before a look
        self.start_page = StartPage(theme)
        self.runs = RunList(theme)
        self.page = RunPage(self.state, theme)
        self._nothing = QLabel("Choose a run at the left.")
        self._nothing.setProperty("role", "muted")
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.pages = QStackedWidget()
        self.pages.addWidget(self._nothing)
        self.pages.addWidget(self.page)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setHandleWidth(1)
        self.splitter.addWidget(self.runs)
        self.splitter.addWidget(self.pages)
        self.splitter.setStretchFactor(1, 1)
        self.runs.setMinimumWidth(220)
        self.runs.setMaximumWidth(460)
        self.splitter.setSizes([300, 980])
        self.splitter.restoreState(services.settings.get("train/splitter"))
        self.stack = QStackedWidget()
        for widget in (QWidget(), self.start_page, self.splitter):
            self.stack.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.messages)
        column.addWidget(self.stack, 1)
        self._connect()

    def _connect(self) -> None:
        state = self.state
        state.runs_changed.connect(self._show_runs)
        state.looked.connect(self._looked)
        state.chosen_changed.connect(self._chosen)
        self.runs.run_chosen.connect(state.choose)
        self.page.slow_wanted.connect(self.commands.show_slow)
        self.page.banner.resume_wanted.connect(self.commands.resume)
        self.start_page.new_wanted.connect(self.new_job)

    # for the window

    def handlers(self) -> dict[str, Callable[..., object]]:
        """What the actions do."""
        commands = self.commands
        own: dict[str, Callable[..., object]] = {
            spec.name: getattr(commands, spec.name) for spec in actions.ACTIONS if spec.name != "new_job"
        }
        return {"new_job": self.new_job, **own}

    def update_actions(self, actions: Mapping[str, QAction]) -> None:
        """As the chosen run allows."""
        if not self.runs.actions():  # the run's menu is also that of a right click
            self.runs.addActions([actions[name] for name in self.MENUS["&Run"] if name is not None])
        info = self.state.info
        possible = self.commands.possible(info)
        for name, action in actions.items():
            action.setEnabled(name in possible)
        resume = "&Start" if info is not None and info.state == "paused" and not info.done else "&Resume"
        if actions["resume"].text() != resume:
            actions["resume"].setText(resume)

    def document(self) -> str:
        """The chosen run's title."""
        return self.state.info.title if self.state.info is not None else ""

    def enter(self) -> None:
        """Look often from now on."""
        self.state.begin(front=True)

    def leave(self) -> None:
        """Look now and then: the queue goes on."""
        if self.state.begun:
            self.state.begin(front=False)

    def receive(self, request: object) -> None:
        """A folder to train on."""
        self.new_job(Path(request) if isinstance(request, (str, Path)) else None)

    def remember(self) -> None:
        """Keep the layout for the next start."""
        self.services.settings.set("train/splitter", self.splitter.saveState())

    async def close_down(self) -> None:
        """The window is gone. Runs go on: they are processes of their own."""
        if self.dialog is not None:
            self.dialog.close()
        await super().close_down()
        self.state.close()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes a message."""
        if event.key() == Qt.Key.Key_Escape and not self.messages.isHidden():
            self.messages.hide()
        else:
            super().keyPressEvent(event)

    # a new run

    def new_job(self, data: Path | None = None) -> None:
        """Ask for a new training, on `data` if it is known."""
        if self.dialog is None:
            self.tasks.start(self._new_job(data))
        elif data is not None:
            self.dialog.set_data(data)

    async def _new_job(self, data: Path | None) -> None:
        from gui.widgets import asking

        self.dialog = NewJob(self, self.services, self.tasks, data)
        try:
            accepted = await asking.finished(self.dialog)
            spec = self.dialog.spec
        finally:
            self.dialog = None
        if accepted and spec is not None:
            await self.start_job(spec)

    async def start_job(self, spec: JobSpec) -> None:
        """Put a job into the queue and show it."""
        info: RunInfo = await self.state.do(self.state.jobs.start, spec)
        self.state.choose(info.folder)
        if info.state == "queued":
            self.messages.show_info(f"{info.title} waits its turn.", "It begins when its device is free.")
        else:
            self.commands.take_device(info.title)

    # showing

    def _show_runs(self) -> None:
        state = self.state
        self.stack.setCurrentIndex(2 if state.runs else 1)
        if state.runs and state.chosen is None:
            busy = [info for info in state.runs if info.state not in ("finished", "queued")]
            state.choose((busy or list(state.runs))[0].folder)
        self.runs.show_runs(state.runs, state.thumbnails)
        if self.runs.folder != state.chosen:
            self.runs.choose(state.chosen)
        self._show_page()
        self._tell_models()
        self.changed.emit()

    def _tell_models(self) -> None:
        """Say it when a run has put its model among the user's."""
        kept = {info.kept: info.title for info in self.state.runs if info.kept is not None}
        new = [] if self._kept is None else [folder for folder in kept if folder not in self._kept]
        self._kept = set(kept)
        if new:
            self.services.models_changed.emit()
            self.messages.show_info(
                f"{kept[new[0]]} is finished, and is among your models.",
                "“Edit with the model” opens it in the editor.",
            )

    def _looked(self) -> None:
        if self.runs.folder != self.state.chosen:  # a run that was started a moment ago
            self.runs.choose(self.state.chosen)
        self._show_page()
        busy = [info for info in self.state.runs if info.state in ("preparing", "training", "evaluating")]
        now = Activity()
        if busy:
            now = Activity(f"{busy[0].title}: {words.state(busy[0]).lower()}", words.fraction(busy[0]))
        if now != self._activity:
            self._activity = now
            self.activity_changed.emit(now)

    def _show_page(self) -> None:
        self.pages.setCurrentIndex(0 if self.state.info is None else 1)

    def _chosen(self) -> None:
        self.runs.choose(self.state.chosen)
        self._show_page()
        self.changed.emit()
