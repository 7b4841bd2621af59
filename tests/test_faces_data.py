"""The shared faces' own labels, and those that were given by eye beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.attributes import load_attribute_set
from core.clip.facts import FACTS, INDEX, facts_by_eye, read_facts
from core.paths import resources
from core.training.faces_data import celeba_values, labels_by_eye, read_labels, split_of

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
    attributes = load_attribute_set(resources() / "attributes" / "faces.toml")
    labels = labels_by_eye()
    lines = (resources() / "labels" / "faces.csv").read_text().splitlines()
    assert len(labels) == len(lines) - 1 > 1000  # no file is named twice
    assert {split_of(path) for path in labels} == {0, 1}
    for values in labels.values():
        assert values and all(attributes[name].index(value) >= 0 for name, value in values.items())


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


def test_the_annotator_learns_what_was_seen_by_eye() -> None:
    moustache = facts_by_eye({"facial_hair": "moustache"})
    assert moustache["moustache"] and not moustache["goatee"] and "beard" not in moustache
    # a beard was called by its most telling name: nobody looked for a moustache in it
    beard = facts_by_eye({"facial_hair": "beard", "hair_color": "bald"})
    assert beard["full_beard"] and "moustache" not in beard and beard["bald"] and not beard["grey_hair"]
    assert facts_by_eye({"hair_color": "grey"})["grey_hair"]
    assert facts_by_eye({}) == {}
    for values in labels_by_eye().values():
        assert facts_by_eye(values).keys() <= set(FACTS)


def test_facts_of_a_file_are_joined(shared_labels: Path) -> None:
    bald = (path for path, values in labels_by_eye().items() if values.get("hair_color") == "bald")
    path = next(path for path in bald if path.startswith("lfw/"))
    (shared_labels / "lfw_male_names.txt").write_text(path.split("/")[1])
    facts = read_facts(shared_labels, [path])
    assert facts[0, INDEX["bald"]] == 1
    assert facts[0, INDEX["male"]] == 1
    assert facts[0, INDEX["smiling"]] == 0
    assert np.count_nonzero(facts) > 2


@pytest.fixture
def shared_labels(tmp_path: Path) -> Path:
    (tmp_path / "celeba_attributes.csv").write_text("image\n")
    (tmp_path / "lfw_female_names.txt").write_text("")
    (tmp_path / "lfw_male_names.txt").write_text("")
    return tmp_path
