"""The model can be changed in the window, and gives the device away when a training needs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.installed import installed_models, user_models_folder


@pytest.fixture
def second_model(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the user's folder that lacks the tiny model's last attribute's last value."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = user_models_folder() / "mine"
    shutil.copytree(tiny_model, folder)
    card = json.loads((folder / "card.json").read_text("utf-8"))
    card["title"], card["name"] = "My own & other", "mine"
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    return folder


def test_another_model_takes_over_with_the_edits(drive, astronaut, second_model, tiny_model):
    async def scenario(hands):
        await hands.opened()
        hands.choose("hair_color", "blond")
        await hands.settled()
        changed = hands.after()
        assert not np.array_equal(changed, hands.before())
        assert hands.state.card.title != "My own & other"
        menu = next(
            action.menu()
            for file in hands.window.menuBar().actions()
            for action in file.menu().actions()
            if action.text() == "&Model"
        )
        hands.editor._fill_models(menu)
        entries = {action.text(): action for action in menu.actions()}
        assert not entries["My own && other"].isChecked()
        entries["My own && other"].trigger()
        await hands.until(lambda: hands.state.card.title == "My own & other", "for the other model")
        await hands.opened()
        await hands.settled()
        assert [swap.value for swap in hands.state.face.swaps] == ["blond"]
        assert hands.state.unsaved, "the edits are still in no file"
        assert np.array_equal(hands.after(), changed), "it has the same weights"
        assert hands.editor.settings.get("editor/model") == str(second_model)
        hands.editor._fill_models(menu)
        assert {a.text() for a in menu.actions() if a.isChecked()} == {"My own && other"}
        hands.state.undo.setClean()

    drive(scenario, astronaut)
    assert second_model in [model.folder for model in installed_models()]


def test_a_damaged_model_leaves_the_present_one(drive, astronaut, second_model):
    (second_model / "weights.safetensors").write_bytes(b"nothing")

    async def scenario(hands):
        await hands.opened()
        card = hands.state.card
        hands.editor.use_model(second_model)
        await hands.until(lambda: hands.editor.messages.message, "for the message")
        assert hands.state.card is card
        assert hands.editor.settings.get("editor/model") == ""
        hands.choose("hair_color", "blond")
        await hands.settled()
        assert not np.array_equal(hands.after(), hands.before())
        hands.state.undo.setClean()

    drive(scenario, astronaut)


def test_the_device_is_freed_and_taken_again(drive, astronaut):
    async def scenario(hands):
        await hands.opened()
        hands.window.services.device_wanted.emit("A training uses the device.")
        assert "A training" in hands.editor.messages.message
        await hands.until(lambda: hands.session._engine._model is None, "for the model to go")
        hands.choose("hair_color", "blond")
        await hands.settled()
        assert not np.array_equal(hands.after(), hands.before())
        hands.state.undo.setClean()

    drive(scenario, astronaut)
