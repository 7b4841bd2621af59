"""The real window, driven through the real `main()` with real events; nothing it starts may outlive it."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

import main
from core.jobs import process as processes
from core.jobs import runs_folder
from gui import app
from gui.main_window import MainWindow
from tests.gui.curating import make_clip, make_embedded
from tests.gui.hands import Hands

Drive = Callable[..., None]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings go to the test's folder, in a format whose place can be set on every system."""
    before = QSettings.defaultFormat()
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield
    QSettings.setDefaultFormat(before)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread, no running timer and no window may be left when a test is over."""
    threads = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in threads and t.is_alive()]
    assert not left, f"threads left: {left}"
    application = QApplication.instance()
    if isinstance(application, QApplication):
        application.sendPostedEvents(None, 52)  # DeferredDelete
        gc.collect()
        assert not [w for w in application.topLevelWidgets() if isinstance(w, MainWindow) and w.isVisible()]
        running = [t for t in application.findChildren(QTimer) if t.isActive()]
        assert not running, f"timers left: {running}"


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs and models go to the test's folder; no process of them outlives it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    for folder in runs_folder().glob("*"):
        processes.kill(folder)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small CLIP."""
    return make_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def embedded(
    request: pytest.FixtureRequest, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As many pictures as the module's COUNT says, embedded; to be copied, not changed."""
    return make_embedded(tmp_path_factory.mktemp("embedded") / "faces", clip_folder, request.module.COUNT)


@pytest.fixture
def known_folder(embedded: Path, tmp_path: Path) -> Path:
    """A copy of those, as they were when they were embedded."""
    return Path(shutil.copytree(embedded, tmp_path / "known"))


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Drive:
    """Run `main()` with a photo or none, and `scenario(hands)` inside its window."""

    def run(scenario: Callable[[Hands], Awaitable[None]], photo: Path | None = None) -> None:
        async def with_hands(window: MainWindow) -> None:
            window.resize(1280, 800)
            await scenario(Hands(window))

        arguments = [] if photo is None else [str(photo)]
        with monkeypatch.context() as patch:
            patch.setattr(app, "run", partial(app.run, scenario=with_hands))
            assert main.main([*arguments, "--model", str(tiny_model)]) == 0

    return run
