"""ZeroDIM Studio: the window, or one of its features headless (`python main.py --help`)."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _prepare_environment() -> None:
    """Settings that libraries read when they are imported."""
    # a user's PyQt5 in either of these would kill the window
    os.environ["PYQTGRAPH_QT_LIB"] = "PySide6"
    os.environ["QT_API"] = "pyside6"
    # nothing is fetched unless a person asks for it: open_clip would wait for a network that is not there
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with the command line's `arguments`; returns the exit code."""
    _prepare_environment()
    from core.cli import app

    if arguments is None:
        app.restart_to_train(sys.argv[1:])
    program = app.Program(
        open_window=_open_window, measure_stalls=_measure_stalls, measure_curate=_measure_curate
    )
    return app.main(sys.argv[1:] if arguments is None else arguments, program)


def _open_window(photo: Path | None, model: Path | None, quit_after: float | None) -> int:
    """The window; returns when it is closed. The only way from the command line to Qt."""
    _before_qt()
    from gui.app import run

    return run(photo, model=model, quit_after=quit_after)


def _measure_stalls(photo: Path, model: Path | None, seconds: float) -> dict[str, Any]:
    """Stalls of the window's event loop while sliders are dragged."""
    _before_qt()
    from gui.editor.stall_probe import measure

    return measure(photo, model=model, seconds=seconds)


def _measure_curate(images: int, seconds: float) -> dict[str, Any]:
    """Speed of the Curate workspace over many images."""
    _before_qt()
    from gui.curator.speed_probe import measure

    return measure(images, seconds)


def _before_qt() -> None:
    if sys.platform == "win32":
        import torch  # noqa: F401 - its libraries fail to load there once Qt's are


if __name__ == "__main__":
    # before anything else: in the frozen program a child process starts here
    multiprocessing.freeze_support()
    sys.exit(main())
