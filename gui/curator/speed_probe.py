"""Measure what a person feels while curating many images: first thumbnails, scrolling, keys, memory."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from PySide6.QtCore import QSettings, Qt
from PySide6.QtTest import QTest

from core.annotate import score
from core.annotate.rules import TopK
from core.attributes import load_attribute_set
from core.collection import Collection
from core.collection.synthetic import synthetic_collection
from core.errors import StudioError
from core.memory import peak_bytes
from core.paths import resources
from gui import app
from gui.curator.annotator import foresee
from gui.curator.ordering import Known
from gui.curator.view import CuratorView
from gui.main_window import MainWindow

DIM = 64  # of the made-up embeddings
FILES = 1500  # images that have a file; the others show that they have none
PATIENCE = 300.0


def measure(count: int = 100_000, seconds: float = 6.0) -> dict[str, float]:
    """Milliseconds and megabytes for a made-up collection of `count` images with scores.

    `first_thumbnails` from the wish to open until every tile that is seen has its picture; `frame_*` the time
    a repaint takes while the grid is scrolled for `seconds`, and `stall_max` the longest that the window's
    loop stood still meanwhile; `key_*` from a key press that labels until the grid is painted with it.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    found: dict[str, float] = {"images": count}
    with tempfile.TemporaryDirectory(prefix="zerodim-curate-") as temporary:
        QSettings.setDefaultFormat(QSettings.Format.IniFormat)
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, temporary)
        folder = Path(temporary) / "images"
        attributes = load_attribute_set(resources() / "attributes" / "faces.toml")
        with synthetic_collection(folder, attributes, count, labelled=0.3) as collection:
            _write_files(collection)

        async def scenario(window: MainWindow) -> None:
            window.resize(1280, 800)
            window.show_workspace("curate")
            view = window.workspaces["curate"]
            assert isinstance(view, CuratorView)
            found.update(await _Probe(view).run(folder, seconds))

        app.run(scenario=scenario)
    return found


def _write_files(collection: Collection) -> None:
    """Pictures of 178 x 218 for the first images."""
    rng = np.random.default_rng(0)
    for path in collection.images().paths[:FILES]:
        place = collection.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(rng.integers(0, 255, (6, 5, 3), np.uint8), np.ones((37, 36, 1), np.uint8))
        Image.fromarray(pixels[:218, :178]).save(place, quality=85)


class _Probe:
    def __init__(self, view: CuratorView) -> None:
        self._view = view

    async def run(self, folder: Path, seconds: float) -> dict[str, float]:
        view = self._view
        # the files of most images don't exist: a scan would find them vanished, and there is no CLIP here
        view.session.work.begin = lambda *_args, **_names: None  # type: ignore[method-assign]
        start = time.perf_counter()
        view.open(folder)
        await _until(lambda: view.state.known is not None and len(view.state.shown) > 0)
        grid_there = time.perf_counter() - start
        await _until(self._all_pictures)
        result = {"grid_shown": 1000 * grid_there, "first_thumbnails": 1000 * (time.perf_counter() - start)}
        await self._give_scores()
        result |= await self._scroll(seconds)
        result |= await self._keys()
        result["memory_mb"] = peak_bytes() / 1e6
        return {name: round(number, 1) for name, number in result.items()}

    def _all_pictures(self) -> bool:
        view, known = self._view, self._view.state.known
        first, last = view.grid.seen()
        if known is None or last <= first:
            return False
        ids = known.images.ids[view.state.shown[first:last]].tolist()
        return all(view.thumbnails.get(number) is not None for number in ids)

    async def _give_scores(self) -> None:
        """Scores as CLIP would give them, from made-up embeddings."""
        state = self._view.state
        known = state.known
        assert known is not None
        rng = np.random.default_rng(1)
        rows = rng.normal(size=(len(known.images), DIM)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = score(rows, known.labels.attribute, lambda texts: rng.normal(size=(len(texts), DIM)))
        assignment, found = foresee(TopK(), scores, known.labels)
        state.set_known(Known(known.images, known.labels))
        state.set_scores(scores, assignment, None)
        state.set_assignment(assignment, found)
        await _until(lambda: self._view.session.up_to_date)

    async def _scroll(self, seconds: float) -> dict[str, float]:
        grid = self._view.grid
        bar = grid.verticalScrollBar()
        frames: list[float] = []
        stalls: list[float] = []
        end, place = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            place = (place + 170) % max(1, bar.maximum())
            start = time.perf_counter()
            bar.setValue(place)
            grid.viewport().repaint()
            frames.append(1000 * (time.perf_counter() - start))
            start = time.perf_counter()
            await asyncio.sleep(0.002)
            stalls.append(1000 * (time.perf_counter() - start) - 2)
            if len(frames) % 40 == 0:  # a jump, as by dragging the handle
                place = int(bar.maximum() * ((len(frames) * 0.618) % 1))
        return {
            "frames": len(frames),
            "frame_p95": float(np.percentile(frames, 95)),
            "frame_max": max(frames),
            "stall_max": max(stalls),
        }

    async def _keys(self) -> dict[str, float]:
        view, times = self._view, []
        view.grid.go_to(0)
        view.grid.setFocus()
        for i in range(100):
            painted = asyncio.get_running_loop().create_future()
            start = time.perf_counter()
            QTest.keyClick(view.grid, Qt.Key(Qt.Key.Key_1 + i % 2))

            def told(painted: asyncio.Future[float] = painted) -> None:
                if not painted.done():
                    painted.set_result(time.perf_counter())

            view.grid.painted.connect(told)
            view.grid.viewport().update()
            times.append(1000 * (await asyncio.wait_for(painted, PATIENCE) - start))
            view.grid.painted.disconnect(told)
            await asyncio.sleep(0.01)
        await _until(lambda: view.session.up_to_date)
        return {"key_p50": float(np.percentile(times, 50)), "key_p95": float(np.percentile(times, 95))}


async def _until(true) -> None:
    end = time.perf_counter() + PATIENCE
    while not true():
        if time.perf_counter() > end:
            raise StudioError("The window took too long.", "Measure again when the machine is less busy.")
        await asyncio.sleep(0.005)
