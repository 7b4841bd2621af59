"""Recipes as files: what is saved comes back; a bad file is one clear sentence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import StudioError
from core.faces.frame import Frame
from core.recipe import STRONGEST, FaceEdit, Recipe, Swap, load_recipe, save_recipe

RECIPE = Recipe(
    "/home/jemand/Müller & Söhne/写真.jpg",
    "starter",
    (
        FaceEdit(
            Frame(10.5, 20, 30, -4.25),
            (Swap("hair_color", "blond", 0.5), Swap("glasses", "none")),
            "resynthesise",
        ),
        FaceEdit(Frame(1, 2, 3), beyond=True),
    ),
)


def test_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "rezept ü.json"
    save_recipe(RECIPE, path)
    assert load_recipe(path) == RECIPE
    with pytest.raises(StudioError, match="exists"):
        save_recipe(RECIPE, path)
    save_recipe(Recipe("a", "b"), path, overwrite=True)
    assert load_recipe(path) == Recipe("a", "b")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# these machines are shared: how long an example takes says nothing
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Recipe,
        photo=st.text(),
        model=st.text(),
        faces=st.lists(
            st.builds(
                FaceEdit,
                frame=st.builds(Frame, *[st.floats(-1e5, 1e5)] * 2, st.floats(1, 1e5), st.floats(-360, 360)),
                swaps=st.lists(
                    st.builds(Swap, st.text(), st.text(), st.floats(0, STRONGEST)),
                    unique_by=lambda s: s.attribute,
                ).map(tuple),
                blend=st.sampled_from(["keep_detail", "resynthesise"]),
                beyond=st.booleans(),
            )
        ).map(tuple),
    )
)
def test_any_recipe_comes_back(recipe: Recipe) -> None:
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no recipe",
        "[]",
        '{"photo": "a"}',
        '{"photo": "a", "model": "b", "faces": [{}]}',
        '{"photo": "a", "model": "b", "faces": [{"frame": {"center_x": 1, "center_y": 1, "side": 0}}]}',
        '{"photo": "a", "model": "b", "faces": [{"frame": {"center_x": 1, "center_y": 1, "side": 5},'
        ' "blend": "mix"}]}',
        '{"photo": "a", "model": "b", "faces": [{"frame": {"center_x": 1e300, "center_y": 1, "side": 5}}]}',
        '{"photo": "a", "model": "b", "schema": 99, "faces": "later"}',
        '{"photo": "a", "model": "b", "faces": [{"frame": {"center_x": 1, "center_y": 1, "side": 5},'
        ' "swaps": [{"attribute": "age", "value": "old", "strength": 7}]}]}',
        '{"photo": "a", "model": "b", "faces": [{"frame": {"center_x": 1, "center_y": 1, "side": 5},'
        ' "swaps": [{"attribute": "age", "value": "old"}, {"attribute": "age", "value": "young"}]}]}',
        "[" * 100_000,
    ],
)
def test_bad_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(StudioError, match=r"recipe\.json") as caught:
        load_recipe(path)
    assert caught.value.hint and "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\0" * 100)
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "binary.json"):
        with pytest.raises(StudioError):
            load_recipe(path)


@pytest.mark.parametrize("strength", [-0.1, 1.6, float("nan"), float("inf")])
def test_impossible_strength(strength: float) -> None:
    with pytest.raises(StudioError):
        Swap("age", "old", strength)


def test_active() -> None:
    edit = FaceEdit(Frame(1, 2, 3), (Swap("age", "old", 0), Swap("glasses", "none", 0.1)))
    assert edit.active() == (edit.swaps[1],)
