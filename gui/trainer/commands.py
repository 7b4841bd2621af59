"""What a person does with runs and their models: the handlers of the actions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QInputDialog, QWidget

from core.installed import installed_models
from core.jobs import (
    RunInfo,
    disk_use,
    export_model,
    headless_command,
    import_model,
    keep_model,
    settings_of,
)
from core.jobs.archive import SUFFIX
from gui.tasks import Tasks
from gui.trainer.compare import CompareRuns
from gui.trainer.state import TrainerState
from gui.widgets import asking
from gui.workspace import Services

PATTERNS = f"Models (*{SUFFIX})"
BUSY = ("preparing", "training", "pausing", "stopping")


class Commands(QObject):
    """Acts on the chosen run. `view` is the Trainer workspace."""

    def __init__(self, view: QWidget, state: TrainerState, services: Services, tasks: Tasks) -> None:
        super().__init__(view)
        self._view, self._state, self._services, self._tasks = view, state, services, tasks
        self.comparing: CompareRuns | None = None

    def possible(self, info: RunInfo | None) -> set[str]:
        """Names of the actions that do something now."""
        found = {"new_job", "import_model", "export_model"}
        if info is None:
            return found
        found |= {"discard", "rename", "open_folder", "copy_command"}
        if info.can_pause or info.state == "queued":
            found.add("pause")
        if info.can_resume:
            found.add("resume")
        if info.can_keep and info.state in ("training", "paused", "failed"):
            found.add("stop_keep")
        if info.state == "training" and info.asked != "sample":
            found.add("sample_now")
        if info.state == "finished" and info.can_keep:
            found.add("longer")
        if info.state == "finished" and info.model is not None:
            found |= {"keep_model", "edit_with"}
        if len(self._state.runs) > 1 and self._state.has_plots:
            found.add("compare")
        return found

    def _do(self, command: Callable[..., Any], *arguments: Any) -> None:
        if self._state.chosen is not None:
            # what it says of the run is no longer so
            self._view.messages.hide()  # type: ignore[attr-defined]
            self._tasks.start(self._state.do(command, self._state.chosen, *arguments))

    def _start(self, job: Callable[[RunInfo], Any]) -> None:
        if self._state.info is not None:
            self._tasks.start(job(self._state.info))

    async def _on_worker(self, job: Callable[[], Any]) -> Any:
        """For what imports torch."""

        def with_torch(_context: object) -> Any:
            from core.preload import preload_torch

            preload_torch()
            return job()

        return await asyncio.wrap_future(self._services.worker.submit(with_torch))

    def _say(self, message: str, hint: str = "") -> None:
        self._view.messages.show_info(message, hint)  # type: ignore[attr-defined]

    # runs

    def take_device(self, title: str) -> None:
        """Ask the others for the device, and say so."""
        self._services.device_wanted.emit(f"The device was given to the training “{title}”.")
        self._say(
            f"{title} has begun. The editor has given the device away.",
            "The next edit loads the model again, and is slower while the training goes on. "
            "The window may be closed: the training goes on.",
        )

    def pause(self) -> None:
        """Pause, or take out of the queue."""
        self._do(self._state.jobs.pause)

    def resume(self) -> None:
        """Go on from the last checkpoint."""

        async def resume(info: RunInfo) -> None:
            await self._state.do(self._state.jobs.resume, info.folder)
            self.take_device(info.title)

        self._start(resume)

    def stop_keep(self) -> None:
        """End and keep."""
        self._do(self._state.jobs.stop_and_keep)

    def sample_now(self) -> None:
        """A sample at once."""
        self._do(self._state.jobs.sample_now)

    def discard(self) -> None:
        """Ask, then to the trash."""

        async def discard(info: RunInfo) -> None:
            kept = "Its model among your models stays." if info.kept else "What it has learned goes with it."
            text = f"Discard “{info.title}”?"
            detail = f"Its folder goes to the trash. {kept}"
            answers = {"discard": "Discard", "cancel": "Cancel"}
            if await asking.choose(self._view, text, detail, answers, "cancel") == "discard":
                await self._state.do(self._state.jobs.discard, info.folder)

        self._start(discard)

    async def _text(self, title: str, label: str, text: str) -> str:
        dialog = QInputDialog(self._view)
        dialog.setWindowTitle(title)
        dialog.setLabelText(label)
        dialog.setTextValue(text)
        dialog.resize(380, dialog.sizeHint().height())
        return dialog.textValue().strip() if await asking.finished(dialog) else ""

    def rename(self) -> None:
        """Another title."""

        async def rename(info: RunInfo) -> None:
            if title := await self._text("Rename the run", "Title", info.title):
                await self._state.do(self._state.jobs.rename, info.folder, title)

        self._start(rename)

    def longer(self) -> None:
        """More steps for a finished run."""

        async def longer(info: RunInfo) -> None:
            dialog = QInputDialog(self._view)
            dialog.setWindowTitle("Train for longer")
            dialog.setLabelText("More steps of the last stage")
            dialog.setInputMode(QInputDialog.InputMode.IntInput)
            dialog.setIntRange(1, 10_000_000)
            dialog.setIntValue(max(1, info.steps // 2 or 100))
            if await asking.finished(dialog):
                await self._state.do(self._state.jobs.resume_longer, info.folder, dialog.intValue())
                self.take_device(info.title)

        self._start(longer)

    def compare(self) -> None:
        """Two runs side by side."""

        async def compare(info: RunInfo) -> None:
            theme = self._services.theme
            self.comparing = CompareRuns(self._view, self._state, self._tasks, theme, info)
            try:
                await asking.finished(self.comparing)
            finally:
                self.comparing = None

        self._start(compare)

    def open_folder(self) -> None:
        """In the system's file manager."""
        if self._state.chosen is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._state.chosen)))

    def copy_command(self) -> None:
        """For a machine without a window."""
        if self._state.chosen is not None:
            QGuiApplication.clipboard().setText(headless_command(self._state.chosen))
            hint = "On another machine, give it the copied run’s folder."
            self._say("The command is in the clipboard.", hint)

    def show_slow(self) -> None:
        """Read what the result tab shows of many files."""

        async def show(info: RunInfo) -> None:
            folder = info.folder
            used, command, settings = await self._state.run(
                lambda: (disk_use(folder), headless_command(folder), settings_of(folder))
            )
            if folder == self._state.chosen:
                self._view.page.result.show_slow(used, command, settings)  # type: ignore[attr-defined]

        self._start(show)

    # models

    def keep_model(self) -> None:
        """Among the user's models, under a name."""

        async def keep(info: RunInfo) -> None:
            if info.model is None or not (title := await self._text("Keep as a model", "Name", info.title)):
                return
            model = info.model
            folder = await self._on_worker(lambda: keep_model(model, title))
            self._services.models_changed.emit()
            self._say(f"“{title}” is among your models.", str(folder))

        self._start(keep)

    def edit_with(self) -> None:
        """Open the run's model in the editor: the kept one if it is still there."""
        info = self._state.info
        if info is not None and info.model is not None:
            kept = info.kept is not None and info.kept.is_dir()
            self._services.wanted.emit("edit", info.kept if kept else info.model)

    def export_model(self) -> None:
        """One file of a model that is chosen from the list of all."""
        self._tasks.start(self._export())

    async def _export(self) -> None:
        models = installed_models()
        titles = [f"{model.title}  ({model.folder.name})" for model in models]
        info, start = self._state.info, 0
        if info is not None and info.kept is not None:
            folders = [model.folder for model in models]
            start = folders.index(info.kept) if info.kept in folders else 0
        dialog = QInputDialog(self._view)
        dialog.setWindowTitle("Export a model")
        dialog.setLabelText("Model")
        dialog.setComboBoxItems(titles)
        dialog.setTextValue(titles[start])
        if not await asking.finished(dialog):
            return
        model = models[titles.index(dialog.textValue())]
        proposed = Path.home() / f"{model.folder.name}{SUFFIX}"
        file = await asking.save_path(self._view, "Export the model", proposed, PATTERNS)
        if file is not None:
            await self._on_worker(lambda: export_model(model.folder, file, overwrite=True))
            self._say(f"“{model.title}” is exported.", str(file))

    def import_model(self) -> None:
        """A file of a model, checked."""
        self._tasks.start(self._import())

    async def _import(self) -> None:
        file = await asking.open_path(self._view, "Import a model", str(Path.home()), PATTERNS)
        if file is not None:
            folder = await self._on_worker(lambda: import_model(file))
            self._services.models_changed.emit()
            self._say("The model is imported, and can be chosen in the editor.", str(folder))
