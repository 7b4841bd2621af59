"""From `main()` to a saved photo: the road a new user goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QSettings, Qt

from core.errors import StudioError
from core.recipe import load_recipe
from gui.editor import files
from gui.editor.stall_probe import measure
from gui.widgets import asking
from tests.gui.hands import Hands, inside


def answers(monkeypatch, **paths: Path | None) -> None:
    """Let the file dialogs answer: `open` and `save`."""

    async def chosen(kind: str) -> Path | None:
        return paths[kind]

    monkeypatch.setattr(asking, "open_path", lambda *_: chosen("open"))
    monkeypatch.setattr(asking, "save_path", lambda *_: chosen("save"))


def test_open_change_save_reopen(drive, astronaut, tmp_path, monkeypatch):
    out = tmp_path / "blond.png"
    answers(monkeypatch, save=out)

    async def scenario(hands: Hands) -> None:
        await hands.opened()
        assert hands.editor.stack.currentWidget() is hands.canvas
        assert hands.editor.messages.message == ""
        original = np.asarray(Image.open(astronaut).convert("RGB"))
        assert np.array_equal(hands.before(), original), "a small photo is shown in all its pixels"
        assert np.array_equal(hands.after(), original)
        row = hands.row("hair_color")
        assert "%" in row.detected.text()
        seen = hands.seen()

        hands.choose("hair_color", "grey")
        await hands.settled()
        changed = (hands.after() != original).any(2)
        frame = hands.state.recipe.faces[0].frame
        mask = inside(frame, *original.shape[:2])
        assert changed[mask].mean() > 0.2, "the face differs"
        assert not changed[~mask].any(), "nothing else does"
        assert (hands.seen() != seen).any(), "and it is seen"
        assert hands.window.isWindowModified()

        hands.trigger("save_as")
        await hands.until(out.is_file, "for the saved photo")
        await hands.settled()
        assert not hands.state.unsaved
        saved = np.asarray(Image.open(out))
        assert np.array_equal(saved, hands.after()), "what was seen is what was saved"
        assert np.array_equal(np.asarray(Image.open(astronaut).convert("RGB")), original)

        hands.editor.open(out)
        await hands.until(lambda: hands.state.path == out, "for the saved photo to open")
        await hands.settled()
        assert np.array_equal(hands.before(), saved)
        assert not hands.state.undo.canUndo()

    drive(scenario, astronaut)
    recent = QSettings().value("files/recent")
    assert [Path(p).name for p in recent] == ["blond.png", "astronaut.png"]


def test_the_original_is_never_replaced_without_a_question(drive, astronaut, tmp_path, monkeypatch):
    photo = tmp_path / "mine.png"
    photo.write_bytes(astronaut.read_bytes())
    answers(monkeypatch, save=photo)

    async def scenario(hands: Hands) -> None:
        await hands.opened()
        hands.choose("smile", "smiling")
        await hands.settled()
        hands.trigger("save_as")
        assert "mine.png" in await hands.answer("cancel")
        await hands.settled()
        assert photo.read_bytes() == astronaut.read_bytes()
        assert hands.state.unsaved
        hands.trigger("save_as")
        await hands.answer("discard")
        await hands.until(lambda: not hands.state.unsaved, "for the save")
        assert photo.read_bytes() != astronaut.read_bytes()

    drive(scenario, photo)


def test_the_proposed_name_is_beside_the_original():
    assert files.proposed_name(Path("/p/photo.jpg")) == Path("/p/photo-edited.jpg")
    assert files.proposed_name(Path("/p/photo.PNG")) == Path("/p/photo-edited.PNG")
    assert files.proposed_name(Path("/p/photo.gif")) == Path("/p/photo-edited.jpg")


def test_a_recipe_is_saved_and_opened_with_its_photo(drive, astronaut, tmp_path, monkeypatch):
    recipe_file = tmp_path / "mine.recipe.json"
    answers(monkeypatch, save=recipe_file, open=recipe_file)

    async def first(hands: Hands) -> None:
        await hands.opened()
        hands.choose("glasses", "glasses")
        hands.drag_strength("glasses", 120)
        await hands.settled()
        hands.trigger("save_recipe")
        await hands.until(recipe_file.is_file, "for the recipe")

    drive(first, astronaut)
    swap = load_recipe(recipe_file).faces[0].swaps[0]
    assert (swap.attribute, swap.value) == ("glasses", "glasses")
    assert swap.strength == pytest.approx(1.2, abs=0.02)

    async def second(hands: Hands) -> None:
        hands.trigger("open_recipe")
        await hands.until(lambda: hands.state.photo is not None, "for the recipe's photo")
        await hands.settled()
        assert hands.state.face.swaps == (swap,)
        assert hands.row("glasses").number.value() == round(swap.strength * 100)
        assert len(hands.state.recipe.faces) == 1, "the face that was found is the recipe's"
        assert (hands.after() != hands.before()).any()
        assert not hands.state.unsaved

    drive(second)


def test_everything_by_keyboard(drive, astronaut):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        chips = hands.row("hair_color").values.tab_widgets()
        chips[0].setFocus(Qt.FocusReason.TabFocusReason)
        hands.key(Qt.Key.Key_Right)
        hands.key(Qt.Key.Key_Space)
        assert hands.state.face.swaps[0].value == "brown"
        hands.key(Qt.Key.Key_Tab)
        slider = hands.row("hair_color").slider
        await hands.until(slider.hasFocus, "for the focus")
        for _ in range(3):
            hands.key(Qt.Key.Key_Left)
        assert hands.state.face.swaps[0].strength == pytest.approx(0.97)
        hands.key(Qt.Key.Key_Z, modifiers=Qt.KeyboardModifier.ControlModifier)
        assert hands.state.face.swaps[0].strength == 1.0, "steps of one visit are one undo step"
        chips[1].setFocus(Qt.FocusReason.TabFocusReason)
        hands.key(Qt.Key.Key_Return)
        assert hands.state.face.swaps == (), "choosing it again takes it back"
        await hands.settled()
        assert (hands.after() == hands.before()).all()
        await hands.until(hands.window.isVisible)

    drive(scenario, astronaut)


TORCH_ON_WHICH_THREAD = """
import sys, threading
from pathlib import Path
from PySide6.QtCore import QSettings
QSettings.setDefaultFormat(QSettings.Format.IniFormat)
QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, sys.argv[2])
seen = []
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            seen.append(threading.current_thread().name)
        return None
sys.meta_path.insert(0, Spy())
import main
from core import preload
from gui import app
from functools import partial
ahead = []
real = preload.preload_torch
preload.preload_torch = lambda: ahead.append(real())
async def scenario(window):
    assert "torch" not in sys.modules, "the window waited for torch"
    await window.editor.session.load()
    assert window.editor.panel.rows
    if sys.platform == "linux":
        assert ahead == [True], "torch's libraries were loaded without Python's lock"
app.run = partial(app.run, scenario=scenario)
assert main.main(["--model", sys.argv[1]]) == 0
assert seen and set(seen) == {"worker-gpu"}, seen
print("worker only")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there main.py must import torch before Qt")
def test_torch_is_imported_on_the_worker_only(tiny_model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TORCH_ON_WHICH_THREAD, str(tiny_model), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout.strip() == "worker only", done.stderr


def test_the_stall_probe_measures_the_real_window(astronaut, tiny_model):
    found = measure(astronaut, tiny_model, seconds=0.6)
    for name in ("single", "stall", "drag"):
        assert found[f"{name}_count"] >= 2
        assert (
            0 <= found[f"{name}_p50"] <= found[f"{name}_p95"] <= found[f"{name}_p99"] <= found[f"{name}_max"]
        )
    with pytest.raises(StudioError):
        measure(astronaut.with_name("gone.png"), tiny_model, seconds=0.1)
