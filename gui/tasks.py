"""Coroutines on the window's loop, whose errors are told to a person instead of raised."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Signal

from core.errors import StudioError

T = TypeVar("T")
log = logging.getLogger(__name__)


class Tasks(QObject):
    """What is under way. `failed` has a sentence and what to do next."""

    failed = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, job: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine; what it raises is told to the person."""
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.tell(error)

    def tell(self, error: BaseException) -> None:
        """Show an error: a StudioError in its own words, a mistake of the program in the log and as such."""
        if isinstance(error, StudioError):
            self.failed.emit(error.message, error.hint)
            return
        log.error("A job failed.", exc_info=error)
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            self.failed.emit(
                "There is not enough memory for this.", "Close other programs, or use a smaller photo."
            )
        else:
            detail = f"{type(error).__name__}: {error}".strip()
            self.failed.emit("The program made a mistake; your files are unchanged.", detail)

    async def close(self) -> None:
        """Drop everything that is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told_to_end() -> bool:
    """Whether a CancelledError is for the present task, not only from a job that was dropped."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
