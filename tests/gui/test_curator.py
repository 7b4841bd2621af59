"""Curate through the real `main()`: a folder in, scores, corrections by keys, undo, reopen, export."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog, QLabel

from core.annotate import TopK
from core.attributes import load_attribute_set
from core.collection import CLIP, NONE, PERSON
from core.paths import resources
from gui.curator import exchange
from gui.curator.keys_dialog import KeysDialog
from gui.curator.ordering import Arrangement, Known, arrange
from gui.curator.view import CuratorView
from gui.widgets import asking
from tests.gui.curating import (
    curator,
    make_pictures,
    on_disk,
    opened,
    press,
    scored,
    settled,
)
from tests.gui.hands import Hands

COUNT = 130
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, and a file that is none."""
    made = make_pictures(tmp_path / "faces", COUNT)
    (made / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    return made


def test_from_a_folder_to_an_export(drive, folder, clip_folder, tmp_path, monkeypatch):
    out = tmp_path / "labels.csv"

    async def saved(*_: object) -> Path:
        return out

    async def accepted(dialog: exchange.ExportDialog) -> int:
        return 1

    async def first(hands: Hands) -> None:
        view = await opened(hands, folder, clip_folder)
        state, grid = view.state, view.grid
        assert state.count == COUNT and "broken" not in " ".join(state.known.images.paths)
        assert "1 file can't be read" in view.news.text()
        name = state.attribute_name
        values = len(state.attribute.values)
        assert values == 4
        score = state.known.scores.values.max(axis=1)[state.shown]
        assert (np.diff(score) <= 0).all(), "the best score comes first"

        view.panel.label.rule.k.setValue(5)
        await hands.until(lambda: state.rule == TopK(5) and view.session.up_to_date)
        assert view.panel.label.rule.words.text().startswith("Would label: ")
        foreseen = state.preview.counts
        view.panel.label.rule.apply.click()
        await hands.until(lambda: state.undo_title is not None)
        await settled(hands, view)
        assert tuple(state.known.labels.counts().tolist()) == foreseen
        assert set(state.known.labels.source.tolist()) <= {NONE, CLIP}

        press(view, Qt.Key.Key_2)  # a value; it goes on to the next
        assert grid.currentIndex().row() == 1
        press(view, Qt.Key.Key_Return)  # CLIP's
        press(view, Qt.Key.Key_0)  # none of them
        press(view, Qt.Key.Key_Space)  # left as it is
        rows = state.shown[:4].tolist()
        guess = int(state.proposals(np.array(rows[3:]))[0])
        await settled(hands, view)
        disk = on_disk(folder, name)
        assert disk[rows[0]] == (1, PERSON)
        assert disk[rows[1]][1] == PERSON and disk[rows[1]][0] >= 0
        assert disk[rows[2]] == (-1, PERSON)
        assert disk[rows[3]][1] in (NONE, CLIP) and guess >= 0

        press(view, Qt.Key.Key_Down, modifiers=SHIFT)  # a row of tiles and one more
        selected = grid.selected()
        assert len(selected) == grid.columns + 1
        press(view, Qt.Key.Key_3)
        await settled(hands, view)
        assert all(on_disk(folder, name)[p] == (2, PERSON) for p in selected)
        hands.trigger("undo")
        await hands.until(lambda: "Taken back" in view.news.text())
        await settled(hands, view)
        assert all(on_disk(folder, name)[p] != (2, PERSON) for p in selected), "one step for all"
        hands.trigger("redo")
        await hands.until(lambda: "Done again" in view.news.text())
        assert all(on_disk(folder, name)[p] == (2, PERSON) for p in selected)

    drive(first)
    monkeypatch.setattr(asking, "save_path", saved)
    monkeypatch.setattr(asking, "finished", accepted)

    async def second(hands: Hands) -> None:
        view = curator(hands)
        hands.window.show_workspace("curate")
        view.open(folder)
        await scored(hands, view)
        state, name = view.state, view.state.attribute_name
        before = on_disk(folder, name)
        mine = np.flatnonzero(state.known.labels.source == PERSON)
        assert len(mine) >= 5, "labels are there again"
        view.show_only(show="person")
        await hands.until(lambda: set(state.shown.tolist()) == set(mine.tolist()))
        hands.trigger("undo")
        await hands.until(lambda: "Taken back" in view.news.text(), "for an undo of the last session's step")
        await settled(hands, view)
        assert on_disk(folder, name) != before
        hands.trigger("redo")
        await hands.until(lambda: "Done again" in view.news.text())
        assert on_disk(folder, name) == before
        hands.trigger("export_labels")
        await hands.until(out.is_file)

    drive(second)
    with out.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    assert len(lines) >= 6
    assert any("Teenager" in line or "teenager" in line for line in lines)


def test_a_hundred_corrections_by_keys(drive, known_folder, clip_folder):
    """Each is seen at once, all of them are on the disk, none is lost or doubled."""

    async def scenario(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        state, grid = view.state, view.grid
        wanted = {}
        slowest, began = 0.0, time.perf_counter()
        for i in range(100):
            position, value = grid.position, i % 4
            wanted[position] = value
            start = time.perf_counter()
            press(view, Qt.Key(Qt.Key.Key_1 + value))
            assert state.known.labels.value[position] == value, "the grid has it before the disk"
            assert grid.currentIndex().row() == i + 1
            grid.viewport().repaint()
            slowest = max(slowest, time.perf_counter() - start)
            await hands.until(lambda: True)
        assert slowest < 2.0, "no key press may hold the window up"
        await settled(hands, view)
        disk = on_disk(known_folder, state.attribute_name)
        assert {p: v for p, (v, s) in enumerate(disk) if s == PERSON} == wanted
        assert time.perf_counter() - began < 120
        grid.selectAll()
        assert len(grid.selected()) == COUNT
        press(view, Qt.Key.Key_X)
        await settled(hands, view)
        assert all(s == PERSON for _, s in on_disk(known_folder, state.attribute_name))

    drive(scenario)


def test_prompts_filters_and_accepting_everything_above(drive, known_folder, clip_folder):
    async def scenario(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        state, panel, grid = view.state, view.panel, view.grid
        before = state.known.scores.values.copy()
        panel.tabs.setCurrentIndex(1)
        text = panel.prompts.texts[1]
        text.setFocus()
        text.setPlainText("a purple square\nsomething else")
        await hands.until(lambda: "a purple square" in state.known.scores.texts, "for scores of the prompt")
        assert not np.allclose(state.known.scores.values[:, 1], before[:, 1])
        assert np.allclose(state.known.scores.values[:, 0], before[:, 0])
        grid.setFocus()  # the text is left, and kept
        await hands.until(lambda: state.attribute.values[1].prompts[0] == "a purple square")
        await settled(hands, view)

        panel.label.values.value_wanted.emit(1)
        await hands.until(lambda: state.arrangement.value == 1 and view.session.up_to_date)
        column = state.known.scores.values[:, 1][state.shown]
        assert (np.diff(column) <= 0).all()
        panel.label.histogram._set(float(np.median(column)))
        await hands.until(lambda: state.preview is not None and sum(state.preview.counts) > 0)
        await settled(hands, view)
        assert state.preview.counts[1] == panel.label.histogram.count()

        grid.go_to(9)
        hands.trigger("accept_above")
        await settled(hands, view)
        assert (state.known.labels.source[state.shown[:10]] == PERSON).all()
        assert (state.known.labels.source[state.shown[10:]] == NONE).all()
        assert "Accept" in state.undo_title

        rows = QItemSelectionModel.SelectionFlag.ClearAndSelect
        grid.selectionModel().select(grid.images.index(20), rows)
        hands.trigger("large")
        assert view.middle.currentWidget() is view.large
        assert len(view.large.bars.rows) == 4 + len(state.known.scores.texts)
        view.set_large(False)

    drive(scenario)


def test_an_empty_folder_says_what_to_do(drive, tmp_path, clip_folder):
    async def scenario(hands: Hands) -> None:
        view = curator(hands)
        hands.window.show_workspace("curate")
        view.open(tmp_path / "nothing")
        await hands.until(lambda: "is not a folder" in view.messages.message)
        (tmp_path / "empty").mkdir()
        view.open(tmp_path / "empty")
        await hands.until(lambda: "There are no images" in view.messages.message)
        assert view.stack.currentWidget() is view.start_page

    drive(scenario)


def test_orders_and_filters(tmp_path):
    """Known answers, without a window."""
    from core.annotate import score
    from core.collection.synthetic import synthetic_collection

    attributes = load_attribute_set(resources() / "attributes" / "faces.toml")
    with synthetic_collection(tmp_path / "made", attributes, 50) as collection:
        name = attributes.attributes[1].name
        ids = collection.images().ids
        collection.set_labels(name, ids[:3], 1, "person")
        collection.set_labels(name, ids[3:5], 0, "clip")
        rng = np.random.default_rng(1)
        rows = rng.normal(size=(50, 8)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = score(rows, attributes[name], lambda texts: rng.normal(size=(len(texts), 8)))
        known = Known(collection.images(), collection.labels(name), scores)
    assert arrange(known, Arrangement(show="person")).tolist() == sorted(
        [0, 1, 2], key=lambda p: -scores.values[p, 1]
    )
    assert set(arrange(known, Arrangement(show="clip")).tolist()) == {3, 4}
    assert len(arrange(known, Arrangement(show="unlabelled"))) == 45
    by_margin = arrange(known, Arrangement("margin"))
    assert (np.diff(scores.margin[by_margin]) >= 0).all()
    by_value = Arrangement("score", value=0)
    assert np.array_equal(arrange(known, by_value), np.argsort(-scores.values[:, 0], kind="stable"))
    assert np.array_equal(arrange(known, replace(by_value, reverse=True)), arrange(known, by_value)[::-1])
    assert arrange(known, Arrangement("name")).tolist() == list(range(50))
    assert arrange(known, Arrangement("date")).tolist() == list(range(50)), "made newest first"


def keys_page(hands: Hands) -> dict[str, str]:
    """The page of keys that is open: what each is for, and the keys; and it is closed."""
    page = next(d for d in hands.window.findChildren(QDialog) if d.windowTitle() == "Keyboard shortcuts")
    texts = [label.text() for label in page.findChildren(QLabel)]
    page.close()
    return dict(zip(texts[1::2], texts[::2], strict=True))


async def keys_shown(hands: Hands, view: CuratorView) -> dict[str, str]:
    """What `?` shows; F1 must show the same."""
    dialogs = hands.window.findChildren
    QTest.keyClicks(view.grid, "?")
    await hands.until(lambda: any(d.isVisible() for d in dialogs(QDialog)), "for the keys")
    by_question_mark = keys_page(hands)
    await hands.until(lambda: not dialogs(QDialog))
    hands.trigger("shortcuts")
    await hands.until(lambda: any(d.isVisible() for d in dialogs(QDialog)), "for the keys")
    assert keys_page(hands) == by_question_mark
    await hands.until(lambda: not dialogs(QDialog))
    return by_question_mark


def test_other_keys_work_and_are_listed(drive, known_folder, clip_folder):
    accept, uncertain, skip = (
        "Accept CLIP's value and go on",
        "Go to the next image CLIP is unsure of",
        "Leave it as it is and go on",
    )

    async def first(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        before = await keys_shown(hands, view)
        assert (before[accept], before[uncertain], before[skip]) == ("Return or Enter", "U", "Space")
        hands.trigger("change_keys")
        await hands.until(lambda: hands.window.findChildren(KeysDialog))
        dialog = hands.window.findChildren(KeysDialog)[0]
        fields = dialog.fields
        hands.key(Qt.Key.Key_U, fields["accept"])  # moves there
        await hands.until(lambda: fields["next_uncertain"].keySequence().isEmpty())
        hands.key(Qt.Key.Key_Space, fields["next_uncertain"])  # and so does this
        await hands.until(lambda: fields["skip"].keySequence().isEmpty())
        hands.key(Qt.Key.Key_F1, fields["skip"])
        assert dialog.about.text() == "F1 belongs to the window. Choose another key."
        dialog.accept()
        await hands.until(lambda: not hands.window.findChildren(KeysDialog))
        hands.window.activateWindow()  # there is no window manager here
        await hands.until(hands.window.isActiveWindow)
        view.grid.setFocus()
        first = view.grid.position
        press(view, Qt.Key.Key_U)
        assert view.state.known.labels.source[first] == PERSON and view.grid.position != first
        second = view.grid.position
        press(view, Qt.Key.Key_Return)
        assert view.state.known.labels.source[second] == NONE, "no longer the key of this"
        await settled(hands, view)

    async def second(hands: Hands) -> None:
        view = await opened(hands, known_folder, clip_folder)
        now = await keys_shown(hands, view)
        assert (now[accept], now[uncertain]) == ("U", "Space")
        assert skip not in now, "it has no key"

    drive(first)
    drive(second)


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_while_labelling_nothing_is_lost(drive, known_folder, tiny_model, tmp_path, monkeypatch):
    """A window is killed; in the next one every step can be undone and done again, and all is exported."""
    command = [sys.executable, "-m", "tests.gui.labels_until_killed", str(known_folder), str(tiny_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged: dict[str, int] = json.loads(line)
            if len(acknowledged) >= 20:
                break
        child.send_signal(signal.SIGKILL)  # it goes on labelling meanwhile
    assert child.returncode == -signal.SIGKILL and len(acknowledged) >= 20

    out = tmp_path / "labels.csv"
    monkeypatch.setattr(asking, "save_path", lambda *_: resolved(out))
    monkeypatch.setattr(asking, "finished", lambda dialog: resolved(1))

    async def scenario(hands: Hands) -> None:
        view = curator(hands)
        hands.window.show_workspace("curate")
        view.open(known_folder)
        state = view.state
        await hands.until(lambda: state.known is not None and view.session.up_to_date)
        labels, paths = state.known.labels, state.known.images.paths
        kept = {p: v for p, v, s in zip(paths, labels.value.tolist(), labels.source, strict=True) if s}
        assert acknowledged.items() <= kept.items()
        assert len(kept) <= len(acknowledged) + 2, "at most what was on its way when it was killed"
        assert set(labels.source[labels.source != NONE].tolist()) == {PERSON}
        assert sum(v == 2 for v in kept.values()) >= 3, "those labelled at once"

        steps = 0
        while state.undo_title is not None:
            title = state.undo_title
            hands.trigger("undo")
            await hands.until(lambda title=title: state.redo_title == title and view.session.up_to_date)
            steps += 1
        assert steps == len(kept) - 2, "three were one step"
        assert (state.known.labels.source == NONE).all()
        while state.redo_title is not None:
            title = state.redo_title
            hands.trigger("redo")
            await hands.until(lambda title=title: state.undo_title == title and view.session.up_to_date)
        now = state.known.labels
        assert np.array_equal(now.value, labels.value) and np.array_equal(now.source, labels.source)
        hands.trigger("export_labels")
        await hands.until(out.is_file)
        names = [value.name for value in state.attribute.values]
        column = state.attribute_name
        with out.open(encoding="utf-8-sig", newline="") as file:
            exported = {row["file"]: row[column] for row in csv.DictReader(file)}
        assert {p: exported[p] for p, v in acknowledged.items() if v >= 0} == {
            p: names[v] for p, v in acknowledged.items() if v >= 0
        }

    drive(scenario)


async def resolved(answer: object) -> object:
    return answer
