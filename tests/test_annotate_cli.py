"""The commands annotate, export-labels and import-labels as a person uses them, with a real small CLIP."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.collection import IMPORT, PERSON, Collection
from main import main

SET = """\
name = "tones"
title = "Tones"

[[attributes]]
name = "tone"
title = "Tone"
templates = ["a {} picture", "a photo in {}"]
values = [
    { name = "light", title = "Light", prompts = ["light", "bright"] },
    { name = "dark", title = "Dark", prompts = ["dark"] },
]

[[attributes]]
name = "use"
title = "Use"
values = [{ name = "yes", title = "Yes" }, { name = "no", title = "No" }]
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in open_clip's local-dir layout with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    model_cfg = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    network = open_clip.CLIP(**model_cfg)
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    about = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty pictures in two folders, a broken one, and an attribute set beside them."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for i in range(20):
        where = folder / ("first" if i < 10 else "sécond")
        where.mkdir(parents=True, exist_ok=True)
        level = 40 + 10 * i
        pixels = rng.integers(level - 40, level + 20, (40, 50, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(where / f"{i:02d}.png")
    (folder / "broken.jpg").write_bytes(b"not an image")
    (tmp_path / "tones.toml").write_text(SET)
    return folder


def annotate(images: Path, clip: Path, *more: str) -> int:
    return main(["annotate", str(images), "--model", str(clip), "--device", "cpu", *more])


def test_a_folder_is_labelled_and_the_table_says_why(
    images: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.csv"
    line = ["--attributes", str(tmp_path / "tones.toml"), "--k", "12", "--csv", str(out), "--json"]
    assert annotate(images, clip, *line) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 20 and result["embedded"] == 20 and list(result["broken"]) == ["broken.jpg"]
    (tone,) = result["attributes"]  # “use” has no prompts
    assert tone["attribute"] == "tone" and "12 best" in tone["rule"]
    # 12 + 12 claims on 20 images: at least 4 conflicts, which get no label
    assert tone["conflicting"] == len(tone["conflicts"]) >= 4
    assert sum(tone["labelled"].values()) == 24 - 2 * tone["conflicting"]
    assert set(tone["conflicts"][0]["claimed_by"]) == {"light", "dark"}
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labelled = [row for row in rows if row["value"]]
    assert len(labelled) == sum(tone["labelled"].values())
    assert len(rows) == len(labelled) + tone["conflicting"]
    assert any(row["file"].startswith("sécond/") for row in rows)
    for row in labelled:
        assert row["source"] == "clip" and row["model"] == result["model"] and 1 <= int(row["rank"]) <= 12
        assert row["prompt"].startswith(("a ", "a photo in "))
    with Collection.open(images) as collection:
        table = collection.labels("tone")
        assert table.counts().tolist() == list(tone["labelled"].values())
        labels = dict(zip(collection.images().paths, table.value.tolist(), strict=True))
        assert all(("light", "dark")[labels[row["file"]]] == row["value"] for row in labelled)
    # the file is in the way now
    assert annotate(images, clip, "--csv", str(out)) == 1


def test_again_it_embeds_only_what_is_new_and_leaves_people_alone(
    images: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones = ["--attributes", str(tmp_path / "tones.toml")]
    assert annotate(images, clip, *tones, "--rule", "margin", "--margin", "0") == 0
    said = capsys.readouterr().out
    assert "20 images, 20 of them embedded now" in said and "Tone: a margin of at least 0.000" in said
    assert "1 file can't be read" in said
    with Collection.open(images) as collection:
        ids = collection.images().ids
        table = collection.labels("tone")
        other = 1 - int(table.value[0])
        collection.set_labels("tone", ids[:1], other, "person")
    Image.fromarray(np.full((9, 9, 3), 200, np.uint8)).save(images / "new.png")
    assert annotate(images, clip, "--rule", "threshold", "--threshold", "-1", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["embedded"] == 1
    (tone,) = result["attributes"]
    assert tone["conflicting"] == 20 and sum(tone["labelled"].values()) == 0, "all reach a score of -1"
    with Collection.open(images) as collection:
        table = collection.labels("tone")
        assert (table.value[0], table.source[0]) == (other, PERSON)
        assert (table.value[1:] == -1).all(), "what CLIP said before is taken back"
        assert collection.undo() is not None


def test_a_dry_run_labels_nothing(
    images: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones = ["--attributes", str(tmp_path / "tones.toml")]
    assert annotate(images, clip, *tones, "--rule", "balanced", "--k", "5", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "light        5" in said and said.rstrip().endswith("this was a dry run.")
    with Collection.open(images) as collection:
        assert (collection.labels("tone").source == 0).all() and collection.undo_title is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rule", "margin"], "--margin SCORE go together"),
        (["--rule", "threshold"], "needs --threshold"),
        (["--k", "0"], "--k is 1 or more"),
        (["--threshold", "0.2"], "--threshold goes with"),
        (["--threshold", "light=2", "--rule", "threshold"], "is not SCORE or VALUE=SCORE"),
    ],
)
def test_wrong_usage_is_said_before_anything_starts(
    images: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", str(images), "--attributes", "faces", *options]) == 2
    assert words in capsys.readouterr().err
    assert not Collection.exists(images)


def test_what_is_missing_is_said(
    images: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert annotate(images, clip) == 1
    assert "Say with --attributes" in capsys.readouterr().err
    assert annotate(images, clip, "--attributes", "nothing-like-it") == 1
    assert "paper-faces" in capsys.readouterr().err
    assert main(["annotate", str(images), "--attributes", "faces", "--model", "no-such-model"]) == 1
    assert "no CLIP model “no-such-model”" in capsys.readouterr().err
    assert annotate(images, clip, "--attributes", "faces", "--download", "--only", "hat") == 1
    assert "no attribute “hat”" in capsys.readouterr().err, "a model that is here needs no download"
    assert annotate(tmp_path / "nowhere", clip, "--attributes", "faces") == 1
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert annotate(tmp_path / "empty", clip, "--attributes", "faces") == 1
    assert "no image in" in capsys.readouterr().err
    tones = ["--attributes", str(tmp_path / "tones.toml")]
    assert annotate(images, clip, *tones) == 1
    assert "other attributes than Tones" in capsys.readouterr().err


@pytest.fixture
def labelled(images: Path, tmp_path: Path) -> Path:
    """The pictures with labels by a person: the first folder light, three of the second dark."""
    from core.annotate.sets import find_set

    with Collection.create(images, find_set(str(tmp_path / "tones.toml"))) as collection:
        collection.scan()
        ids = collection.images().ids
        collection.set_labels("tone", ids[:10], 0, "person")
        collection.set_labels("tone", ids[10:13], 1, "person")
    return images


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_labels_go_out_and_come_back_in(
    labelled: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"labels.{suffix}"
    assert main(["export-labels", str(labelled), str(out)]) == 0
    assert "13 labels of 20 images" in capsys.readouterr().out
    with Collection.open(labelled) as collection:
        collection.set_labels("tone", collection.images().ids, -1, "none")
    assert main(["import-labels", str(labelled), str(out), "--dry-run"]) == 0
    with Collection.open(labelled) as collection:
        assert (collection.labels("tone").source == 0).all()
    assert main(["import-labels", str(labelled), str(out)]) == 0
    with Collection.open(labelled) as collection:
        table = collection.labels("tone")
        assert table.counts().tolist() == [10, 3] and (table.source[:13] == IMPORT).all()


def test_folders_by_value_can_be_sorted_by_hand_and_read_back(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "by-tone"
    assert main(["export-labels", str(labelled), str(out), "--as", "folders", "--only", "tone"]) == 0
    assert len(list((out / "light").iterdir())) == 10 and len(list((out / "dark").iterdir())) == 3
    moved = out / "light" / "03.png"
    moved.rename(out / "dark" / "another name.png")
    capsys.readouterr()
    line = ["import-labels", str(labelled), str(out), "--folders", "tone"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "13 labels of 13 images, 12 of them as they are already" in said
    assert "first/03.png: tone is light, the file says dark" in said and "kept" in said
    assert main([*line, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imported"]
    with Collection.open(labelled) as collection:
        table = dict(zip(collection.images().paths, collection.labels("tone").value.tolist(), strict=True))
    assert table["first/03.png"] == 1 and table["first/04.png"] == 0


def test_what_does_not_match_is_not_imported_unless_asked(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("file,tone,season\nfirst/00.png,dusky,winter\n10.png,light,summer\nx.png,light,\n")
    line = ["import-labels", str(labelled), str(file)]
    assert main(line) == 1
    said = capsys.readouterr().err
    assert "1 file (“x.png”) is not in the folder." in said and "tone has no value “dusky”." in said
    assert "no attribute “season”" in said and "nothing was imported" in said
    assert main([*line, "--skip-unknown", "--add", "--overwrite"]) == 0
    with Collection.open(labelled) as collection:
        assert [a.name for a in collection.attributes] == ["tone", "use", "season"]
        tone, season = collection.labels("tone"), collection.labels("season")
        assert tone.attribute.values[tone.value[0]].name == "dusky"
        assert (season.value >= 0).sum() == 2
        # one step takes all of it back
        collection.undo()
        assert [a.name for a in collection.attributes] == ["tone", "use"]
        assert collection.labels("tone").counts().tolist() == [10, 3]


def test_the_same_folder_can_be_its_own_labels(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["import-labels", str(labelled), str(labelled), "--folders", "where", "--add"]
    assert main(line) == 0
    with Collection.open(labelled) as collection:
        assert collection.labels("where").counts().tolist() == [10, 10]
    assert main(["import-labels", str(labelled), str(labelled)]) == 2
    assert main(["export-labels", str(labelled), str(tmp_path / "x.bin")]) == 2


def test_every_shipped_set_can_be_read() -> None:
    from core.annotate.sets import find_set, shipped_sets
    from core.attributes import prompts_of

    assert {"faces", "paper-faces", "afhq", "animals", "cars", "blank"} <= set(shipped_sets())
    for name in shipped_sets():
        found = find_set(name)
        assert found.name == name
        for attribute in found:
            assert all(prompts_of(attribute, value) for value in attribute.values)
    assert [a.name for a in find_set("paper-faces")] == [
        "age", "gender", "ethnicity", "hair_color", "beard", "glasses",
    ]  # fmt: skip
    assert len(find_set("blank")) == 0


def test_the_blank_set_is_right_once_its_example_is_used(tmp_path: Path) -> None:
    from core.annotate.sets import find_set, shipped_sets

    lines = shipped_sets()["blank"].read_text().split("attributes = []\n")[1].splitlines()
    code = [line.removeprefix("# ") for line in lines if line.startswith("# ") and "=" in line]
    code = [line for line in code if line.split("=")[0].strip().isidentifier() or line.startswith("    {")]
    text = "\n".join(['name = "own"', 'title = "Own"', "[[attributes]]", *code, "]"])
    (tmp_path / "own.toml").write_text(text)
    (weather,) = find_set(str(tmp_path / "own.toml"))
    assert [value.name for value in weather.values] == ["sunny", "rainy", "snowy"] and weather.templates


def test_bench_annotate_measures_all(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.cli import bench_annotate

    monkeypatch.setattr(bench_annotate, "PHOTOS", (("320x240", (320, 240), 6),))
    line = ["bench", "annotate", "--model", str(clip), "--images", "2000", "--runs", "1"]
    assert main([*line, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    row = result["embedding"]["photos"]["320x240"]
    assert row["ours"] > 0 and row["plain"] > 0 and row["least_cosine"] > 0.99
    assert set(result["seconds"]) == set(bench_annotate.WHAT)
    peaks = result["peak_megabytes"]
    assert 10 < peaks["started"] <= peaks["open"] <= peaks["scored"]
    assert "| score 2,000 images for 40 prompts |" in bench_annotate.table(result)
