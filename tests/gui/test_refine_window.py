"""Refine in the window: begin, cancel, undo, save and replay, with hands on the real controls."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtCore import Qt

from core.recipe import Refinement, load_recipe, save_recipe
from tests.gui.conftest import Drive
from tests.gui.hands import Hands


def test_refine_cancel_undo_and_take_back(drive: Drive, astronaut: Path) -> None:
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        refine, refiner = hands.editor.panel.refine, hands.editor.refiner
        hands.choose("hair_color", "blond")
        await hands.settled()
        plain = hands.state.recipe
        assert refine.button.isEnabled() and refine.button.text() == "Refine"
        hands.click(refine.button)
        assert refiner.here and refine.button.text() == "Cancel"
        hands.click(refine.button)
        assert refiner.frame is None and refine.button.text() == "Refine"
        await hands.settled()
        assert hands.state.recipe == plain, "cancelled: nothing changed"
        hands.click(refine.button)
        # a control moves on meanwhile
        hands.choose("smile", "smiling")
        await hands.until(lambda: refiner.frame is None, "for the refinement")
        await hands.settled()
        face = hands.state.face
        assert face is not None and face.refinement is not None
        assert {swap.attribute for swap in face.swaps} == {"hair_color", "smile"}
        assert refine.button.text() == "Take back" and refine.about.text()
        assert hands.state.undo.undoText() == "Refine the face"
        hands.key(Qt.Key.Key_Z, hands.window, Qt.KeyboardModifier.ControlModifier)
        await hands.settled()
        assert hands.state.face.refinement is None and refine.button.text() == "Refine"
        hands.key(Qt.Key.Key_Y, hands.window, Qt.KeyboardModifier.ControlModifier)
        await hands.settled()
        assert hands.state.face == face
        hands.click(refine.button)
        await hands.settled()
        assert hands.state.face.refinement is None and hands.state.unsaved
        hands.state.undo.setClean()

    drive(scenario, astronaut)


def test_a_moved_frame_ends_it_and_another_face_has_to_wait(drive: Drive, astronaut: Path) -> None:
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        refine, refiner = hands.editor.panel.refine, hands.editor.refiner
        frame = hands.state.face.frame
        hands.state.set_frame(frame.scaled(1.1), None)
        await hands.settled()
        hands.trigger("refine")
        assert refiner.here
        hands.state.choose_face(0)
        assert not refine.button.isEnabled() and "Another face" in refine.button.toolTip()
        assert not hands.window.actions_by_name["refine"].isEnabled()
        hands.state.set_frame(frame.scaled(1.05), 1)
        assert refiner.frame is None
        hands.state.choose_face(0)
        assert refine.button.isEnabled()
        await hands.settled()
        assert all(face.refinement is None for face in hands.state.recipe.faces)
        hands.state.undo.setClean()

    drive(scenario, astronaut)


def test_a_saved_recipe_is_refined_again(drive: Drive, astronaut: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.recipe.json"
    said: list[str] = []

    async def scenario(hands: Hands) -> None:
        await hands.opened()
        hands.choose("hair_color", "blond")
        hands.state.set_refinement(hands.state.face.frame, Refinement(3))
        await hands.settled()
        recipe = hands.state.recipe
        save_recipe(recipe, path)
        assert load_recipe(path) == recipe
        hands.state.undo.setClean()
        hands.session.activity_changed.connect(lambda activity: said.append(activity.text))
        hands.editor.open(path)
        await hands.until(lambda: any("Opening" in text for text in said))
        await hands.opened()
        await hands.settled()
        await asyncio.sleep(0.05)
        assert hands.state.recipe.faces[0].refinement == Refinement(3)
        assert any("Refining" in text for text in said)
        assert hands.editor.panel.refine.button.text() == "Take back"

    drive(scenario, astronaut)
