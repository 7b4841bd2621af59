"""The Train workspace through the real window and a real child process with a tiny preset."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PySide6.QtTest import QTest

from core.installed import list_models
from core.jobs import Event, JobSpec, RunInfo
from gui.trainer import words
from gui.trainer.curve_book import CurveBook, smooth
from gui.trainer.plots import MOST_POINTS, thinned
from gui.trainer.view import TrainerView
from tests.gui.conftest import Drive
from tests.gui.hands import Hands
from tests.gui.training import state_of, to_train, training, write_preset
from tests.synthetic import faces_attributes, write_dataset

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "drawn", 240)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_preset(tmp_path_factory.mktemp("preset") / "tiny.toml")


async def begin(hands: Hands, view: TrainerView, data: Path, preset: Path, title: str) -> None:
    """Ask for a training as Curate does, choose the preset, and start it in the dialog."""
    view.services.wanted.emit("train", data)
    await hands.until(lambda: view.dialog is not None, "for the dialog")
    dialog = view.dialog
    assert dialog is not None
    dialog.add_preset(preset)
    QTest.keyClicks(dialog.title_edit, title)
    await hands.until(lambda: dialog.checked, "for the findings")
    assert "error" not in [f.level for f in dialog.findings_found], dialog.findings_found
    assert dialog.labels.topLevelItemCount() == len(faces_attributes().attributes)
    hands.click(dialog.start)
    await hands.until(lambda: state_of(view, title), "for the run")


@pytest.mark.slow
def test_a_run_from_the_dialog_to_a_model(drive: Drive, data: Path, preset: Path) -> None:
    seen: dict[str, int] = {}

    async def first(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known, "for the first look")
        assert view.stack.currentWidget() is view.start_page
        await begin(hands, view, data, preset, "First")
        await hands.until(lambda: "given the device away" in view.messages.message, "for the device")
        assert "given to the training" in hands.editor.messages.message
        await hands.until(lambda: training(view), "for the last stage")
        curves = view.page.curves
        await hands.until(lambda: curves.plot is not None and curves.plot.lines, "for curves")
        before = view.state.curves.points
        await hands.until(lambda: view.state.curves.points > before, "for the curves to move")
        await hands.until(lambda: curves.what.currentText() == "Losses: Synthesis", "for the stage's curves")
        assert curves.plot is not None and "Step" in curves.plot.read_at(40)
        await hands.until(lambda: view.state.samples, "for a sample")
        assert not view.page.samples.grid.image.isNull()
        # a second one waits for the device
        await begin(hands, view, data, preset, "Second")
        assert state_of(view, "Second") == "queued"
        view.runs.choose(next(i.folder for i in view.state.runs if i.title == "First"))
        await hands.until(lambda: training(view), "for the first run")
        # pause: the second one takes its turn
        hands.trigger("pause")
        await hands.until(lambda: state_of(view, "First") == "paused", "for the pause")
        await hands.until(lambda: state_of(view, "Second") == "training", "for the second run")
        seen["steps"] = view.state.info.done if view.state.info is not None else 0

    async def again(hands: Hands) -> None:
        # the window was closed in the middle: what trained has gone on
        view = to_train(hands)
        await hands.until(lambda: state_of(view, "Second") == "training", "for the run that went on")
        view.runs.choose(next(i.folder for i in view.state.runs if i.title == "Second"))
        await hands.until(lambda: training(view), "for the last stage")
        run = view.state.chosen
        assert run is not None
        await hands.until((run / "checkpoints" / "last.safetensors").exists, "for a checkpoint")
        os.kill(json.loads((run / "process.json").read_text())["pid"], signal.SIGKILL)
        banner = view.page.banner
        await hands.until(lambda: not banner.isHidden(), "for the failure")
        assert "ended from outside" in banner.sentence.text() and "Resume" in banner.hint.text()
        hands.click(banner.resume)
        await hands.until(lambda: training(view) and banner.isHidden(), "for the run to go on")
        await hands.until(lambda: hands.window.actions_by_name["stop_keep"].isEnabled(), "for a checkpoint")
        hands.trigger("stop_keep")
        await hands.until(lambda: state_of(view, "Second") == "finished", "for the model")
        info = view.state.info
        assert info is not None and info.stopped_early and info.kept in list_models()
        # the model edits
        hands.trigger("edit_with")
        await hands.until(lambda: hands.session.model == info.kept and hands.state.card, "for the editor")
        assert hands.state.card is not None and hands.state.card.title == "Second"
        hands.window.show_workspace("train")
        view.runs.choose(next(i.folder for i in view.state.runs if i.title == "First"))
        await hands.until(lambda: hands.window.actions_by_name["resume"].isEnabled(), "for the paused run")
        first = view.state.info
        assert first is not None and first.state == "paused" and first.done == seen["steps"]
        hands.trigger("discard")
        assert "First" in await hands.answer("discard")
        await hands.until(lambda: not state_of(view, "First"), "for the trash")
        assert not first.folder.exists()

    drive(first)
    drive(again)


def test_curves_grow_smooth_and_go_back() -> None:
    def step(done: int, loss: float) -> Event:
        return Event(0.0, "step", {"stage": "synthesis", "step": done, "done": done, "pixels": loss})

    book = CurveBook([step(10, 1.0), step(20, float("nan")), step(30, 3.0)])
    book.add([step(20, 5.0)])  # resumed from an older checkpoint: 30 is to be trained again
    line = book.losses["synthesis"]["pixels"]
    assert (line.x, line.y) == ([10, 20], [1.0, 5.0])
    book.add([Event(0.0, "evaluation", {"done": 20, "accuracy": {"smile": 0.5}, "leakage": {"smile": 0.7}})])
    assert book.scores["accuracy"]["smile"].y == [0.5] and book.scores["leakage"]["smile"].y == [0.7]
    noisy = np.tile([0.0, 2.0], 200)
    calm = smooth(noisy, 0.95)
    assert calm[0] == 0.0 and abs(calm[-1] - 1) < 0.1 and np.std(calm[100:]) < 0.1
    assert np.array_equal(smooth(noisy, 0.0), noisy)
    x, y = thinned(np.arange(30_001.0), np.arange(30_001.0))
    assert len(x) <= MOST_POINTS and x[-1] == y[-1] == 30_000


def test_words_of_states_and_numbers() -> None:
    spec = JobSpec(title="One", data="/nowhere")
    info = RunInfo(Path("/nowhere/one"), "One", "queued", spec, place=2)
    assert words.state(info) == "Waiting, number 2 in the queue"
    assert [words.duration(s) for s in (None, 40, 720, 12_000)] == ["–", "40 s", "12 min", "3 h 20 min"]
    done = msgspec.structs.replace(spec, title="Two")
    finished = RunInfo(Path("/x"), "Two", "finished", done, metrics={"swap_success": {"a": 0.5, "b": 1.0}})
    assert words.result(finished) == "swaps 75.0 %" and words.fraction(finished) == 1.0
    failed = Event(0.0, "failed", {"sentence": "The disk is full.", "hint": "Free some space.", "raw": "x"})
    assert words.event(failed) == "Failed: The disk is full. Free some space."


def test_the_dialog_says_what_is_missing(drive: Drive, tmp_path: Path) -> None:
    """A folder without labels can't be started, and the dialog says why."""
    (tmp_path / "empty").mkdir()

    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known, "for the first look")
        hands.click(view.start_page.button)
        await hands.until(lambda: view.dialog is not None, "for the dialog")
        dialog = view.dialog
        assert dialog is not None and dialog.spec is None and not dialog.start.isEnabled()
        dialog.set_data(tmp_path / "empty")
        await hands.until(lambda: dialog.checked, "for the findings")
        assert [f.level for f in dialog.findings_found] == ["error"] and not dialog.start.isEnabled()
        # from a base there is no choice of size
        dialog.base.setCurrentIndex(1)
        dialog.base.activated.emit(1)
        assert not dialog.size_box.isEnabled() and dialog.spec is not None and dialog.spec.base
        assert dialog.preset.itemText(0) and dialog.spec.preset == "fine-tune"
        dialog.reject()
        await hands.until(lambda: view.dialog is None, "for the dialog to close")
        assert not view.state.runs

    drive(scenario)
