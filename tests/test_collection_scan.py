"""Looking through a folder: what is new, changed, moved, gone and broken, and what keeps its labels."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.collection import Collection, ScanReport
from core.collection import scan as scan_module
from core.collection.fingerprint import fingerprint
from core.errors import StudioError
from core.images import PHOTO_SUFFIXES
from tests.test_collection import SET


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Smooth shapes, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def save(path: Path, seed: int, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    save(root / "a.png", 1)
    save(root / "b.jpg", 2)
    save(root / "ünïcode 雪" / "c ñ.png", 3)
    save(root / "deep" / "er" / "d.PNG", 4)
    return root


def scan(collection: Collection) -> ScanReport:
    return collection.scan()


def label_by_path(collection: Collection) -> dict[str, int]:
    return dict(zip(collection.images().paths, collection.labels("hair").value.tolist(), strict=True))


def test_every_kind_of_file_is_found_and_hidden_ones_are_not(folder: Path) -> None:
    for i, suffix in enumerate(PHOTO_SUFFIXES):
        kind = {".jp2": "JPEG2000", ".avif": "AVIF", ".gif": "GIF", ".jpe": "JPEG", ".jfif": "JPEG"}.get(
            suffix
        )
        save(folder / "kinds" / f"k{suffix}", 10 + i, **({"format": kind} if kind else {}))
    save(folder / ".hidden" / "h.png", 90)
    save(folder / ".hidden.png", 91)
    (folder / "note.txt").write_text("no image")
    (folder / "folder.png").mkdir()
    picture(50, (60, 20)).save(folder / "turned.jpg", exif=_turned())
    with Collection.create(folder, SET) as collection:
        report = scan(collection)
        images = collection.images()
        assert report.broken == {} and report.skipped == [] and report.complete
        assert len(images) == 4 + len(PHOTO_SUFFIXES) + 1 == report.images == len(report.new)
        assert {"ünïcode 雪/c ñ.png", "deep/er/d.PNG"} <= set(images.paths)
        assert not any("hidden" in path or ".zerodim" in path for path in images.paths)
        for i, path in enumerate(images.paths):
            file = folder / path
            assert (
                images.bytes[i] == file.stat().st_size
                and abs(images.modified[i] - file.stat().st_mtime) < 1e-3
            )
            size = (20, 60) if path == "turned.jpg" else (40, 30)
            assert (images.width[i], images.height[i]) == size
            assert images.digest[i].tobytes() == fingerprint(file).digest
        assert report.sentence() == f"{len(images)} images, {len(images)} new."


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_files_that_did_not_change_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(path: Path) -> object:
        read.append(path.name)
        return fingerprint(path)

    monkeypatch.setattr(scan_module, "fingerprint", noted)
    with Collection.create(folder, SET) as collection:
        scan(collection)
        assert len(read) == 4
        images = collection.images()
        read.clear()
        assert scan(collection).sentence() == "4 images." and read == []
        assert collection.images() is images
        os.utime(folder / "a.png", ns=(1, 10**18))
        report = scan(collection)
        assert read == ["a.png"] and report.changed == [] and report.new == []
        read.clear()
        scan(collection)
        assert read == []


def test_moved_changed_and_vanished_files_keep_their_labels(folder: Path) -> None:
    with Collection.create(folder, SET) as collection:
        scan(collection)
        ids = dict(zip(collection.images().paths, collection.images().ids.tolist(), strict=True))
        for i, path in enumerate(("a.png", "b.jpg", "deep/er/d.PNG")):
            collection.set_labels("hair", [ids[path]], i, "person")
        embeddings = collection.embeddings("model", 4)
        embeddings.write(np.array(sorted(ids.values())), np.eye(4, dtype=np.float32))
        # moved to another folder under another name; two names swapped; one changed; one new
        (folder / "new").mkdir()
        (folder / "deep/er/d.PNG").rename(folder / "new" / "ð.png")
        (folder / "a.png").rename(folder / "t")
        (folder / "b.jpg").rename(folder / "a.png")
        (folder / "t").rename(folder / "b.jpg")
        save(folder / "ünïcode 雪" / "c ñ.png", 33)
        save(folder / "e.png", 5)
        report = scan(collection)
        assert label_by_path(collection) == {
            "b.jpg": 0, "a.png": 1, "new/ð.png": 2, "ünïcode 雪/c ñ.png": -1, "e.png": -1,
        }  # fmt: skip
        assert report.moved == {
            ids["a.png"]: ("a.png", "b.jpg"),
            ids["b.jpg"]: ("b.jpg", "a.png"),
            ids["deep/er/d.PNG"]: ("deep/er/d.PNG", "new/ð.png"),
        }
        assert report.changed == [ids["ünïcode 雪/c ñ.png"]] and len(report.new) == 1 and not report.vanished
        # moving keeps embeddings, changing doesn't
        assert embeddings.missing().tolist() == sorted([*report.changed, *report.new])
        keep = folder.parent / "kept.png"
        shutil.move(folder / "new" / "ð.png", keep)
        report = scan(collection)
        assert report.vanished == [ids["deep/er/d.PNG"]] and report.images == 4
        assert "new/ð.png" not in collection.images().paths
        assert scan(collection).vanished == []
        # labels of vanished images can be undone, and come back with the file, wherever it is
        collection.set_labels("hair", [ids["deep/er/d.PNG"]], 1, "person")
        collection.undo()
        shutil.move(keep, folder / "back.png")
        report = scan(collection)
        assert report.moved == {ids["deep/er/d.PNG"]: ("new/ð.png", "back.png")}
        assert label_by_path(collection)["back.png"] == 2
        shutil.move(folder / "back.png", keep)
        scan(collection)
        shutil.move(keep, folder / "back.png")
        assert scan(collection).returned == [ids["deep/er/d.PNG"]]


def test_a_copy_is_a_new_image_and_an_edited_original_moves_to_its_backup(folder: Path) -> None:
    with Collection.create(folder, SET) as collection:
        scan(collection)
        ids = dict(zip(collection.images().paths, collection.images().ids.tolist(), strict=True))
        collection.set_labels("hair", [ids["a.png"]], 2, "person")
        shutil.copy(folder / "a.png", folder / "copy.png")
        report = scan(collection)
        assert len(report.new) == 1 and label_by_path(collection)["copy.png"] == -1
        assert [group.tolist() for group in collection.duplicates()] == [[ids["a.png"], report.new[0]]]
        (folder / "b.jpg").rename(folder / "b original.jpg")
        save(folder / "b.jpg", 22)
        report = scan(collection)
        assert report.moved == {ids["b.jpg"]: ("b.jpg", "b original.jpg")} and len(report.new) == 1
        # a name that is used again after a look is another image
        (folder / "a.png").unlink()
        scan(collection)
        save(folder / "a.png", 77)
        assert label_by_path(collection)["b original.jpg"] == -1
        assert len(scan(collection).new) == 1 and label_by_path(collection)["a.png"] == -1


def test_broken_files_are_listed_until_they_are_mended(folder: Path) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    whole = (folder / "b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    with Collection.create(folder, SET) as collection:
        report = scan(collection)
        assert report.images == 4 and set(report.broken) == {"empty.png", "text.jpg", "cut.jpg"}
        assert report.broken["empty.png"] == "empty.png is empty." and "damaged" in report.broken["cut.jpg"]
        assert scan(collection).broken == report.broken == collection.broken()
        save(folder / "empty.png", 6)
        report = scan(collection)
        assert len(report.new) == 1 and set(report.broken) == {"text.jpg", "cut.jpg"}
        first = int(collection.images().ids[0])
        collection.mark_broken({first: "It can't be decoded."})
        assert len(collection.images()) == 4 and collection.broken()["a.png"] == "It can't be decoded."


@pytest.mark.skipif(os.name == "nt", reason="names there are always text")
def test_a_name_that_is_no_text_is_told(folder: Path) -> None:
    bad = os.fsencode(folder) + b"/bad\xff.png"
    shutil.copy(folder / "a.png", bad)
    with Collection.create(folder, SET) as collection:
        report = scan(collection)
        assert report.images == 4 and len(report.skipped) == 1 and "not valid text" in report.skipped[0]


def test_a_stopped_scan_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "BATCH", 2)
    monkeypatch.setattr(scan_module, "COMMIT_SECONDS", 0.0)
    told: list[float] = []
    with Collection.create(folder, SET) as collection:
        report = collection.scan(lambda share, _: told.append(share), lambda: len(told) > 1)
        assert not report.complete and report.images == 2 and report.sentence().endswith("stopped early.")
        report = collection.scan(lambda share, _: told.append(share))
        assert report.complete and report.images == 4 and len(report.new) == 2
        assert told[-1] == 1.0
        # stopped before anything was listed: nothing is taken for vanished
        report = collection.scan(None, lambda: True)
        assert not report.complete and report.vanished == [] and report.images == 4
        shutil.rmtree(folder)
        with pytest.raises(StudioError, match="There is no folder"):
            collection.scan()


def test_near_duplicates_are_images_that_look_alike(folder: Path) -> None:
    for seed in range(100, 160):
        save(folder / "many" / f"{seed}.png", seed)
    original = picture(1, (400, 300))
    original.save(folder / "o.png")
    original.resize((220, 165)).save(folder / "small.jpg", quality=70)
    exif = Image.Exif()
    exif[0x0112] = 3
    original.transpose(Image.Transpose.ROTATE_180).save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (50, 50), "white").save(folder / "plain.png")
    Image.new("RGB", (60, 50), "white").save(folder / "plain2.png")
    with Collection.create(folder, SET) as collection:
        scan(collection)
        paths = dict(zip(collection.images().ids.tolist(), collection.images().paths, strict=True))
        (group,) = collection.near_duplicates()
        # a.png is the same picture; plain images are alike only in having nothing on them
        assert {paths[i] for i in group.tolist()} == {"a.png", "o.png", "small.jpg", "turned.jpg"}
        assert collection.near_duplicates(cancelled=lambda: True) == []
