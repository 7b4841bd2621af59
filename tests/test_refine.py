"""Refine: the model fitted to one face, through the engine, recipes and the command line."""

from __future__ import annotations

import json
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

import main
from core.editing import EditEngine, RenderRequest
from core.editing.refine import STEPS
from core.errors import StudioError
from core.faces.frame import Frame
from core.images import open_photo
from core.recipe import FaceEdit, Recipe, Refinement, Swap, load_recipe, save_recipe

FACE = Frame(223, 114, 200, -4)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> EditEngine:
    return EditEngine(tiny_model, "cpu")


def recipe(engine: EditEngine, photo: Path, refinement: Refinement | None, blend="keep_detail", swap=True):
    attribute = engine.load().attributes.attributes[3]
    swaps = (Swap(attribute.name, attribute.values[2].name),) if swap else ()
    return Recipe(str(photo), engine.load().name, (FaceEdit(FACE, swaps, blend, refinement),))


def test_it_brings_the_decoded_face_to_the_photo(engine: EditEngine, astronaut: Path) -> None:
    before = {name: t.clone() for name, t in engine._loaded().networks.state_dict().items()}
    told: list[float] = []
    refined = engine.refine(astronaut, FACE, progress=lambda fraction, text: told.append(fraction))
    assert refined.refinement == STEPS
    # the tiny model is no good at real faces: it gets much nearer to this one
    assert refined.psnr[1] > refined.psnr[0] + 2
    assert told == sorted(told) and told[0] == 0 and 0.9 < told[-1] < 1
    after = engine._loaded().networks.state_dict()
    assert all(bool((after[name] == t).all()) for name, t in before.items()), "the model itself stays"


def test_swaps_still_change_the_picture_and_only_in_the_face(engine: EditEngine, astronaut: Path) -> None:
    opened = engine.open(astronaut)
    steps = engine.refine(astronaut, FACE).refinement
    pictures = {}
    for name, refinement in (("plain", None), ("refined", steps)):
        result = engine.render(RenderRequest(1, recipe(engine, astronaut, refinement)))
        (patch,) = result.patches
        left, top, right, bottom = patch.bounds
        change = np.abs(patch.pixels.astype(int) - opened.preview[top:bottom, left:right])
        assert change.max() > 3 and (change[0] == 0).all()
        pictures[name] = patch.pixels
    assert not np.array_equal(pictures["plain"], pictures["refined"])
    # drawn anew without a swap, a refined face is nearer to the photo than one that is not
    errors = []
    for refinement in (None, steps):
        what = recipe(engine, astronaut, refinement, "resynthesise", swap=False)
        (patch,) = engine.render(RenderRequest(1, what)).patches
        left, top, right, bottom = patch.bounds
        errors.append(((patch.pixels.astype(float) - opened.preview[top:bottom, left:right]) ** 2).mean())
    assert errors[1] < errors[0] * 0.7
    assert engine.render(RenderRequest(1, recipe(engine, astronaut, steps, swap=False))).patches == ()


def test_another_engine_replays_the_same_steps_to_the_same_picture(
    engine: EditEngine, astronaut: Path, tiny_model: Path, tmp_path: Path
) -> None:
    steps = Refinement(5)
    what = recipe(engine, astronaut, steps)
    save_recipe(what, tmp_path / "a.recipe.json")
    assert load_recipe(tmp_path / "a.recipe.json") == what
    engine.export(what, tmp_path / "first.png")
    told: list[str] = []
    again = EditEngine(tiny_model, "cpu")
    again.export(what, tmp_path / "second.png", progress=lambda _, text: told.append(text))
    assert "Refining the face" in told
    first, second = (open_photo(tmp_path / name).pixels.astype(int) for name in ("first.png", "second.png"))
    assert np.abs(first - second).max() <= 1


def test_recipes_from_before_load_unrefined_and_broken_ones_do_not(tmp_path: Path) -> None:
    face = '{"frame": {"center_x": 9, "center_y": 9, "side": 9}%s}'
    text = '{"photo": "/a.jpg", "model": "m", "faces": [' + face + '], "schema": %d}'
    (tmp_path / "old.json").write_text(text % ("", 1))
    assert load_recipe(tmp_path / "old.json").faces[0].refinement is None
    (tmp_path / "old.json").write_text(text % (', "refinement": {"code_steps": 20, "generator_steps": 9}', 2))
    assert load_recipe(tmp_path / "old.json").faces[0].refinement == Refinement(9)
    wrongs = {
        '{"code_steps": 1, "generator_steps": 1e9}': 2,
        '{"steps": -1}': 3,
        '{"steps": 1e9}': 3,
        "7": 3,
        "{}": 3,
    }
    for wrong, schema in wrongs.items():
        (tmp_path / "wrong.json").write_text(text % (', "refinement": ' + wrong, schema))
        with pytest.raises(StudioError):
            load_recipe(tmp_path / "wrong.json")


def test_time_ends_it_and_says_how_far_it_came(engine: EditEngine, astronaut: Path) -> None:
    refining = engine.begin_refining(astronaut, FACE, seconds=1e-6)
    while not refining.done:
        refining.step()
    # a first step is never refused
    assert refining.fraction == 1 and refining.result().refinement == Refinement(1)


def test_cancelled_it_leaves_nothing(engine: EditEngine, astronaut: Path) -> None:
    kept, asked = len(engine._refined), iter([False, False, True])
    with pytest.raises(CancelledError):
        engine.refine(astronaut, FACE, cancelled=lambda: next(asked))
    assert len(engine._refined) == kept
    what = recipe(engine, astronaut, Refinement(41))
    with pytest.raises(CancelledError):
        engine.render(RenderRequest(1, what), lambda: True)
    assert len(engine._refined) == kept


def test_outside_the_photo_there_is_nothing_to_refine(engine: EditEngine, astronaut: Path) -> None:
    with pytest.raises(StudioError, match="outside"):
        engine.refine(astronaut, Frame(9000, 9000, 90))


def test_a_grey_face_stays_grey(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.open(astronaut).convert("L").save(tmp_path / "grey.png")
    for blend in ("keep_detail", "resynthesise"):
        what = recipe(engine, tmp_path / "grey.png", Refinement(4), blend)
        engine.export(what, tmp_path / "out.png", overwrite=True)
        saved = open_photo(tmp_path / "out.png").pixels
        assert (saved == saved[..., :1]).all()


def test_from_the_command_line(
    astronaut: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["edit", str(astronaut), "--set", "hair_color=blond", "--model", str(tiny_model), "--json"]
    out = [tmp_path / name for name in ("plain.png", "refined.png", "replayed.png")]
    assert main.main([*line, "--out", str(out[0])]) == 0
    assert json.loads(capsys.readouterr().out)["photos"][0]["recipe"]["faces"][0]["refinement"] is None
    assert main.main([*line, "--refine", "60", "--out", str(out[1])]) == 0
    made = json.loads(capsys.readouterr().out)["photos"][0]["recipe"]
    assert made["faces"][0]["refinement"]["steps"] == STEPS.steps
    (tmp_path / "r.json").write_text(json.dumps(made))
    replay = ["edit", "--recipe", str(tmp_path / "r.json"), "--model", str(tiny_model)]
    assert main.main([*replay, "--out", str(out[2])]) == 0
    plain, refined, replayed = (open_photo(path).pixels.astype(int) for path in out)
    assert np.abs(plain - refined).max() > 3 and np.abs(refined - replayed).max() <= 1
    for wrong in (
        ["--refine", "soon"],
        ["--refine", "-1"],
        ["--refine", "--recipe", str(tmp_path / "r.json")],
    ):
        assert main.main(["edit", str(astronaut), *wrong, "--out", str(tmp_path / "x.png")]) == 2
