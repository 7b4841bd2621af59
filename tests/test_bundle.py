"""The frozen program, run as a person would who has no Python. Slow: `pytest -m bundle`.

Builds the bundle first, for some minutes, unless ZERODIM_BUNDLE names the folder of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import __version__

pytestmark = [pytest.mark.bundle, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "ZERODIM_BUNDLE" in os.environ:
        folder = Path(os.environ["ZERODIM_BUNDLE"])
    else:
        work = tmp_path_factory.mktemp("bundle")
        folder = work / "dist" / "zerodim-studio"
        build = [sys.executable, "-m", "PyInstaller", "build.spec", "--noconfirm", "--log-level=WARN"]
        paths = [f"--distpath={work / 'dist'}", f"--workpath={work / 'build'}"]
        subprocess.run([*build, *paths], cwd=ROOT, check=True)
    return folder / ("zerodim-studio.exe" if sys.platform == "win32" else "zerodim-studio")


def run(program: Path, home: Path, *arguments: str | Path) -> str:
    """Standard output of the program; it must exit with 0 and say nothing on standard error."""
    (home / "empty").mkdir(exist_ok=True)
    environment = {
        "HOME": str(home),
        "PATH": str(home / "empty"),
        "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen",
        # what a person may have set for another program
        "QT_API": "",
        "PYQTGRAPH_QT_LIB": "PyQt5",
    }
    if sys.platform == "win32":
        environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "USERPROFILE")}
    done = subprocess.run(
        [program, *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_says_its_version(program: Path, tmp_path: Path) -> None:
    assert run(program, tmp_path, "--version") == f"ZeroDIM Studio {__version__}\n"


def test_carries_its_models(program: Path, tmp_path: Path) -> None:
    models = json.loads(run(program, tmp_path, "models", "--json"))["models"]
    assert models
    assert all(Path(model["folder"]).is_relative_to(program.parent) for model in models)


def test_edits_a_photo(program: Path, tmp_path: Path, astronaut: Path) -> None:
    from core.images import open_photo

    out = tmp_path / "ünïcode edited.png"
    arguments = ("edit", astronaut, "--set", "hair_color=blond", "--out", out, "--json")
    report = json.loads(run(program, tmp_path, *arguments))
    assert report["edited"] == 1
    before, after = open_photo(astronaut).pixels, open_photo(out).pixels
    assert before.shape == after.shape
    changed = np.argwhere((before != after).any(2))
    assert 1000 < len(changed) < 0.5 * before.shape[0] * before.shape[1]


def test_edits_the_sample_that_it_carries(program: Path, tmp_path: Path) -> None:
    sample = next(program.parent.rglob("sample-face.jpg"))
    arguments = ("edit", sample, "--set", "glasses=glasses", "--out", tmp_path / "out.png", "--json")
    assert json.loads(run(program, tmp_path, *arguments))["edited"] == 1


def test_embeds_a_folder_in_a_process_of_its_own(program: Path, tmp_path: Path, astronaut: Path) -> None:
    """As Curate does: the program starts itself with a hidden command."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.open(astronaut)
    for i in range(210):  # so many that faces are found in processes too
        photo.resize((120 + i % 9, 120 + i % 9)).save(folder / f"{i}.jpg")
    arguments = ("annotate", folder, "--attributes", "faces", "--json")
    report = json.loads(run(program, tmp_path, *arguments))
    assert report["embedded"] == 210
    events = (folder / ".zerodim" / "embedding" / "events.jsonl").read_text(encoding="utf-8")
    assert json.loads(events.splitlines()[-1])["kind"] == "finished"


def until_ended(running: Callable[[], bool]) -> None:
    end = time.monotonic() + 1200  # machines are shared
    while running():
        assert time.monotonic() < end, "the child goes on and on"
        time.sleep(0.2)


def test_its_hidden_child_trains_and_keeps_a_model(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.jobs import Jobs, JobSpec, process
    from tests.synthetic import TINY, write_dataset

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    few = [f"{stage}.steps=4" for stage in ("warmup", "disentanglement", "amortisation", "synthesis")]
    spec = JobSpec(
        title="Tiny",
        data=str(write_dataset(tmp_path / "faces", 120)),
        preset="faces-starter",
        overrides=(*TINY, *few),
        judge_steps=0,
        devices=("cpu",),
    )
    jobs = Jobs(tmp_path / "runs", lambda run: process.start([str(program), "_train", str(run)], run))
    run_folder = jobs.start(spec).folder
    until_ended(lambda: jobs.poll()[0].state not in ("finished", "failed"))
    info = jobs.info(run_folder)
    printed = (run_folder / "output.txt").read_text()
    assert (info.state, printed) == ("finished", ""), (info.error, printed)
    assert info.kept is not None and (info.kept / "weights.safetensors").is_file()


@pytest.mark.parametrize("with_photo", [False, True])
def test_opens_its_window(program: Path, tmp_path: Path, astronaut: Path, with_photo: bool) -> None:
    photo = [astronaut] if with_photo else []
    assert run(program, tmp_path, *photo, "--quit-after", "15") == ""
