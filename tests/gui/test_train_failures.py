"""Trainings that fail, at the window: what is said, what is kept, and the button that resumes.

The run's process is the real one, except that trouble comes to it at a step that has a checkpoint before it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.jobs import process as processes
from core.jobs import read_events
from core.training.run import Run
from gui.trainer.view import TrainerView
from tests.gui.conftest import Drive
from tests.gui.hands import Hands
from tests.gui.training import tiny_job, to_train, training
from tests.synthetic import write_dataset

pytestmark = pytest.mark.usefixtures("own_home")
ROOT = Path(__file__).parents[2]
# The process of a run, in which {trouble} happens before the twelfth step of the last stage, once.
PROCESS = """
import shutil, sys, time, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
folder = Path(sys.argv[2])
from core.jobs import listening
from core.training import stages
real, happened = stages.step, folder / "happened"
def step(config, state, batch, stage, *more):
    if stage == "synthesis" and state.step == 11 and not happened.exists():
        happened.touch()
        {trouble}
    return real(config, state, batch, stage, *more)
stages.step = step
import main
sys.exit(main.main(["_train", str(folder)]))
"""
MEMORY = "import torch; torch.empty(2**50)"  # the system's own answer, from torch's allocator
NOT_A_NUMBER = "next(state.networks.generator.parameters()).data.fill_(float('nan'))"
FULL_DISK = "shutil.disk_usage = lambda path: types.SimpleNamespace(free=0)"
SLEEP = (
    "clock = time.time; "
    "listening.time = types.SimpleNamespace(monotonic=time.monotonic, time=lambda: clock() + 1800)"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "drawn", 120)


def with_trouble(view: TrainerView, trouble: str) -> None:
    """Let the window start runs whose process meets `trouble`."""

    def launch(folder: Path) -> subprocess.Popen[bytes]:
        text = PROCESS.replace("{trouble}", trouble)
        return processes.start([sys.executable, "-c", text, str(ROOT), str(folder)], folder)

    view.state.jobs._launch = launch


async def fails(hands: Hands, view: TrainerView) -> Path:
    """Wait for the failure; its banner has a sentence, a hint, the raw text and a button."""
    banner = view.page.banner
    await hands.until(lambda: not banner.isHidden(), "for the failure")
    assert banner.sentence.text() and "esume" in banner.hint.text()
    assert banner.resume.isVisible() and not banner.raw.isVisible()
    if banner.raw.toPlainText():
        hands.click(banner.details)
        assert banner.raw.isVisible()
    run = view.state.chosen
    assert run is not None
    return run


def begun(run: Path) -> list[int]:
    """The steps at which the run has begun its last stage, or gone on with it."""
    stages = [e.numbers for e in read_events(run) if e.kind == "stage"]
    return [int(n["step"]) for n in stages if n["stage"] == "synthesis"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "said", "done"),
    [
        (MEMORY, "computer has too little free memory", "Close other programs"),
        (NOT_A_NUMBER, "no longer a number", "half the learning rates"),
        (FULL_DISK, "disk has too little space for a checkpoint", "Free some space"),
    ],
    ids=["memory", "not-a-number", "full-disk"],
)
def test_a_failure_is_said_and_resumed(drive: Drive, data: Path, trouble: str, said: str, done: str) -> None:
    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known, "for the first look")
        with_trouble(view, trouble)
        await view.start_job(tiny_job(data, "Troubled", "checkpoint_every=10", "sample_every=1000"))
        run = await fails(hands, view)
        banner = view.page.banner
        assert said in banner.sentence.text() and done in banner.hint.text()
        stored = Run(run).load_checkpoint()
        assert stored is not None and stored[1]["step"] == 10 and stored[1]["stage"] == "synthesis"
        assert all(bool(t.isfinite().all()) for n, t in stored[0].items() if n.startswith("networks."))
        assert said in view.page.log.text.toPlainText()
        before = json.loads((run / "config.json").read_text())
        hands.click(banner.resume)
        await hands.until(lambda: banner.isHidden() and training(view), "for the run to go on")
        # the second beginning of the stage is where the checkpoint is
        await hands.until(lambda: begun(run) == [0, 10], "for the step")
        after = json.loads((run / "config.json").read_text())
        factor = 0.5 if trouble == NOT_A_NUMBER else 1.0
        for stage, name in (("synthesis", "lr_generator"), ("synthesis", "lr_encoder"), ("warmup", "lr")):
            assert after[stage][name] == before[stage][name] * factor
        hands.trigger("pause")
        await hands.until(lambda: view.state.info and view.state.info.state == "paused", "for the pause")

    drive(scenario)


@pytest.mark.slow
def test_vanished_images_are_said_and_come_back(drive: Drive, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "mine", 120)

    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await view.start_job(tiny_job(data, "Bare"))
        await hands.until(lambda: training(view), "for the last stage")
        run = view.state.chosen
        assert run is not None
        await hands.until((run / "checkpoints" / "last.safetensors").exists, "for a checkpoint")
        hands.trigger("pause")
        await hands.until(lambda: view.state.info and view.state.info.state == "paused", "for the pause")
        stored = (run / "checkpoints" / "last.safetensors").read_bytes()
        data.rename(tmp_path / "gone")
        (run / "data").rename(tmp_path / "gone too")
        hands.trigger("resume")
        assert await fails(hands, view) == run
        assert "images of this training are gone" in view.page.banner.sentence.text()
        assert (run / "checkpoints" / "last.safetensors").read_bytes() == stored
        (tmp_path / "gone").rename(data)
        hands.click(view.page.banner.resume)
        await hands.until(lambda: view.page.banner.isHidden() and training(view), "for the run to go on")
        hands.trigger("pause")
        await hands.until(lambda: view.state.info and view.state.info.state == "paused", "for the pause")

    drive(scenario)


@pytest.mark.slow
def test_a_machine_that_slept_is_said_and_goes_on(drive: Drive, data: Path) -> None:
    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known, "for the first look")
        with_trouble(view, SLEEP)
        await view.start_job(tiny_job(data, "Asleep"))
        notes = view.page.notes
        await hands.until(lambda: notes.isVisible() and notes.text(), "for the note")
        assert "stood still for 30 minutes; the training has gone on by itself" in notes.text()
        assert "stood still for 30 min" in view.page.log.text.toPlainText()
        assert training(view) and view.page.banner.isHidden()
        hands.trigger("pause")
        await hands.until(lambda: view.state.info and view.state.info.state == "paused", "for the pause")

    drive(scenario)
