"""The shared faces' own labels, and those that were given by eye beside them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from core.attributes import load_attribute_set
from core.clip.measure import hair_by_eye
from core.paths import resources
from core.training.dataset import Dataset, Index, write_index
from core.training.faces_data import celeba_values, labels_by_eye, read_labels, split_of
from tests.synthetic import write_dataset

FACES = load_attribute_set(resources() / "attributes" / "faces.toml")

FLAGS = "Male Eyeglasses Smiling Black_Hair Brown_Hair Blond_Hair Gray_Hair Bald Wearing_Hat"
FLAGS += " No_Beard Goatee Mustache Sideburns 5_o_Clock_Shadow"


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("No_Beard", "none"),
        ("No_Beard 5_o_Clock_Shadow", "none"),
        ("No_Beard Mustache", None),
        ("Goatee", "goatee"),
        ("Goatee Mustache 5_o_Clock_Shadow", "goatee"),
        ("Goatee Sideburns", "beard"),
        ("Goatee Mustache Sideburns 5_o_Clock_Shadow", "beard"),
        ("Sideburns", "beard"),
        ("Sideburns 5_o_Clock_Shadow", None),
        ("Mustache", "moustache"),
        ("Mustache Sideburns", "beard"),
        ("5_o_Clock_Shadow", None),
        ("", None),
    ],
)
def test_facial_hair_of_celebas_flags(said: str, value: str | None) -> None:
    flags = {name: "1" if name in said.split() else "-1" for name in FLAGS.split()}
    assert celeba_values(flags).get("facial_hair") == value


def test_labels_by_eye_are_values_of_the_set_and_none_is_held_out() -> None:
    labels = labels_by_eye()
    lines = (resources() / "labels" / "faces.csv").read_text().splitlines()
    assert len(labels) == len(lines) - 1 > 1000  # no file is named twice
    assert {split_of(path) for path in labels} == {0, 1}
    for values in labels.values():
        assert values and all(FACES[name].index(value) >= 0 for name, value in values.items())


def test_what_a_source_says_comes_before_the_eye(tmp_path: Path) -> None:
    names = [path for path in labels_by_eye() if path.startswith(("lfw/", "utkface/"))]
    lfw = next(path for path in names if path.startswith("lfw/"))
    utk = next(path for path in names if path.startswith("utkface/"))
    for path in (lfw, utk, "celeba/000001.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / path)
    header = ["image", *FLAGS.split()]
    line = ["000001.jpg", *("1" if name in ("Male", "Goatee") else "-1" for name in FLAGS.split())]
    (tmp_path / "celeba_attributes.csv").write_text(",".join(header) + "\n" + ",".join(line) + "\n")
    (tmp_path / "lfw_female_names.txt").write_text("")
    (tmp_path / "lfw_male_names.txt").write_text(lfw.split("/")[1] + "\n")
    labels = read_labels(tmp_path)
    assert labels["celeba/000001.jpg"]["facial_hair"] == "goatee"
    assert labels[lfw] == labels_by_eye()[lfw] | {"gender": "male"}
    assert labels[utk].items() >= labels_by_eye()[utk].items()
    assert "age" in labels[utk]
    assert set(labels) == {lfw, utk, "celeba/000001.jpg"}  # no file that isn't there is labelled


def test_facial_hair_by_eye_is_of_held_out_men_and_women_have_none(tmp_path: Path) -> None:
    lines = (resources() / "labels" / "held-out.csv").read_text().splitlines()[1:]
    men = {line.split(",")[0]: line.split(",")[1:] for line in lines}
    assert len(men) == len(lines) > 200
    assert {split_of(path) for path in men} == {2}
    bearded = next(path for path, cells in men.items() if cells == ["yes", "", "yes"])
    shaven = next(path for path, cells in men.items() if cells == ["no", "no", "no"])
    names = [bearded, "celeba/woman.jpg", "celeba/man.jpg", "utkface/woman.jpg", shaven]
    folder = write_dataset(tmp_path / "faces", len(names))
    index = msgspec.json.decode((folder / "index.json").read_bytes(), type=Index)
    index.names, index.attributes = names, FACES
    write_index(folder, index)
    labels = np.full((len(names), len(FACES)), -1, np.int8)
    gender = FACES.index("gender")
    labels[:, gender] = FACES["gender"].index("male")
    labels[[1, 3], gender] = FACES["gender"].index("female")
    np.save(folder / "labels.npy", labels)
    said = hair_by_eye(Dataset.open(folder))
    assert said["moustache"].tolist() == [1, -1, 0, 0, -1]  # a man who was not looked at is left out
    assert said["goatee"].tolist() == [0, -1, 0, 0, -1]
    assert said["beard"].tolist() == [1, -1, 0, 0, -1]
    assert said["none"].tolist() == [-1, 1, 0, 0, 1]
