"""The first minute of a new user: no photo of one's own, and a button."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QSettings

from core.errors import StudioError
from core.images import open_photo
from core.paths import resources
from core.samples import SHIPPED, is_sample, sample_photo
from gui.widgets import asking
from tests.gui.hands import Hands


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr("core.samples.user_cache", lambda: folder)
    return folder


def test_the_sample_is_opened_edited_and_saved_without_touching_the_shipped_one(
    drive, cache, tmp_path, monkeypatch
):
    shipped = (resources() / SHIPPED).read_bytes()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    proposals = []

    async def save_path(_parent, _title, proposed: Path, _patterns) -> Path:
        proposals.append(proposed)
        return chosen[len(proposals) - 1]

    monkeypatch.setattr(asking, "save_path", save_path)
    # once as proposed, once, of all places, over the photo that is open
    chosen = [pictures / "blond.png", cache / "samples" / "Sample face.jpg"]

    async def scenario(hands: Hands) -> None:
        hands.editor.settings.set("files/folder", str(pictures))
        button = hands.editor.drop_area.sample
        await hands.until(button.isVisible, "for the start page")
        hands.click(button)
        await hands.opened()
        await hands.settled()
        assert hands.editor.messages.message == ""
        assert hands.window.windowTitle().startswith("Sample face.jpg")
        assert len(hands.state.recipe.faces) == 1, "the face is found"
        assert hands.state.view is not None, "and the model has looked at it"
        assert not hands.state.unsaved

        hands.choose("hair_color", "blond")
        await hands.settled()
        assert (hands.after() != hands.before()).any(2).mean() > 0.05
        # of a styled spin box without buttons Qt leaves one pixel to the number
        number = hands.row("hair_color").number
        assert number.text() == "100 %"
        assert number.lineEdit().width() > number.fontMetrics().horizontalAdvance(number.text())
        hands.trigger("save_as")
        await hands.until(lambda: chosen[0].is_file() and not hands.state.unsaved, "for the saved photo")
        assert proposals == [pictures / "Sample face-edited.jpg"], "among the user's own photos"

        hands.choose("smile", "smiling")
        await hands.settled()
        hands.trigger("save_as")
        assert "Sample face.jpg" in await hands.answer("discard")
        await hands.until(lambda: not hands.state.unsaved, "for the save over the copy")
        assert chosen[1].read_bytes() != shipped

        hands.editor.open_sample()
        await hands.until(lambda: not hands.state.undo.canUndo(), "for the sample again")
        await hands.settled()
        assert chosen[1].read_bytes() == shipped, "it opens as it was shipped"

    drive(scenario)
    assert (resources() / SHIPPED).read_bytes() == shipped
    assert not QSettings().value("files/recent"), "it is none of the user's photos"


def test_a_sample_that_is_gone_is_said_in_the_window(drive, monkeypatch, tmp_path):
    monkeypatch.setattr("core.samples.resources", lambda: tmp_path)

    async def scenario(hands: Hands) -> None:
        hands.click(hands.editor.drop_area.sample)
        await hands.until(lambda: hands.editor.messages.message, "for what is wrong")
        assert "sample photo" in hands.editor.messages.message
        assert hands.state.photo is None

    drive(scenario)


def test_a_cache_that_cannot_be_written_is_an_error_for_people(cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(StudioError, match="can't be copied"):
        sample_photo()


def test_the_copy_is_known_and_the_shipped_picture_is_small():
    copy = sample_photo()
    assert is_sample(copy)
    assert not is_sample(resources() / SHIPPED)
    assert copy.stat().st_size < 300_000
    photo = open_photo(copy)
    assert (photo.width, photo.height) == (320, 320)
