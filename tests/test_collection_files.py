"""What lies beside the labels: embeddings, duplicates, exports, imports, and preparing for training."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from core.attributes import Value
from core.collection import AddValue, Collection, EmbeddingStore
from core.collection.duplicates import exact_groups, near_groups
from core.collection.synthetic import synthetic_collection
from core.errors import StudioError
from core.training.collection_data import prepare_collection
from core.training.dataset import SPLITS, Dataset
from main import main
from tests.test_collection import SET, values
from tests.test_collection_scan import save


def unit(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# -------------------------------------------------------------------------------------------- embeddings


def test_embeddings_come_back_as_they_were(tmp_path: Path) -> None:
    collection = synthetic_collection(tmp_path, SET, 5000)
    ids, rows = collection.images().ids, unit(5000, 512)
    store = collection.embeddings("ViT-B-32/öpenai", 512)
    assert collection.embeddings("ViT-B-32/öpenai", 512) is store
    assert store.missing().tolist() == ids.tolist() and not store.have.any()
    order = np.random.default_rng(1).permutation(4500)
    for part in np.array_split(order, 5):
        store.write(ids[part], rows[part])
    assert store.missing().tolist() == ids[4500:].tolist() and store.have.sum() == 4500
    found = store.rows(ids[order])
    assert found.dtype == np.float32
    cosine = (found * rows[order]).sum(1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.999999 and np.abs(found - rows[order]).max() < 2e-4
    np.testing.assert_array_equal(store.rows(ids[:100]), store.rows(ids[:100][::-1])[::-1])
    with pytest.raises(KeyError):
        store.rows(ids[4400:])
    for wrong in (rows[:2, :5], np.full((2, 512), np.nan)):
        with pytest.raises(ValueError):
            store.write(ids[:2], wrong)
    collection.close()
    with Collection.open(tmp_path) as again:
        kept = again.embeddings("ViT-B-32/öpenai", 512)
        assert kept.have.sum() == 4500 and (kept.rows(ids[7:8]) == found[order == 7]).all()
        assert not again.embeddings("another", 512).have.any()
        with pytest.raises(ValueError):
            again.embeddings("another", 64)
    with Collection.open(tmp_path) as again, pytest.raises(StudioError, match="have 512 numbers"):
        again.embeddings("another", 64)


def test_a_row_counts_for_the_file_that_was_embedded(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    save(tmp_path / "b.png", 2)
    with Collection.create(tmp_path, SET) as collection:
        collection.scan()
        store = collection.embeddings("m", 8)
        missing = store.missing()
        # the file changes, and another program notices, while it is being embedded
        old = (tmp_path / "a.png").read_bytes()
        save(tmp_path / "a.png", 3)
        with Collection.open(tmp_path) as other:
            assert other.scan().changed == [1]
        store.write(missing, unit(2, 8))
        assert store.missing().tolist() == [1] and store.have.tolist() == [False, True]
        store.write(np.array([1]), unit(1, 8))
        assert store.have.all()
        (tmp_path / "a.png").write_bytes(old)
        collection.scan()
        assert store.missing().tolist() == [1]


EMBEDDER = """
import sys
from pathlib import Path
import numpy as np
from core.collection import Collection
collection = Collection.open(Path(sys.argv[1]))
store = collection.embeddings("m", 256)
for start in range(0, 4000, 50):
    ids = store.missing()[:50]
    store.write(ids, np.repeat(ids[:, None], 256, 1) / 4096)
    print(len(ids), flush=True)
"""


def test_a_killed_embedder_leaves_rows_missing_and_never_wrong(tmp_path: Path) -> None:
    collection = synthetic_collection(tmp_path, SET, 4000)
    ids = collection.images().ids
    child = subprocess.Popen(
        [sys.executable, "-c", EMBEDDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    said = sum(int(child.stdout.readline()) for _ in range(6))
    # reading and labelling go on meanwhile
    store = collection.embeddings("m", 256)
    assert store.have.sum() >= said
    collection.set_labels("hair", ids[:100], 1, "person")
    os.kill(child.pid, signal.SIGKILL)
    said += sum(int(line) for line in child.stdout.read().split("\n")[:-1] if line)
    child.wait()
    child.stdout.close()
    have = store.have
    assert have.sum() >= said
    np.testing.assert_array_equal(store.rows(ids[have]), np.repeat(ids[have][:, None], 256, 1) / 4096)


def test_rows_without_their_mark_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = synthetic_collection(tmp_path, SET, 10)
    ids, store = collection.images().ids, collection.embeddings("m", 8)
    store.write(ids, unit(10, 8))
    written: list[str] = []
    real = EmbeddingStore._keep.__globals__["_write_rows"]

    def stops(path: Path, *arguments: np.ndarray) -> None:
        written.append(path.suffix)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        real(path, *arguments)

    monkeypatch.setitem(EmbeddingStore._keep.__globals__, "_write_rows", stops)
    with pytest.raises(StudioError, match="No space left"):
        store.write(ids[2:5], unit(3, 8, seed=2))
    assert written == [".tags", ".rows", ".tags"]
    assert store.missing().tolist() == ids[2:5].tolist()


# -------------------------------------------------------------------------------------------- duplicates


def test_near_groups_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (60, 16), dtype=np.uint8)
    rows = [base]
    for flips in (1, 3, 7, 8, 12):
        bits = np.unpackbits(base[:40], axis=1)
        for row in bits:
            row[rng.choice(128, flips, replace=False)] ^= 1
        rows.append(np.packbits(bits, axis=1))
    signatures = np.concatenate([*rows, base[:5]])
    signatures = signatures[rng.permutation(len(signatures))]
    ids = np.arange(len(signatures)) * 3 + 1
    distance = np.bitwise_count(signatures[:, None] ^ signatures[None]).sum(2)
    for limit in (0, 4, 7):
        # by brute force: follow the pairs from each image
        left, expected = set(range(len(ids))), []
        while left:
            group, todo = set(), [left.pop()]
            while todo:
                i = todo.pop()
                group.add(i)
                near = {int(j) for j in np.flatnonzero(distance[i] <= limit)} & left
                left -= near
                todo += near
            if len(group) > 1:
                expected.append(sorted(ids[list(group)].tolist()))
        assert [g.tolist() for g in near_groups(ids, signatures, limit)] == sorted(expected)
    with pytest.raises(ValueError):
        near_groups(ids, signatures, 8)
    assert near_groups(ids[:1], signatures[:1]) == []
    assert exact_groups(ids[:0], np.zeros((0, 32), np.uint8)) == []


# ------------------------------------------------------------------------------------------ in and out


@pytest.fixture
def labelled(tmp_path: Path) -> Collection:
    """Twelve real files in two folders, two of them with the same name, half labelled."""
    root = tmp_path / "photos"
    for i in range(12):
        save(root / ("ä" if i % 2 else "b") / (f"{i}.png" if i > 1 else "same.png"), i)
    collection = Collection.create(root, SET)
    collection.scan()
    ids = collection.images().ids
    collection.set_labels("hair", ids[:4], [0, 1, 2, 1], "clip", [{"score": 0.1 * i} for i in range(4)])
    collection.set_labels("hair", ids[4:6], 1, "person")
    collection.set_labels("hair", ids[6:7], -1, "person")
    collection.set_labels("hat", ids[5:8], 1, "person")
    return collection


def fresh(labelled: Collection, tmp_path: Path) -> Collection:
    """The same images without labels."""
    other = tmp_path / "fresh"
    other.mkdir()
    for path in labelled.images().paths:
        (other / path).parent.mkdir(exist_ok=True)
        (other / path).write_bytes((labelled.folder / path).read_bytes())
    collection = Collection.create(other, SET)
    collection.scan()
    return collection


@pytest.mark.parametrize(("kind", "details"), [("csv", False), ("csv", True), ("json", False)])
def test_what_is_exported_can_be_imported(
    labelled: Collection, tmp_path: Path, kind: str, details: bool
) -> None:
    file = tmp_path / f"out.{kind}"
    report = labelled.export_labels(file, kind, details=details)
    assert (report.images, report.labels, report.problems) == (12, 9, [])
    with pytest.raises(StudioError, match="exists already"):
        labelled.export_labels(file, kind)
    labelled.export_labels(file, kind, details=details, overwrite=True)
    if kind == "csv":
        lines = list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))
        assert lines[1]["file"] == labelled.images().paths[1] and lines[1]["hair"] == "blond"
        assert list(lines[0]) == (
            ["file", "hair", "hair_source", "hair_score", "hat", "hat_source", "hat_score"]
            if details
            else ["file", "hair", "hat"]
        )
        if details:
            assert (lines[3]["hair_source"], lines[3]["hair_score"], lines[4]["hair_score"]) == (
                "clip",
                "0.3",
                "",
            )
    else:
        image = json.loads(file.read_text())["images"][3]
        assert image["labels"]["hair"]["reason"] == {"score": pytest.approx(0.3)}
        assert image["labels"]["hair"]["source"] == "clip"
    with fresh(labelled, tmp_path) as other:
        preview = other.preview_import(file)
        none_of_them = int(details or kind == "json")
        assert (preview.images, preview.labels, preview.same) == (12, 9 + none_of_them, 0)
        assert not preview.unknown_files and not preview.new_values and not preview.new_attributes
        assert set(values(other)) == {-1}  # a preview changes nothing
        change = other.import_labels(preview)
        assert change.kind == "import" and len(change.ids) == 8
        for name in ("hair", "hat"):
            assert values(other, name) == values(labelled, name)
        table = other.labels("hair")
        assert set(table.source[table.value >= 0].tolist()) == {3}
        assert table.source[6] == 3 * none_of_them
        assert other.reason("hair", int(other.images().ids[0])) == {"file": file.name}
        assert other.preview_import(file).same == 9 + none_of_them
        undone = other.undo()
        assert undone is not None and undone.title.startswith(f"Import out.{kind}: labels of ")
        assert set(values(other)) == {-1} and set(values(other, "hat")) == {-1}


def test_an_import_shows_what_does_not_fit_and_asks(labelled: Collection, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(
        "file;Hair;Mood;nothing\nb/same.png;Green;Happy;\n2.png;BLOND;sad;\nsame.png;black;sad;\n"
        "ä\\5.png;red;happy;\nb/8.png;red;;\ngone.png;red;sad;\nb/10.png;;happy;\nä/3.png;green;;\n"
    )
    paths = list(labelled.images().paths)
    five = paths.index("ä/5.png")
    labelled.set_labels("hair", labelled.images().ids[[five]], 1, "person")
    before, history = values(labelled), len(labelled.history())
    preview = labelled.preview_import(file)
    assert preview.images == 6 and preview.unknown_files == ["gone.png"] and preview.ambiguous == ["same.png"]
    assert preview.new_values == {"hair": ["Green"]} and preview.new_attributes == {"mood": "Mood"}
    conflicts = {(c.path, c.attribute, c.yours, c.theirs) for c in preview.conflicts}
    assert ("ä/5.png", "hair", "blond", "red") in conflicts
    people = {paths[i] for i in np.flatnonzero(labelled.labels("hair").source == 4)}
    assert {c.path for c in preview.conflicts} <= people
    labelled.import_labels(preview)
    after = dict(zip(paths, values(labelled), strict=True))
    assert after["ä/5.png"] == 1 and len(labelled.attributes) == 2 and len(labelled.history()) == history + 1
    assert "b/8.png" in people or after["b/8.png"] == 2
    labelled.undo()
    assert values(labelled) == before
    labelled.import_labels(preview, add_values=True, add_attributes=True, overwrite_person=True, title="All")
    after = dict(zip(paths, values(labelled), strict=True))
    assert [v.title for v in labelled.attributes["hair"].values] == ["Black", "Blond", "Red", "Green"]
    assert (after["b/same.png"], after["ä/3.png"], after["ä/5.png"], after["b/8.png"]) == (3, 3, 2, 2)
    mood = labelled.attributes["mood"]
    assert [v.title for v in mood.values] == ["Happy", "sad"]
    assert dict(zip(paths, values(labelled, "mood"), strict=True))["b/10.png"] == 0
    assert labelled.undo_title == "All"
    labelled.undo()
    assert values(labelled) == before and labelled.attributes == SET
    labelled.redo()
    assert len(labelled.attributes) == 3 and dict(zip(paths, values(labelled), strict=True)) == after


def test_json_in_other_shapes_and_wrong_files(labelled: Collection, tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    rows = [
        {"file": "b/8.png", "hat": "yes"},
        {"file": str(labelled.folder / "ä" / "9.png"), "hat": "no", "hair": None},
    ]
    for content in (rows, {row["file"]: {k: v for k, v in row.items() if k != "file"} for row in rows}):
        file.write_text(json.dumps(content))
        preview = labelled.preview_import(file)
        assert (preview.images, preview.labels) == (2, 2) and not preview.unknown_files
    for text, sentence in (
        ("{", "can't be read"),
        ("3", "not a file of labels"),
        ('[{"hat": "yes"}]', "not a file of labels"),
        ('[{"file": "b/8.png", "hat": [1]}]', "not a file of labels"),
        ('[{"file": "b/8.png", "hat": "yes"}, {"file": "8.png", "hat": "no"}]', "says both"),
    ):
        file.write_text(text)
        with pytest.raises(StudioError, match=sentence):
            labelled.preview_import(file)
    (tmp_path / "x.csv").write_text("file\na\n")
    with pytest.raises(StudioError, match="does not name its columns"):
        labelled.preview_import(tmp_path / "x.csv")


def test_coco_and_folders_by_value(labelled: Collection, tmp_path: Path) -> None:
    labelled.export_labels(tmp_path / "coco.json", "coco")
    coco = json.loads((tmp_path / "coco.json").read_text())
    names = {c["id"]: (c["supercategory"], c["name"]) for c in coco["categories"]}
    files = {i["id"]: i["file_name"] for i in coco["images"]}
    assert len(files) == 12 and coco["images"][0]["width"] == 40 and coco["images"][0]["height"] == 30
    said = {(files[a["image_id"]], *names[a["category_id"]]) for a in coco["annotations"]}
    expected = {
        (path, name, SET[name].values[v].name)
        for name in ("hair", "hat")
        for path, v in zip(labelled.images().paths, values(labelled, name), strict=True)
        if v >= 0
    }
    assert said == expected and len(coco["annotations"]) == 9

    labelled.edit_attributes([])  # nothing to do is nothing done
    value = Value("a/b: c", "Odd")
    labelled.edit_attributes(AddValue("hair", value))
    labelled.set_labels("hair", labelled.images().ids[8:9], 3, "person")
    ids = dict(zip(labelled.images().paths, labelled.images().ids.tolist(), strict=True))
    labelled.set_labels("hair", [ids["b/same.png"], ids["ä/same.png"]], 0, "person")
    (labelled.folder / labelled.images().paths[4]).unlink()
    report = labelled.export_labels(tmp_path / "by", "folders", ["hair"])
    assert len(report.problems) == 1 and labelled.images().paths[4] in report.problems[0]
    found = sorted(p.relative_to(tmp_path / "by").as_posix() for p in (tmp_path / "by").rglob("*.png"))
    assert len(found) == report.images and {"black/same.png", "black/same (2).png"} <= set(found)
    assert any(path.startswith("a_b_ c/") for path in found)
    pair = {(tmp_path / "by" / "black" / name).read_bytes() for name in ("same.png", "same (2).png")}
    assert pair == {(labelled.folder / name / "same.png").read_bytes() for name in ("ä", "b")}
    for target, sentence in (
        (tmp_path / "by", "not an empty folder"),
        (labelled.folder / "out", "among the images themselves"),
    ):
        with pytest.raises(StudioError, match=sentence):
            labelled.export_labels(target, "folders", ["hair"])
    with pytest.raises(StudioError, match="of one attribute"):
        labelled.export_labels(tmp_path / "two", "folders")
    with pytest.raises(StudioError, match="no export as"):
        labelled.export_labels(tmp_path / "two", "xml")
    labelled.export_labels(tmp_path / "links", "folders", ["hat"], link=True)
    link = next((tmp_path / "links" / "yes").iterdir())
    assert link.is_symlink() and Image.open(link).size == (40, 30)
    stopped = labelled.export_labels(tmp_path / "none", "folders", ["hair"], cancelled=lambda: True)
    assert stopped.images == 0 and stopped.problems[0].startswith("Stopped")


# ----------------------------------------------------------------------------------------------- training


def test_a_collection_prepares_for_training(labelled: Collection, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    said: list[str] = []
    index = prepare_collection(labelled, out, 32, report=said.append)
    dataset = Dataset.open(out)
    images = labelled.images()
    assert index.names == list(images.paths) and index.ids == images.ids.tolist()
    np.testing.assert_array_equal(
        dataset.label_array(), np.stack([labelled.labels(n).value for n in ("hair", "hat")], 1)
    )
    # who labelled each; "none of them" is unknown to a training
    assert index.label_sources[:8] == ["10", "10", "10", "10", "40", "44", "04", "04"]
    assert dataset.images.shape == (12, 32, 32, 3) and set(index.split) <= set(range(len(SPLITS)))
    people = prepare_collection(
        labelled, tmp_path / "p", 32, attributes=["hair"], sources=("person",), report=said.append
    )
    assert Dataset.open(tmp_path / "p").label_array()[:, 0].tolist() == [-1] * 4 + [1, 1] + [-1] * 6
    assert [a.name for a in people.attributes] == ["hair"]
    labelled.close()
    assert main(["prepare", str(labelled.folder), "--size", "32", "--out", str(tmp_path / "cli")]) == 0
    assert msgspec.json.encode(Dataset.open(tmp_path / "cli").index) == msgspec.json.encode(index)


def test_a_collection_without_labels_cannot_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "photos" / "a.png", 1)
    with Collection.create(tmp_path / "photos", SET) as collection:
        with pytest.raises(StudioError, match="no images"):
            prepare_collection(collection, tmp_path / "out", 32)
        collection.scan()
        with pytest.raises(StudioError, match="None of the images has a label"):
            prepare_collection(collection, tmp_path / "out", 32)
    line = ["prepare", str(tmp_path / "photos"), "--labels", "l.csv", "--out", str(tmp_path / "out")]
    assert main(line) == 2 and "go with --folder" in capsys.readouterr().err
