"""Folders of one's own: what is found, labelled, cropped, left out, and said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.attributes import load_attribute_set
from core.errors import StudioError
from core.paths import resources
from core.training.dataset import SPLITS, Dataset, RowFile
from core.training.folder_data import prepare_folder, square
from main import main

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "dark blue": (10, 10, 120)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty images in three folders, one without a folder, and what is no use."""
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for colour, rgb in COLOURS.items():
        (root / colour).mkdir(parents=True)
        for i in range(10):
            pixels = np.full((40, 40 + 2 * i, 3), rgb) + rng.integers(-10, 11, (40, 40 + 2 * i, 3))
            suffix = "png" if i % 2 else "JPG"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                root / colour / f"{colour[0]}{i}.{suffix}"
            )
    Image.fromarray(np.zeros((50, 30, 3), np.uint8)).save(root / "loose.png")
    (root / "red" / "broken.png").write_bytes(b"no picture")
    (root / "red" / "copy.png").write_bytes((root / "green" / "g1.png").read_bytes())
    (root / "red" / "note.txt").write_text("no image")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "h.png").write_bytes((root / "loose.png").read_bytes())
    return root


def test_folder_names_are_labels(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    index = prepare_folder(folder, tmp_path / "out", 32, folder_names="Main colour", report=said.append)
    assert said == [
        "dropped 1: broken file",
        "dropped 1: copy of another file",
        f"31 images in {tmp_path / 'out'}",
    ]
    (attribute,) = index.attributes
    assert (attribute.name, attribute.title) == ("main_colour", "Main colour")
    assert [(v.name, v.title) for v in attribute.values] == [
        ("dark_blue", "dark blue"), ("green", "green"), ("red", "red"),
    ]  # fmt: skip
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.images.shape == (31, 32, 32, 3) and dataset.inside is None
    for name, image, label in zip(index.names, dataset.images, dataset.label_array()[:, 0], strict=True):
        if name == "loose.png":
            assert label == -1
        else:
            assert attribute.values[label].title == name.split("/")[0]
            assert np.abs(image.mean((0, 1)) - COLOURS[name.split("/")[0]]).max() < 6
    assert set(index.split) <= set(range(len(SPLITS))) and index.split.count(0) > 12
    again = prepare_folder(folder, folder / "out", 32, folder_names="Main colour", report=said.append)
    assert again.split == index.split and again.names == index.names


def test_a_csv_labels_what_it_knows(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "file;Size;Rank\nred/r1.png;Large;10\nr3.png;small;\nred\\r5.png;large;2\n\n./green/g1.png;;2\ngone.png;large;2\n",
        "utf-8-sig",
    )
    said: list[str] = []
    index = prepare_folder(folder, tmp_path / "out", 64, labels, report=said.append)
    assert "1 lines of labels.csv name no image here" in said
    assert [[v.name for v in a.values] for a in index.attributes] == [["large", "small"], ["2", "10"]]
    rows = dict(zip(index.names, Dataset.open(tmp_path / "out").label_array().tolist(), strict=True))
    assert (rows["red/r1.png"], rows["red/r3.png"], rows["red/r5.png"]) == ([0, 1], [1, -1], [0, 0])
    assert rows["green/g1.png"] == [-1, 0] and rows["green/g3.png"] == [-1, -1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not name its columns"),
        ("file\nred/r1.png\n", "does not name its columns"),
        ("file,a,A\nred/r1.png,1,2\n", "does not name its columns"),
        ("file,a\nred/r1.png,1,2\n", "Line 2 of labels.csv has 3 columns"),
        ("file,a\nnowhere.png,1\n", "names none of the images"),
        ("file,a\nred/r1.png,1\nred/r1.png,2\n", "another a of red/r1.png"),
        ("file,a\nred/r1.png,1\n", "“a” has 1 values"),
        ("file,a\nred/r1.png,1\nred/r3.png,?\n", "no name of a value"),
    ],
)
def test_wrong_labels_are_explained(folder: Path, tmp_path: Path, text: str, sentence: str) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    with pytest.raises(StudioError, match=sentence):
        prepare_folder(folder, tmp_path / "out", 32, labels)
    assert not (tmp_path / "out" / "index.json").exists()


def test_an_attribute_set_decides_what_values_there_are(folder: Path, tmp_path: Path) -> None:
    cars = load_attribute_set(resources() / "attributes" / "cars.toml")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,colour,other\nred/r1.png,Red,1\n")
    said: list[str] = []
    index = prepare_folder(folder, tmp_path / "out", 32, labels, attributes=cars, report=said.append)
    assert index.attributes == cars and "not in the attribute set, ignored: other" in said
    row = Dataset.open(tmp_path / "out").label_array()[index.names.index("red/r1.png")]
    assert row.tolist() == [-1, cars["color"].index("red")]
    labels.write_text("file,colour\nred/r1.png,beige\n")
    with pytest.raises(StudioError, match="is “beige”, which the attribute set doesn't have"):
        prepare_folder(folder, tmp_path / "out", 32, labels, attributes=cars)
    # without labels, for CLIP or a person to give
    index = prepare_folder(folder, tmp_path / "out", 32, attributes=cars, report=said.append)
    assert (Dataset.open(tmp_path / "out").label_array() == -1).all()
    with pytest.raises(StudioError, match="no labels"):
        prepare_folder(folder, tmp_path / "out", 32)


def test_nothing_to_prepare_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given, size, sentence in (
        (tmp_path / "empty", 64, "no images"), (tmp_path / "gone", 64, "no folder"), (folder, 60, "no size"),
    ):  # fmt: skip
        with pytest.raises(StudioError, match=sentence):
            prepare_folder(given, tmp_path / "out", size, folder_names="x")


def test_the_middle_is_kept_and_shrunk_by_areas() -> None:
    pixels = np.zeros((64, 100, 3), np.uint8)
    pixels[:, 18:50] = 100
    small = square(pixels, 32)
    assert (small[:, :16] == 100).all() and (small[:, 16:] == 0).all()
    checked = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)
    assert (square(np.repeat(checked[..., None], 3, 2), 32) == 100).all()
    assert square(np.full((9, 9, 3), 7, np.uint8), 32).shape == (32, 32, 3)


def test_faces_are_aligned_and_other_images_left_out(
    folder: Path, astronaut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in (folder / "red", folder / "green", folder / "dark blue"):
        for path in list(extra.iterdir())[3:]:
            path.unlink()
    photo = Image.open(astronaut)
    for i in range(4):  # so that one of them is surely for training
        photo.resize((400 + i, 400 + i)).save(folder / ("red", "green")[i % 2] / f"person{i}.png")
    line = ["prepare", str(folder), "--folder", "--folder-names", "kind", "--faces", "--size", "64"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    assert "no face found" in capsys.readouterr().err
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.images.shape == (4, 64, 64, 3) and dataset.inside is not None
    # an aligned face has skin in the middle
    red, _, blue = dataset.images[0, 28:44, 28:36].reshape(-1, 3).mean(0)
    assert red > blue + 20


def test_options_of_own_folders_need_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "d", "--out", "o", "--faces"]) == 2
    assert "go with --folder" in capsys.readouterr().err


def test_a_row_file_knows_its_length_at_the_end(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (1234, 3, 2)).astype(np.uint8)
    with RowFile(tmp_path / "rows.npy", (3, 2), np.uint8) as file:
        for row in rows:
            file.append(row)
        with pytest.raises(ValueError, match="a row of"):
            file.append(rows[0].astype(np.int64))
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)
    with RowFile(tmp_path / "none.npy", (3,), np.bool_):
        pass
    assert np.load(tmp_path / "none.npy").shape == (0, 3)
