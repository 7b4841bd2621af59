"""Labels of a collection: who may overwrite whom, undo and redo, edits of attributes; nothing is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.attributes import Attribute, AttributeSet, Value
from core.collection import (
    AddAttribute,
    AddValue,
    Collection,
    DeleteAttribute,
    DeleteValue,
    LabelEdit,
    MergeAttributes,
    MergeValues,
    MoveAttribute,
    MoveValue,
    RenameAttribute,
    RenameValue,
    ReplaceSet,
    SetPrompts,
)
from core.collection import history as history_module
from core.collection.schema import APPLICATION_ID, MIGRATIONS, VERSION
from core.collection.stored import first_set
from core.collection.synthetic import synthetic_collection
from core.errors import StudioError


def attribute(name: str, *values: str) -> Attribute:
    return Attribute(name, name.capitalize(), tuple(Value(v, v.capitalize(), (f"a {v}",)) for v in values))


SET = AttributeSet(
    "things", "Things", (attribute("hair", "black", "blond", "red"), attribute("hat", "no", "yes"))
)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return synthetic_collection(tmp_path / "photos", SET, 20)


def values(collection: Collection, name: str = "hair") -> list[int]:
    return collection.labels(name).value.tolist()


# ------------------------------------------------------------------------------------------------ rules


def test_people_and_imports_beat_clip_and_the_probe(collection: Collection) -> None:
    ids = collection.images().ids
    collection.set_labels("hair", ids[:6], 0, "clip", [{"score": i / 10, "rule": "topk"} for i in range(6)])
    collection.set_labels("hair", ids[:1], 1, "person")
    collection.set_labels("hair", ids[1:2], 2, "import")
    collection.set_labels("hair", ids[2:3], -1, "person")
    collection.set_labels("hair", ids[3:4], 1, "probe")
    change = collection.set_labels("hair", ids[:6], [2, 2, 2, 2, 2, -1], "clip")
    # the first three are settled; the last one's earlier label by CLIP is taken back
    assert values(collection)[:7] == [1, 2, -1, 2, 2, -1, -1]
    assert change.ids.tolist() == ids[3:6].tolist() and change.attribute == "hair"
    table = collection.labels("hair")
    assert table.source[:7].tolist() == [4, 3, 4, 1, 1, 0, 0]
    assert table.settled[:4].tolist() == [True, True, True, False]
    # what CLIP says of settled images is known all the same
    assert table.machine[:6].tolist() == [2, 2, 2, 2, 2, -1] and set(table.machine_source[:5].tolist()) == {1}
    assert table.counts().tolist() == [0, 1, 3]
    # CLIP takes back its own labels only
    collection.set_labels("hair", ids[:6], -1, "probe")
    assert values(collection)[:6] == [1, 2, -1, 2, 2, -1]
    # once cleared, CLIP may label again
    collection.set_labels("hair", ids[2:3], -1, "none")
    assert collection.labels("hair").source[2] == 0 and collection.labels("hair").time[2] == 0
    collection.set_labels("hair", ids[2:3], 0, "clip")
    assert values(collection)[2] == 0


def test_labels_tell_when_and_why(collection: Collection) -> None:
    ids = collection.images().ids
    before = time.time()
    collection.set_labels("hair", ids[:3], 1, "clip", [{"score": 0.25, "prompt": "ä"}, None, {"score": 0.5}])
    collection.set_labels("hair", ids[3:5], 1, "probe", {"model": "probe", "probability": 0.9})
    assert collection.reason("hair", int(ids[0])) == {"score": 0.25, "prompt": "ä"}
    assert collection.reasons("hair", ids[:6])[1:] == [
        None, {"score": 0.5}, *[{"model": "probe", "probability": 0.9}] * 2, None,
    ]  # fmt: skip
    assert (collection.labels("hair").time[:5] >= before).all() and collection.labels("hair").time[5] == 0
    collection.set_labels("hair", ids[:1], 1, "person")
    assert collection.reason("hair", int(ids[0])) is None
    collection.undo()
    assert collection.reason("hair", int(ids[0])) == {"score": 0.25, "prompt": "ä"}


def test_wrong_ids_and_values_change_nothing(collection: Collection) -> None:
    ids = collection.images().ids
    for wrong, value in (([0], 0), ([21], 0), ([1, 1], 0), ([1], 3), ([1], -2)):
        with pytest.raises(ValueError, match=r"ids|has no value"):
            collection.set_labels("hair", wrong, value, "person")
    with pytest.raises(ValueError):
        collection.apply([LabelEdit("hat", ids, 1, "person"), LabelEdit("hair", ids, 9, "person")])
    with pytest.raises(StudioError, match="no attribute “nose”"):
        collection.set_labels("nose", ids, 0, "person")
    assert collection.undo_title is None and set(values(collection, "hat")) == {-1}
    assert len(collection.set_labels("hair", [], 0, "person").ids) == 0 and collection.history() == []


# ---------------------------------------------------------------------------------------------- journal


def test_undo_and_redo_reach_beyond_the_session(collection: Collection) -> None:
    ids = collection.images().ids
    collection.set_labels("hair", ids[:12], 1, "person")
    collection.set_labels("hair", ids[2:5], [0, 1, 2], "person")
    collection.apply(
        [LabelEdit("hair", ids[:2], 0, "person"), LabelEdit("hat", ids[:3], 1, "person")], "Both"
    )
    states = [values(collection) + values(collection, "hat")]
    collection.close()
    collection = Collection.open(collection.folder)
    assert collection.undo_title == "Both" and collection.redo_title is None
    titles = []
    while (change := collection.undo()) is not None:
        titles.append(change.title)
        states.append(values(collection) + values(collection, "hat"))
    assert titles == ["Both", "Set Hair on 3 images", "Set Hair to Blond on 12 images"]
    assert set(states[-1]) == {-1}
    for expected in states[-2::-1]:
        assert collection.redo() is not None
        assert values(collection) + values(collection, "hat") == expected
    assert collection.redo() is None
    both = collection.undo()
    assert both is not None and both.attribute == "" and dict(both.parts).keys() == {"hair", "hat"}
    assert both.ids.tolist() == ids[:3].tolist()
    # a new action cuts what could be done again
    collection.set_labels("hat", ids[5:6], 0, "person")
    assert collection.redo_title is None and [a.undone for a in collection.history()] == [False] * 3
    assert collection.history()[0].title == "Set Hat to No on 1 image"


def test_the_journal_forgets_its_oldest_actions_only_when_opened(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = collection.images().ids
    for i in range(30):
        collection.set_labels("hair", ids, i % 3, "clip", [{"score": i + j / 100} for j in range(20)])
    collection.set_labels("hair", ids[:1], 2, "person")
    assert len(collection.history()) == 31
    collection.close()
    monkeypatch.setattr(history_module.forget_oldest, "__defaults__", (2_000,))
    collection = Collection.open(collection.folder)
    left = collection.history()
    assert 1 <= len(left) < 15 and left[0].title == "Set Hair to Red on 1 image"
    assert values(collection) == [2] * 20 and collection.reason("hair", int(ids[5])) == {"score": 29.05}
    collection.undo()
    assert collection.reason("hair", int(ids[0])) == {"score": 29.0}
    count = (
        sqlite3.connect(collection.home / "collection.sqlite")
        .execute("SELECT count(*) FROM reason")
        .fetchone()
    )
    assert count[0] <= 20 * (len(left) + 1)


# --------------------------------------------------------------------------------------------- attributes


def test_edits_keep_labels_and_can_be_undone(collection: Collection) -> None:
    ids = collection.images().ids
    collection.set_labels("hair", ids[:6], [0, 1, 2, 0, 1, 2], "person")
    before = collection.attributes
    assert (
        collection.edit_attributes(RenameValue("hair", "red", "ginger", "Ginger")).title
        == "Rename Red to Ginger"
    )
    collection.edit_attributes(MoveValue("hair", "ginger", 0))
    assert values(collection)[:6] == [1, 2, 0, 1, 2, 0]
    collection.edit_attributes(
        [RenameAttribute("hair", "hair_colour", "Hair colour"), MoveAttribute("hair_colour", 1)]
    )
    assert [a.name for a in collection.attributes] == ["hat", "hair_colour"]
    change = collection.edit_attributes(MergeValues("hair_colour", "blond", ("black",)))
    assert change.title == "Merge Black into Blond" and change.ids.tolist() == ids[[0, 3]].tolist()
    merged = collection.attributes["hair_colour"]
    assert [v.name for v in merged.values] == ["ginger", "blond"]
    assert merged.values[1].prompts == ("a blond", "a black")
    assert values(collection, "hair_colour")[:6] == [1, 1, 0, 1, 1, 0]
    collection.edit_attributes(SetPrompts("hair_colour", "blond", ("light hair",), ("a photo of {}",)))
    assert collection.attributes["hair_colour"].values[1].templates == ("a photo of {}",)
    collection.edit_attributes(AddValue("hair_colour", Value("grey", "Grey"), 1))
    assert values(collection, "hair_colour")[:6] == [2, 2, 0, 2, 2, 0]
    change = collection.edit_attributes(DeleteValue("hair_colour", "blond"))
    assert change.ids.tolist() == ids[[0, 1, 3, 4]].tolist()
    table = collection.labels("hair_colour")
    assert table.value[:6].tolist() == [-1, -1, 0, -1, -1, 0] and table.source[0] == 0 and table.time[0] == 0
    collection.set_labels("hair_colour", ids[:1], 1, "clip")  # a deleted label is none
    assert values(collection, "hair_colour")[0] == 1
    collection.edit_attributes(DeleteAttribute("hair_colour"))
    assert len(collection.attributes) == 1
    while (undone := collection.undo()) is not None and undone.title != "Set Hair on 6 images":
        if undone.title == "Delete Blond from Hair colour":
            assert undone.ids.tolist() == ids[[0, 1, 3, 4]].tolist()
            assert values(collection, "hair_colour")[:6] == [2, 2, 0, 2, 2, 0]
    assert collection.attributes == before
    collection.redo()
    assert values(collection)[:6] == [0, 1, 2, 0, 1, 2]
    while collection.redo() is not None:
        pass
    assert len(collection.attributes) == 1


def test_attributes_merge_with_their_labels(collection: Collection) -> None:
    ids = collection.images().ids
    collection.edit_attributes(AddAttribute(attribute("fur", "red", "brown")))
    collection.set_labels("hair", ids[:2], 0, "clip")
    collection.set_labels("hair", ids[2:3], 1, "person")
    collection.set_labels("fur", ids[1:5], [1, 1, 0, 1], "person")
    collection.edit_attributes(MergeAttributes("hair", "fur"))
    assert [a.name for a in collection.attributes] == ["hair", "hat"]
    assert [v.name for v in collection.attributes["hair"].values] == ["black", "blond", "red", "brown"]
    assert values(collection)[:6] == [0, 3, 1, 2, 3, -1]
    collection.undo()
    assert values(collection)[:6] == [0, 0, 1, -1, -1, -1]
    assert values(collection, "fur")[:6] == [-1, 1, 1, 0, 1, -1]
    collection.redo()
    assert values(collection)[:6] == [0, 3, 1, 2, 3, -1]


def test_another_set_takes_over_names_it_knows(collection: Collection) -> None:
    ids = collection.images().ids
    collection.set_labels("hair", ids[:3], [0, 1, 2], "person")
    other = AttributeSet(
        "o", "Other", (attribute("eyes", "blue", "brown"), attribute("hair", "red", "black"))
    )
    collection.edit_attributes(ReplaceSet(other))
    assert collection.attributes == other and values(collection)[:3] == [1, -1, 0]
    assert set(values(collection, "eyes")) == {-1}
    collection.undo()
    assert values(collection)[:3] == [0, 1, 2]


def test_wrong_edits_change_nothing(collection: Collection) -> None:
    for edit, sentence in (
        (DeleteValue("hat", "no"), "at least two values"),
        (RenameValue("hat", "no", "yes"), "a name of its own"),
        (RenameValue("hat", "no", " "), "can't be empty"),
        (RenameAttribute("hat", "hair"), "a name of its own"),
        (AddAttribute(attribute("hat", "a", "b")), "a name of its own"),
        (DeleteValue("hat", "maybe"), "has no value “maybe”"),
        (MergeAttributes("hat", "hat"), "into itself"),
    ):
        with pytest.raises(StudioError, match=sentence):
            collection.edit_attributes(edit)
    assert collection.attributes == SET and collection.history() == []
    # in between, a set may be what it must not be in the end
    collection.edit_attributes([RenameValue("hat", "no", "yes2"), RenameValue("hat", "yes", "no")])
    assert [v.name for v in collection.attributes["hat"].values] == ["yes2", "no"]


# ------------------------------------------------------------------------------------------------- files


def test_an_older_file_is_upgraded(tmp_path: Path) -> None:
    home = tmp_path / ".zerodim"
    home.mkdir()
    file = sqlite3.connect(home / "collection.sqlite")
    file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in MIGRATIONS[0]:
        file.execute(statement)
    file.execute("PRAGMA user_version = 1")
    text = msgspec.json.encode(first_set(SET)).decode()
    file.execute("INSERT INTO setting VALUES ('attributes', ?)", (text,))
    file.execute(
        "INSERT INTO image (path, bytes, modified, digest, width, height, state, added) "
        "VALUES ('a.png', 1, 2, ?, 3, 4, 0, 5)", (b"d" * 32,),
    )  # fmt: skip
    file.commit()
    file.close()
    with Collection.open(tmp_path) as collection:
        assert collection.images().paths == ("a.png",) and collection.near_duplicates() == []
        collection.set_labels("hair", [1], 2, "person")
    file = sqlite3.connect(home / "collection.sqlite")
    assert file.execute("PRAGMA user_version").fetchone()[0] == VERSION > 1
    assert file.execute("SELECT signature FROM image").fetchall() == [(None,)]


def test_newer_and_damaged_files_are_refused_and_left_alone(collection: Collection) -> None:
    folder, file = collection.folder, collection.home / "collection.sqlite"
    collection.close()
    good = file.read_bytes()
    newer = sqlite3.connect(file)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    with pytest.raises(StudioError, match="newer version of this program"):
        Collection.open(folder)
    with sqlite3.connect(file) as other:
        assert other.execute("PRAGMA user_version").fetchone()[0] == VERSION + 1
        other.execute("PRAGMA user_version = 1")
        other.execute("PRAGMA application_id = 7")
    other.close()
    with pytest.raises(StudioError, match="not a collection's file"):
        Collection.open(folder)
    for broken in (b"no database at all" * 100, b"", good[:100] + bytes(len(good) - 100)):
        file.write_bytes(broken)
        with pytest.raises(StudioError, match="can't be read") as caught:
            Collection.open(folder).images()
        assert "left as it is" in caught.value.hint and file.read_bytes() == broken
        with pytest.raises(StudioError, match="has labels already"):
            Collection.create(folder, SET)
        assert file.read_bytes() == broken


def test_folders_without_a_collection_and_closed_ones(tmp_path: Path) -> None:
    assert not Collection.exists(tmp_path) and not Collection.exists(tmp_path / "none")
    with pytest.raises(StudioError, match="There is no collection in"):
        Collection.open(tmp_path)
    with pytest.raises(StudioError, match="There is no folder"):
        Collection.create(tmp_path / "none", SET)
    twice = AttributeSet("t", "T", (SET.attributes[0], SET.attributes[0]))
    with pytest.raises(StudioError, match="a name of its own"):
        Collection.create(tmp_path, twice)
    assert not Collection.exists(tmp_path)
    collection = Collection.create(tmp_path, AttributeSet("blank", "Blank", ()))
    assert Collection.exists(tmp_path) and len(collection.images()) == 0
    collection.keep_setting("rule:hair", {"k": 3})
    collection.close()
    collection.close()
    with pytest.raises(StudioError, match="was closed"):
        collection.images()
    with Collection.open(tmp_path) as again:
        assert again.setting("rule:hair") == {"k": 3} and again.setting("other", 5) == 5


def test_a_folder_that_cannot_be_written_has_its_labels_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, data = tmp_path / "photos", tmp_path / "data"
    photos.mkdir()
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(data))
    # tests may run as root, whom permissions don't stop: a file in the way does
    (photos / ".zerodim").write_text("in the way")
    monkeypatch.setattr("core.collection.collection._writable", lambda _: False)
    with Collection.create(photos, SET) as collection:
        assert collection.home.is_relative_to(data)
    monkeypatch.undo()
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(data))
    with Collection.open(photos) as collection:
        assert collection.home.is_relative_to(data)


# --------------------------------------------------------------------------- processes, threads and speed

LABELLER = """
import sys
from pathlib import Path
from core.collection import Collection
collection = Collection.open(Path(sys.argv[1]))
ids = collection.images().ids
for i in range(1_000_000):
    collection.set_labels("hair", ids[i % 20 : i % 20 + 1], i // 20 % 3, "person")
    print(i, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(collection: Collection) -> None:
    folder, ids = collection.folder, collection.images().ids
    collection.close()
    child = subprocess.Popen([sys.executable, "-c", LABELLER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = 0
    while said < 45:
        said = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    said = max([said, *(int(line) for line in child.stdout.read().split("\n")[:-1] if line)])
    child.wait()
    child.stdout.close()
    with Collection.open(folder) as again:
        done = len(again.history(10_000_000))
        assert said + 1 <= done <= said + 2  # the last one may have been written and not yet said
        expected = [-1] * 20
        for i in range(done):
            expected[i % 20] = i // 20 % 3
        assert values(again) == expected
        check = sqlite3.connect(again.home / "collection.sqlite").execute("PRAGMA integrity_check").fetchone()
        assert check == ("ok",)
        undone = again.undo()
        assert undone is not None and undone.ids.tolist() == [ids[(done - 1) % 20]]


def test_two_open_collections_see_each_other(collection: Collection) -> None:
    ids = collection.images().ids
    with Collection.open(collection.folder) as other:
        assert set(values(other)) == {-1}
        table = other.labels("hair")
        assert other.labels("hair") is table
        collection.set_labels("hair", ids[:2], 1, "person")
        collection.edit_attributes(MoveValue("hair", "blond", 0))
        assert values(other)[:3] == [0, 0, -1] and table.value[0] == -1
        other.set_labels("hair", ids[2:3], 2, "person")
        assert values(collection)[:4] == [0, 0, 2, -1]
        undone = collection.undo()  # the other's
        assert undone is not None and undone.ids.tolist() == ids[2:3].tolist()
        assert values(other)[:4] == [0, 0, -1, -1]


def test_threads_label_at_once(collection: Collection) -> None:
    ids = collection.images().ids
    failures = []

    def label(part: int) -> None:
        try:
            for i in range(15):
                collection.set_labels("hair", ids[part * 5 : part * 5 + 5], i % 3, "person")
                collection.labels("hat")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=label, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and len(collection.history()) == 60 and values(collection) == [2] * 20


def test_bulk_actions_are_one_step_and_fast(tmp_path: Path) -> None:
    collection = synthetic_collection(tmp_path, SET, 20_000, labelled=0.5)
    ids = collection.images().ids
    before = values(collection)
    reasons = [{"score": i / 1e4, "rule": "topk", "k": 1000} for i in range(10_000)]
    start = time.process_time()  # of this process: the machine is shared
    collection.set_labels("hair", ids[:10_000], np.arange(10_000) % 3, "clip", reasons)
    spent = time.process_time() - start
    assert spent < 1.0  # about 0.08 s; a tenfold margin
    assert len(collection.history()) == 1
    collection.undo()
    assert values(collection) == before
