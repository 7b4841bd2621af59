"""Curate's dialogs and bulk ways through the real window: values edited, labels imported, images selected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QInputDialog, QTreeWidgetItem

from core.collection import CLIP, NONE, PERSON
from gui.curator.exchange import ImportDialog
from gui.curator.model import TILE
from gui.curator.set_dialog import ROLE, SetDialog
from gui.curator.view import CuratorView
from gui.widgets import asking
from tests.gui.curating import opened, settled
from tests.gui.hands import Hands

COUNT = 60


def item_of(dialog: SetDialog, attribute: str, value: str | None = None) -> QTreeWidgetItem:
    tree = dialog.tree
    tops = [tree.topLevelItem(i) for i in range(tree.topLevelItemCount())]
    items = [*tops, *(top.child(i) for top in tops for i in range(top.childCount()))]
    return next(item for item in items if tuple(item.data(0, ROLE)) == (attribute, value))


def choose(dialog: SetDialog, attribute: str, *values: str | None) -> None:
    dialog.tree.clearSelection()
    for value in values:
        item_of(dialog, attribute, value).setSelected(True)


async def type_in(hands: Hands, dialog: SetDialog, text: str) -> None:
    """Answer the question for a name."""
    asked: Callable[[], list[QInputDialog]] = lambda: [  # noqa: E731
        d for d in dialog.findChildren(QInputDialog) if d.isVisible()
    ]
    await hands.until(asked, "for a question")
    question = asked()[0]
    question.setTextValue(text)
    question.accept()


def test_values_are_added_merged_and_deleted_and_come_back(drive, known_folder, clip_folder):
    async def scenario(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        state = view.state
        assert state.attribute_name == "age"
        names = [value.name for value in state.attribute.values]
        view.session.label(np.arange(12), np.arange(12) % 4)
        await settled(hands, view)
        view.panel.label.edit.click()
        await hands.until(lambda: view.findChildren(SetDialog))
        dialog = view.findChildren(SetDialog)[0]
        await hands.until(dialog.isVisible)

        choose(dialog, "age", None)
        hands.click(dialog.buttons["add_value"])
        await type_in(hands, dialog, "Über 90")
        await hands.until(lambda: len(state.attribute.values) == 5)
        assert state.attribute.values[4].title == "Über 90"
        await hands.until(lambda: item_of(dialog, "age", names[0]).text(1) == "3", "for the list")

        choose(dialog, "age", names[0], names[1])
        hands.click(dialog.buttons["merge"])
        # labels of both are one value's now
        await hands.until(lambda: state.known.labels.counts().tolist() == [6, 3, 3, 0])

        choose(dialog, "age", names[2])
        hands.click(dialog.buttons["delete"])
        asked = await hands.answer("cancel")
        assert asked.startswith("Delete ")
        await asyncio.sleep(0.05)
        assert len(state.attribute.values) == 4
        hands.click(dialog.buttons["delete"])
        await hands.answer("discard")
        await hands.until(lambda: state.known.labels.counts().tolist() == [6, 3, 0])
        dialog.reject()
        await hands.until(lambda: not view.findChildren(SetDialog))

        for wanted in ([6, 3, 3, 0], [3, 3, 3, 3, 0], [3, 3, 3, 3]):
            title = state.undo_title
            hands.trigger("undo")
            await hands.until(lambda title=title: state.redo_title == title and view.session.up_to_date)
            assert state.known.labels.counts().tolist() == wanted
        assert [value.name for value in state.attribute.values] == names
        assert (state.known.labels.source[:12] == PERSON).all()

    drive(scenario)


def test_an_import_says_what_it_would_do_and_is_one_step(
    drive, known_folder, clip_folder, tmp_path, monkeypatch
):
    file = tmp_path / "theirs.csv"
    seen: list[ImportDialog] = []

    async def chosen(*_: object) -> Path:
        return file

    async def accepted(dialog: ImportDialog) -> int:
        seen.append(dialog)
        dialog.add_values.setChecked(True)
        return 1

    monkeypatch.setattr(asking, "open_path", chosen)

    async def scenario(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        state = view.state
        paths, names = state.known.images.paths, [value.name for value in state.attribute.values]
        view.session.label(np.array([0, 1]), 0)
        await settled(hands, view)
        lines = [f"{paths[0]},{names[0]}", f"{paths[1]},{names[1]}", f"{paths[2]},{names[2]}"]
        lines += [f"{paths[3]},ancient", f"nowhere.png,{names[0]}"]
        file.write_text("\n".join(["file,age", *lines]), encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(asking, "finished", accepted)
            hands.trigger("import_labels")
            await hands.until(lambda: len(state.attribute.values) == 5 and view.session.up_to_date)
        words = seen[0].words.text()
        assert "theirs.csv names 4 of these images." in words
        assert "1 file is not here: nowhere.png." in words
        assert "New values of age: ancient." in words
        assert f"1 label of yours differs: {paths[1]} (you: {names[0]}, file: {names[1]})." in words
        labels = state.known.labels
        assert labels.value[:4].tolist() == [0, 0, 2, 4], "a person's label stays"
        hands.trigger("undo")
        await hands.until(lambda: len(state.attribute.values) == 4 and view.session.up_to_date)
        assert state.known.labels.source[:4].tolist() == [PERSON, PERSON, NONE, NONE]

    drive(scenario)


def tile_centre(view: CuratorView, row: int) -> QPointF:
    return QPointF(view.grid.visualRect(view.grid.images.index(row)).center())


def test_tiles_fill_the_width_and_a_rubber_band_selects(drive, known_folder, clip_folder):
    async def scenario(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        grid = view.grid
        for width in (1280, 1000, 1113):
            hands.window.resize(width, 800)
            await asyncio.sleep(0.05)
            columns = grid.columns
            last = grid.visualRect(grid.images.index(columns - 1))
            below = grid.visualRect(grid.images.index(columns))
            assert last.top() == 0 and below.left() == 0 and below.top() == last.bottom() + 1
            assert 0 <= grid.viewport().width() - last.right() - 1 < columns + 6, (
                "nothing is left beside them"
            )
        hands.drag(grid.viewport(), *(tile_centre(view, row) for row in (0, 1, grid.columns + 1)))
        assert grid.selected_rows().tolist() == [0, 1, grid.columns, grid.columns + 1]
        view.session.set_arrangement(replace(view.state.arrangement, show="import"))
        await settled(hands, view)
        assert not len(view.state.shown) and not grid.viewport().grab().isNull()

    drive(scenario)


def test_what_is_learned_is_shown_taken_over_and_checked(drive, known_folder, clip_folder):
    async def scenario(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        state, learn = view.state, view.panel.learn
        view.panel.tabs.setCurrentIndex(2)
        assert "enough labels" in learn.status.text() or "need 8 labels" in learn.status.text()
        half = np.arange(24)
        view.session.label(half, half % 2)
        await hands.until(lambda: view.panel.learner.proposals is not None, "for what is learned")
        await settled(hands, view)
        assert learn.status.text().startswith("From 24 labels.")
        tiles = [view.grid.images.index(row).data(TILE) for row in range(COUNT)]
        of = dict(zip(state.shown.tolist(), tiles, strict=True))
        titles = [value.title for value in state.attribute.values]
        for position, tile in of.items():
            best = int(state.known.learned[position].argmax())
            said = int(state.known.scores.best[position])
            if position in half or best == said:
                assert not tile.learned
            else:
                assert tile.learned == f"{titles[best]} {state.known.learned[position, best]:.0%}"
        assert any(tile.learned for tile in tiles)

        view.panel.tabs.setCurrentIndex(0)
        view.panel.label.rule.k.setValue(8)
        await settled(hands, view)
        view.panel.label.rule.apply.click()
        await settled(hands, view)
        view.panel.tabs.setCurrentIndex(2)
        value = int(np.argmax([audit.button.isEnabled() for audit in learn.audits]))
        by_clip = np.flatnonzero(state.known.labels.source == CLIP)
        wanted = by_clip[state.known.labels.value[by_clip] == value]
        assert len(wanted)
        learn.audits[value].button.click()
        assert sorted(state.shown.tolist()) == wanted.tolist()
        view.grid.selectAll()
        hands.trigger("accept")
        await settled(hands, view)
        words = learn.audits[value].words.text()
        assert "checked are right" in words and "more checks halve that interval" in words

    drive(scenario)
