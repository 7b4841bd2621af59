"""Start the window: application, theme, event loop, worker, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import PySide6  # noqa: F401 - qasync takes the binding that is there
import qasync
from PySide6.QtCore import QCoreApplication, QTimer
from PySide6.QtWidgets import QApplication

from core.worker import Worker
from gui.main_window import MainWindow
from gui.settings import APPLICATION, ORGANISATION, Settings
from gui.theme import Theme
from gui.widgets import icons

Scenario = Callable[[MainWindow], Awaitable[Any]]
log = logging.getLogger(__name__)


def application() -> QApplication:
    """The process's QApplication, made where there is none."""
    QCoreApplication.setOrganizationName(ORGANISATION)
    QCoreApplication.setApplicationName(APPLICATION)
    found = QApplication.instance()
    app = found if isinstance(found, QApplication) else QApplication(sys.argv[:1])
    app.setDesktopFileName("zerodim-studio")
    app.setWindowIcon(icons.app_icon())
    # the window says itself when it has closed; Qt would stop the loop under what is still to be put away
    app.setQuitOnLastWindowClosed(False)
    return app


def run(
    photo: Path | None = None,
    *,
    model: Path | None = None,
    quit_after: float | None = None,
    scenario: Scenario | None = None,
) -> int:
    """Show the window until it is closed; returns the exit code.

    `quit_after` seconds the window closes by itself. `scenario(window)` runs inside the loop once the window
    is shown, for measurements and tests; the window closes, without questions, when it is done, and what it
    raises is raised here.
    """
    app = application()
    loop = qasync.QEventLoop(app)
    asyncio.set_event_loop(loop)
    try:
        with loop, _interruptible():
            loop.run_until_complete(_main(app, photo, model, quit_after, scenario))
    finally:
        asyncio.set_event_loop(None)
    return 0


async def _main(
    app: QApplication,
    photo: Path | None,
    model: Path | None,
    quit_after: float | None,
    scenario: Scenario | None,
) -> None:
    settings = Settings()
    theme = Theme(app, settings.get("window/theme"))
    worker = Worker()
    window = MainWindow(theme, settings, worker, model)
    closed = asyncio.Event()
    window.closed.connect(closed.set)
    with _faults_told(window):
        window.show()
        window.start(photo)
        timer = QTimer(window)
        if quit_after is not None:
            timer.setSingleShot(True)
            timer.timeout.connect(window.close)
            timer.start(round(quit_after * 1000))
        try:
            if scenario is None:
                await closed.wait()
            else:
                await scenario(window)
        finally:
            timer.stop()
            window.hide()
            await window.close_down()
            # an import of torch or a render can't be broken off; the window is out of sight meanwhile
            worker.close()
            theme.close()
            window.deleteLater()
            theme.deleteLater()


@contextmanager
def _faults_told(window: MainWindow) -> Iterator[None]:
    """Errors that nobody caught are logged and shown in the window, from whatever thread they come."""

    def tell(error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return
        window.fault.emit(error)

    def hook(_kind: type[BaseException], error: BaseException, _where: TracebackType | None) -> None:
        tell(error)

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            tell(args.exc_value)

    def loop_handler(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None:
            tell(error)
        else:
            log.error("%s", context.get("message"))

    before, before_thread = sys.excepthook, threading.excepthook
    sys.excepthook, threading.excepthook = hook, thread_hook
    asyncio.get_running_loop().set_exception_handler(loop_handler)
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = before, before_thread


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl+C in the terminal ends the program at once: Qt's loop would not let Python see it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
