"""Undo, stale results, faces, frames by hand, comparing, dropping, errors, closing: in the real window."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest

from core.editing import EditEngine, RenderRequest
from gui.widgets import asking
from tests.gui.hands import Hands, inside


@pytest.fixture(scope="module")
def two_faces(astronaut: Path, tmp_path_factory) -> Path:
    face = Image.open(astronaut)
    wide = Image.new("RGB", (1100, 620), (120, 130, 140))
    wide.paste(face.resize((600, 600)), (0, 10))
    wide.paste(face.resize((460, 460)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), (620, 80))
    path = tmp_path_factory.mktemp("two") / "two.png"
    wide.save(path)
    return path


@pytest.fixture(scope="module")
def no_face(tmp_path_factory) -> Path:
    from skimage.data import coffee

    path = tmp_path_factory.mktemp("coffee") / "coffee.png"
    Image.fromarray(coffee()).save(path)
    return path


def test_undo_redo_and_merging(drive, astronaut):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        undo, start = hands.state.undo, hands.state.recipe
        hands.choose("age", "old")
        hands.drag_strength("age", 90, 60, 40)
        hands.drag_strength("age", 70, 130)
        await hands.settled()
        assert undo.count() == 3, "each drag is one step"
        assert hands.state.face.swaps[0].strength == pytest.approx(1.3, abs=0.02)
        late = hands.after()
        hands.trigger("undo")
        assert hands.state.face.swaps[0].strength == pytest.approx(0.4, abs=0.02)
        assert hands.row("age").slider.value() == round(hands.state.face.swaps[0].strength * 100)
        hands.trigger("undo")
        assert hands.state.face.swaps[0].strength == 1.0
        hands.trigger("undo")
        assert hands.state.recipe == start
        assert not hands.state.unsaved
        await hands.settled()
        assert (hands.after() == hands.before()).all()
        for _ in range(3):
            hands.trigger("redo")
        await hands.settled()
        assert np.array_equal(hands.after(), late), "redo paints the same"
        # a drag that comes back to where it began leaves no step
        steps, value = undo.count(), hands.row("age").slider.value()
        hands.drag_strength("age", 20, value)
        assert undo.count() == steps
        assert undo.isClean() is False

        hands.choose("smile", "smiling")
        hands.click(hands.row("age").reset)
        assert [s.attribute for s in hands.state.face.swaps] == ["smile"]
        hands.click(hands.editor.panel.reset)
        assert hands.state.face.swaps == ()
        hands.trigger("undo")
        assert [s.attribute for s in hands.state.face.swaps] == ["smile"]
        hands.click(hands.editor.panel.blends["resynthesise"])
        assert hands.state.face.blend == "resynthesise"
        await hands.settled()
        assert (hands.after() != hands.before()).any()

        narrow = hands.after().copy()
        hands.click(hands.editor.panel.reaches[True])
        assert hands.state.face.beyond
        await hands.settled()
        left, top, right, bottom = hands.state.face.frame.bounds(512, 512)
        outside = np.ones((512, 512), bool)
        outside[top:bottom, left:right] = False
        assert np.array_equal(narrow[outside], hands.before()[outside])
        assert (hands.after() != hands.before())[outside].any()
        hands.click(hands.editor.panel.reaches[False])
        await hands.settled()
        assert np.array_equal(hands.after(), narrow)

    drive(scenario, astronaut)


def test_latest_wins_and_older_answers_are_never_shown(drive, astronaut, tiny_model):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        shown: list[int] = []
        hands.session.rendered.connect(lambda number, *_: shown.append(number))
        hands.choose("hair_color", "black")
        for value in range(1, 80):
            hands.drag_strength("hair_color", value + 20, release=False)
            if value % 10 == 0:
                await asyncio.sleep(0.01)
        hands.choose("hair_color", "blond")
        asked = hands.session.asked
        await hands.settled()
        assert shown == sorted(shown)
        assert shown[-1] == asked
        assert len(shown) < asked, "requests between were skipped"
        engine = EditEngine(tiny_model, "cpu")
        expected = hands.before().copy()
        for patch in engine.render(RenderRequest(1, hands.state.recipe)).patches:
            left, top, right, bottom = patch.bounds
            expected[top:bottom, left:right] = patch.pixels
        assert np.array_equal(hands.after(), expected), "the last answer is the last question's"

        # a reset is shown at once, and the answer that was under way does not come back over it
        hands.choose("glasses", "glasses")
        hands.trigger("reset")
        assert (hands.after() == hands.before()).all()
        await asyncio.sleep(0.3)
        await hands.settled()
        assert (hands.after() == hands.before()).all()

    drive(scenario, astronaut)


def test_an_answer_for_the_photo_before_is_dropped(drive, astronaut, no_face, two_faces):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        hands.choose("hair_color", "grey")
        hands.state.undo.setClean()  # as if saved: no question
        hands.editor.open(two_faces)
        hands.editor.open(no_face)
        await hands.until(lambda: hands.state.path == no_face, "for the last photo")
        await hands.settled()
        await asyncio.sleep(0.3)
        assert hands.state.path == no_face, "the later photo wins"
        assert np.array_equal(hands.after(), np.asarray(Image.open(no_face)))
        assert hands.editor.messages.message == ""
        assert hands.state.recipe.faces == ()

    drive(scenario, astronaut)


def test_choose_between_faces(drive, two_faces):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        faces = hands.state.recipe.faces
        assert len(faces) == 2
        assert hands.editor.panel.heading.text() == "Face 1 of 2"
        where = hands.canvas.viewport.to_screen(QPointF(faces[1].frame.center_x, faces[1].frame.center_y))
        hands.canvas.set_split(0.01)
        hands.click(hands.canvas, where)
        assert hands.state.chosen == 1
        hands.choose("hair_color", "black")
        await hands.settled()
        changed = (hands.after() != hands.before()).any(2)
        masks = [inside(f.frame, *changed.shape) for f in faces]
        assert changed[masks[1]].any()
        assert not changed[~masks[1]].any(), "the other face is left alone"
        hands.key(Qt.Key.Key_N, hands.canvas)
        await hands.until(lambda: hands.state.chosen == 0, "for the next face")
        assert not hands.row("hair_color").property("changed")
        hands.trigger("undo")
        assert hands.state.chosen == 1, "undo shows the face it is about"

    drive(scenario, two_faces)


def test_place_a_frame_by_hand_where_no_face_was_found(drive, no_face):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        panel, canvas = hands.editor.panel, hands.canvas
        assert "No face" in panel.sentence.text()
        assert not hands.row("age").isVisible()
        hands.click(panel.place)
        assert canvas.tool is not None
        assert hands.editor.frame_bar.isVisible()
        first = canvas.tool.frame
        to_screen = canvas.viewport.to_screen
        middle = to_screen(canvas.tool.centre())
        hands.drag(canvas, middle, middle + QPointF(10, 6), middle + QPointF(40, 20))
        moved = canvas.tool.frame
        scale = canvas.viewport.scale
        assert moved.center_x - first.center_x == pytest.approx(40 / scale, abs=1.5)
        assert moved.side == first.side
        corners = [to_screen(c) for c in canvas.tool.corners()]
        hands.drag(canvas, corners[2], corners[2] - QPointF(30, 30), corners[2] - QPointF(60, 60))
        smaller = canvas.tool.frame
        assert smaller.side < moved.side - 20
        kept = to_screen(canvas.tool.corners()[0])
        assert (kept - corners[0]).manhattanLength() < 3, "the opposite corner stays"
        handle = canvas.tool._turn_handle(canvas.viewport)
        centre = to_screen(canvas.tool.centre())
        hands.drag(canvas, handle, handle + QPointF(20, 5), centre + QPointF(200, 0))
        assert canvas.tool.frame.angle == pytest.approx(90, abs=2)
        hands.key(Qt.Key.Key_BracketLeft, canvas)
        hands.key(Qt.Key.Key_Right, canvas, Qt.KeyboardModifier.ShiftModifier)
        wanted = canvas.tool.frame
        hands.key(Qt.Key.Key_Return, canvas)
        assert canvas.tool is None
        assert not hands.editor.frame_bar.isVisible()
        await hands.settled()
        assert hands.state.face.frame == wanted
        assert hands.row("age").isVisible()
        assert "%" in hands.row("age").detected.text(), "the model has looked at it"
        hands.choose("hair_color", "blond")
        await hands.settled()
        changed = (hands.after() != hands.before()).any(2)
        assert changed.any()
        assert not changed[~inside(wanted, *changed.shape)].any()

        hands.key(Qt.Key.Key_2, canvas)
        half = canvas.viewport.view.width()
        hands.trigger("adjust_frame")
        assert canvas.viewport.view.width() > 1.9 * half, "one large pane to place it in"
        hands.key(Qt.Key.Key_Up, canvas)
        hands.key(Qt.Key.Key_Escape, canvas)
        assert hands.state.face.frame == wanted, "Escape leaves it"
        assert canvas.viewport.view.width() == half
        hands.trigger("undo")
        hands.trigger("undo")
        assert hands.state.recipe.faces == ()
        assert "No face" in panel.sentence.text()

    drive(scenario, no_face)


def test_drop_a_photo(drive, astronaut, no_face, tmp_path):
    async def scenario(hands: Hands) -> None:
        assert hands.editor.stack.currentWidget() is hands.editor.drop_area
        assert not hands.drop(astronaut, no_face), "one at a time"
        assert not hands.drop(tmp_path), "no folder"
        assert hands.drop(astronaut)
        await hands.opened()
        assert hands.state.path == astronaut

    drive(scenario)


def test_hold_to_compare(drive, astronaut):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        canvas, window = hands.canvas, hands.window
        hands.key(Qt.Key.Key_3, canvas)
        assert canvas.mode == "single"
        unedited = hands.seen()
        hands.choose("hair_color", "black")
        await hands.settled()
        edited = hands.seen()
        assert (edited != unedited).any()
        canvas.setFocus()
        QTest.keyPress(canvas, Qt.Key.Key_B)
        assert canvas.holding
        held = hands.seen()
        assert np.array_equal(held[60:], unedited[60:]), "below the tag it is the photo before"
        QTest.keyRelease(canvas, Qt.Key.Key_B)
        assert np.array_equal(hands.seen(), edited)
        QTest.mousePress(window.editor.tools.hold, Qt.MouseButton.LeftButton)
        assert canvas.holding
        QTest.mouseRelease(window.editor.tools.hold, Qt.MouseButton.LeftButton)
        assert not canvas.holding

        hands.key(Qt.Key.Key_1, canvas)
        x = canvas._split_x()
        hands.drag(canvas, QPointF(x, 200), QPointF(x + 50, 210), QPointF(x - 100, 220))
        assert canvas._split_x() == pytest.approx(x - 100, abs=1.5)
        hands.key(Qt.Key.Key_Right, canvas, Qt.KeyboardModifier.ControlModifier)
        assert canvas._split_x() > x - 99
        hands.key(Qt.Key.Key_2, canvas)
        panes = hands.seen()
        half = (panes.shape[1] - 2) // 2
        assert (panes[80:, :half] != panes[80:, half + 2 : 2 * half + 2]).any(), "before is left, after right"
        for width in (canvas.width(), canvas.width() - 1):
            canvas.resize(width, canvas.height())
            assert canvas._pane(1).right() == width, "no column is left with what was there before"

    drive(scenario, astronaut)


def test_zoom_and_detail_of_a_large_photo(drive, astronaut, tmp_path):
    big = tmp_path / "big.jpg"
    Image.open(astronaut).convert("RGB").resize((2600, 2600)).save(big, quality=95)

    async def scenario(hands: Hands) -> None:
        await hands.opened()
        canvas = hands.canvas
        assert canvas.picture.before.width == 1600
        assert canvas.viewport.fitted
        hands.choose("smile", "smiling")
        await hands.settled()
        hands.trigger("actual_size")
        assert canvas.viewport.zoom == 1.0
        await hands.until(lambda: canvas.picture.before.width == 2600, "for the photo's own pixels")
        await hands.settled()
        assert canvas.viewport.zoom == 1.0, "the view stays where it is"
        changed = (hands.after() != hands.before()).any(2)
        assert changed.any()
        assert not changed[~inside(hands.state.face.frame, *changed.shape)].any()
        hands.trigger("fit")
        await hands.settled()
        assert canvas.picture.before.width == 1600
        assert (hands.after() != hands.before()).any()

    drive(scenario, big)


def test_broken_files_are_told_and_change_nothing(drive, astronaut, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not much of a photo")
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    recipe = tmp_path / "broken.recipe.json"
    recipe.write_text("{")

    async def scenario(hands: Hands) -> None:
        await hands.until(lambda: hands.editor.messages.message, "for the message")
        assert "broken.jpg" in hands.editor.messages.message
        assert hands.editor.stack.currentWidget() is hands.editor.drop_area
        hands.editor.open(astronaut)
        await hands.opened()
        assert hands.editor.messages.message == "", "an old message goes when a photo opens"
        hands.choose("age", "child")
        hands.state.undo.setClean()
        for bad in (empty, recipe, tmp_path / "gone.png"):
            hands.editor.open(bad)
            await hands.until(lambda bad=bad: bad.name in hands.editor.messages.message, f"for {bad.name}")
        await hands.settled()
        assert hands.state.path == astronaut, "the open photo stays"
        assert hands.state.face.swaps[0].value == "child"
        hands.key(Qt.Key.Key_Escape, hands.canvas)
        assert hands.editor.messages.message == ""

    drive(scenario, broken)


def test_a_save_that_fails_keeps_the_edits(drive, astronaut, tmp_path, monkeypatch):
    async def nowhere(*_):
        return tmp_path / "no such folder" / "out.png"

    monkeypatch.setattr(asking, "save_path", nowhere)

    async def scenario(hands: Hands) -> None:
        await hands.opened()
        hands.choose("age", "child")
        hands.trigger("save_as")
        await hands.until(lambda: hands.editor.messages.message, "for the message")
        assert hands.state.unsaved

    drive(scenario, astronaut)


def test_closing_asks_about_unsaved_edits(drive, astronaut, tmp_path, monkeypatch):
    out = tmp_path / "kept.png"

    async def chosen(*_):
        return out

    monkeypatch.setattr(asking, "save_path", chosen)

    async def scenario(hands: Hands) -> None:
        await hands.opened()
        closed = []
        hands.window.closed.connect(lambda: closed.append(True))
        hands.choose("age", "old")
        hands.window.close()
        assert hands.window.isVisible()
        assert "astronaut.png" in await hands.answer("cancel")
        await asyncio.sleep(0.05)
        assert hands.window.isVisible()
        assert not closed
        hands.window.close()
        await hands.answer("save")
        await hands.until(lambda: closed, "for the window to close")
        assert out.is_file()

    drive(scenario, astronaut)


def test_discarding_edits_opens_the_next_photo(drive, astronaut, no_face):
    async def scenario(hands: Hands) -> None:
        await hands.opened()
        hands.choose("age", "old")
        hands.editor.open(no_face)
        await hands.answer("discard")
        await hands.until(lambda: hands.state.path == no_face, "for the next photo")
        closed = []
        hands.window.closed.connect(lambda: closed.append(True))
        hands.window.close()
        assert closed, "nothing is unsaved: no question"

    drive(scenario, astronaut)


@pytest.mark.parametrize("moment", ["opening", "rendering", "describing"])
def test_closing_during_work(drive, astronaut, moment):
    async def scenario(hands: Hands) -> None:
        if moment == "opening":
            await hands.until(lambda: hands.session._busy, "for work")
        else:
            await hands.opened()
            if moment == "rendering":
                hands.choose("age", "old")
            else:
                hands.state.set_frame(hands.state.face.frame.scaled(0.9), None)
        # the scenario ends here: the window goes away under the work, and `nothing_left` looks for threads

    drive(scenario, astronaut)
