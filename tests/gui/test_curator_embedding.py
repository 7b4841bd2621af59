"""Curate has a folder's images embedded by a process: progress, stop, go on, closing, what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from core.attributes import load_attribute_set
from core.clip import ClipModel, find_choice
from core.clip.embed import FOLDER, EmbedJob
from core.collection import Collection
from core.jobs import process
from core.paths import resources
from gui.curator.view import CuratorView
from tests.gui.curating import curator, make_pictures, scored
from tests.gui.hands import Hands

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
COUNT = 160  # batches are of 64
HELD = Path(__file__).with_name("held_embedding.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "faces", COUNT)


@pytest.fixture(autouse=True)
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is there, processes wait after their first batch."""
    path = tmp_path / "hold"
    path.touch()
    monkeypatch.setenv("HOLD", str(path))
    monkeypatch.setenv("PYTHONPATH", str(HELD.parents[2]))
    monkeypatch.setattr(process, "main_command", lambda *arguments: [sys.executable, str(HELD), *arguments])
    return path


def opening(hands: Hands, folder: Path, clip: Path) -> CuratorView:
    view = curator(hands)
    hands.window.show_workspace("curate")
    view.start_page.models.choose(find_choice(clip))
    view.open(folder)
    return view


def embedded(folder: Path, clip: Path) -> int:
    """Images whose embedding is on the disk."""
    with Collection.open(folder) as collection:
        model = ClipModel.load(find_choice(clip), "cpu")
        return int(collection.embeddings(model.key, model.dim).have.sum())


def pid_of(folder: Path) -> int:
    """The process that embeds the folder's images."""
    return int(json.loads((folder / ".zerodim" / FOLDER / "process.json").read_text())["pid"])


async def held_while_embedding(hands: Hands, view: CuratorView, folder: Path) -> int:
    """Wait until some images are embedded, and hold the process there."""
    bar = view.work_bar
    await hands.until(lambda: "images/s" in bar.text.text(), "for the speed")
    number = pid_of(folder)
    os.kill(number, signal.SIGSTOP)
    assert number != os.getpid() and process.alive(folder / ".zerodim" / FOLDER)
    assert bar.isVisible() and bar.progress.isVisible() and bar.button.text() == "Stop"
    return number


def test_stopped_gone_on_closed_and_opened_again(drive, folder, clip_folder, hold):
    async def first(hands: Hands) -> None:
        view = opening(hands, folder, clip_folder)
        bar = view.work_bar
        number = await held_while_embedding(hands, view, folder)
        assert f"of {COUNT} " in bar.text.text() and "left" in bar.text.text()
        assert view.grid.isVisible() and view.state.count == COUNT, "one can label meanwhile"
        hands.click(bar.button)
        await hands.until(lambda: "Stopping" in bar.text.text())
        os.kill(number, signal.SIGCONT)
        await hands.until(lambda: view.session.work.now.state == "stopped", "for the stop")
        await hands.until(lambda: view.session.up_to_date)
        known = int(view.state.known.scores.known.sum())
        assert 0 < known < COUNT and known == embedded(folder, clip_folder)
        assert bar.text.text() == f"{COUNT - known} images wait for CLIP."
        assert bar.button.text() == "Go on"
        hands.click(bar.button)
        again = await held_while_embedding(hands, view, folder)
        assert again != number
        os.kill(again, signal.SIGCONT)
        # the window closes while it is at work

    drive(first)
    assert not process.alive(folder / ".zerodim" / FOLDER)
    before = embedded(folder, clip_folder)
    assert 0 < before < COUNT
    hold.unlink()

    async def second(hands: Hands) -> None:
        view = opening(hands, folder, clip_folder)
        await scored(hands, view)
        assert not view.work_bar.isVisible()

    drive(second)
    assert embedded(folder, clip_folder) == COUNT


def test_a_process_of_a_window_that_was_killed_is_found_again(drive, folder, clip_folder, hold):
    attributes = load_attribute_set(resources() / "attributes" / "faces.toml")
    with Collection.create(folder, attributes) as collection:
        collection.scan()
        # unreadable since it was seen
        (folder / "image 001.png").write_bytes(b"no picture any more")
        job = EmbedJob.start(collection, find_choice(clip_folder))
        collection.keep_setting("clip", find_choice(clip_folder).reference)

    async def scenario(hands: Hands) -> None:
        await hands.until(lambda: job.poll().done > 0)
        number = pid_of(folder)
        os.kill(number, signal.SIGSTOP)
        view = opening(hands, folder, clip_folder)
        await hands.until(lambda: f"of {COUNT} " in view.work_bar.text.text(), "for the process's progress")
        hold.unlink()
        os.kill(number, signal.SIGCONT)
        await hands.until(lambda: not view.session.work.now.state and view.session.up_to_date)
        assert pid_of(folder) == number, "no second one was started"

    drive(scenario)


def test_what_goes_wrong_is_told_and_go_on_tries_again(drive, folder, clip_folder, hold):
    async def scenario(hands: Hands) -> None:
        view = opening(hands, folder, clip_folder)
        number = await held_while_embedding(hands, view, folder)
        os.kill(number, signal.SIGKILL)
        await hands.until(lambda: view.messages.isVisible(), "for the error")
        assert "ended from outside" in view.messages.message
        await hands.until(lambda: view.session.up_to_date)
        assert view.work_bar.button.text() == "Go on"
        known = int(view.state.known.scores.known.sum())
        assert 0 < known < COUNT, "what it embedded is scored"
        (folder / f"image {COUNT - 1}.png").write_bytes(b"no picture any more")
        Image.new("RGB", (40, 40)).save(folder / f"image {COUNT - 2}.png")
        view.messages.hide()
        hold.unlink()
        hands.click(view.work_bar.button)
        await hands.until(lambda: not view.session.work.now.state and view.session.up_to_date)
        assert view.news.text() == "1 image can't be read and has no scores."
        assert int(view.state.known.scores.known.sum()) == COUNT - 1
        assert not view.work_bar.isVisible()

    drive(scenario)
