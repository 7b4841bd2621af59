"""The engine with a really trained tiny model and a real photo: open, describe, render, export, caches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.editing import EditEngine, RenderRequest, RenderResult
from core.editing.beyond import surroundings
from core.editing.cache import Cache
from core.errors import StudioError
from core.faces.frame import Frame
from core.images import open_photo
from core.recipe import FaceEdit, Recipe, Swap
from tests.test_images import wide_profile

# of the astronaut's face, as a person would place it
FACE = Frame(223, 114, 200, -4)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> EditEngine:
    return EditEngine(tiny_model, "cpu")


@pytest.fixture
def calls(engine: EditEngine) -> Iterator[list[str]]:
    """Names of the model's methods in the order they were called."""
    engine.load()
    model: Any = engine._loaded()
    seen: list[str] = []

    def noted(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return getattr(type(model), name)(model, *args, **kwargs)

        return call

    for name in ("encode", "swap", "decode"):
        setattr(model, name, noted(name))
    yield seen
    for name in ("encode", "swap", "decode"):
        delattr(model, name)


def swaps_of(engine: EditEngine) -> tuple[Swap, ...]:
    """The last value of the first two attributes: whatever the model's attributes are."""
    return tuple(Swap(a.name, a.values[-1].name, 1.5) for a in list(engine.load().attributes)[:2])


def recipe(engine: EditEngine, photo: Path, *faces: FaceEdit) -> Recipe:
    return Recipe(str(photo), engine.load().name, faces)


def render(engine: EditEngine, what: Recipe, screen: int = 1600) -> RenderResult:
    return engine.render(RenderRequest(7, what, screen), lambda: False)


def painted(preview: np.ndarray, result: RenderResult) -> np.ndarray:
    """What the window shows: the patches over the preview in order."""
    picture = preview.copy()
    for patch in result.patches:
        left, top, right, bottom = patch.bounds
        picture[top:bottom, left:right] = patch.pixels
    return picture


def outside(shape: tuple[int, ...], frame: Frame) -> np.ndarray:
    left, top, right, bottom = frame.bounds(shape[1], shape[0])
    mask = np.ones(shape[:2], bool)
    mask[top:bottom, left:right] = False
    return mask


def test_importing_it_is_quick() -> None:
    code = "import core.editing, core.recipe, core.images, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0


def test_open_finds_and_describes_the_face(engine: EditEngine, astronaut: Path) -> None:
    opened = engine.open(astronaut, 400)
    assert (opened.width, opened.height) == (512, 512)
    assert opened.preview.shape == (400, 400, 3) and opened.scale == 400 / 512
    assert len(opened.faces) >= 1
    face = opened.faces[0]
    assert np.hypot(face.frame.center_x - 223, face.frame.center_y - 114) < 40
    assert face.points is not None and face.points.shape == (5, 2)
    assert face.thumbnail.shape == (96, 96, 3) and face.thumbnail.std() > 20
    assert list(face.values) == [a.name for a in engine.load().attributes]
    for values in face.values.values():
        assert sum(values.values()) == pytest.approx(1, abs=1e-4)
    other = engine.open(astronaut, 1600)
    assert other.scale == 1 and other.faces[0].frame == face.frame, "the window's size must not matter"


def test_a_photo_without_a_face(engine: EditEngine, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (90, 120, 200)).save(tmp_path / "sky.png")
    opened = engine.open(tmp_path / "sky.png")
    assert opened.faces == ()
    view = engine.describe(tmp_path / "sky.png", Frame(100, 100, 90))
    assert view.points is None and view.thumbnail.shape == (96, 96, 3)
    with pytest.raises(StudioError, match="outside"):
        engine.describe(tmp_path / "sky.png", Frame(900, 900, 90))


def test_one_pixel(engine: EditEngine, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (90, 120, 200)).save(tmp_path / "dot.png")
    opened = engine.open(tmp_path / "dot.png")
    assert opened.preview.shape == (1, 1, 3) and opened.faces == ()
    what = recipe(engine, tmp_path / "dot.png", FaceEdit(Frame(0, 0, 30), swaps_of(engine), "resynthesise"))
    engine.export(what, tmp_path / "out.png")
    assert open_photo(tmp_path / "out.png").width == 1


def test_render_changes_the_face_only(engine: EditEngine, astronaut: Path) -> None:
    opened = engine.open(astronaut, 400)
    before = opened.preview.copy()
    for blend in ("keep_detail", "resynthesise"):
        result = render(engine, recipe(engine, astronaut, FaceEdit(FACE, swaps_of(engine), blend)), 400)
        assert result.number == 7 and result.milliseconds > 0 and len(result.patches) == 1
        after = painted(opened.preview, result)
        away = outside(after.shape, FACE.scaled(opened.scale))
        assert np.array_equal(after[away], before[away])
        assert np.abs(after.astype(int) - before).max() > 3
    assert np.array_equal(opened.preview, before)


def test_an_edit_beyond_the_frame_stays_in_the_surroundings(
    engine: EditEngine, astronaut: Path, tmp_path: Path
) -> None:
    opened = engine.open(astronaut, 400)
    narrow = recipe(engine, astronaut, FaceEdit(FACE, swaps_of(engine)))
    wide = recipe(engine, astronaut, FaceEdit(FACE, swaps_of(engine), beyond=True))
    within = painted(opened.preview, render(engine, narrow, 400))
    after = painted(opened.preview, render(engine, wide, 400))
    away = outside(after.shape, surroundings(FACE.scaled(opened.scale)))
    near = outside(after.shape, FACE.scaled(opened.scale)) & ~away
    assert np.array_equal(after[away], opened.preview[away])
    assert not np.array_equal(after[near], opened.preview[near])
    assert np.array_equal(within[near], opened.preview[near])
    assert np.array_equal(painted(opened.preview, render(engine, narrow, 400)), within)
    # the export shows it too
    engine.export(wide, tmp_path / "out.png")
    saved, photo = open_photo(tmp_path / "out.png").pixels, open_photo(astronaut).pixels
    away = outside(photo.shape, surroundings(FACE))
    near = outside(photo.shape, FACE) & ~away
    assert np.array_equal(saved[away], photo[away]) and not np.array_equal(saved[near], photo[near])


def test_nothing_to_do_makes_no_patch(engine: EditEngine, astronaut: Path) -> None:
    weak = tuple(Swap(s.attribute, s.value, 0.0) for s in swaps_of(engine))
    far = Frame(5000, 5000, 100)
    tiny = Frame(100, 100, 1)
    faces = (
        FaceEdit(FACE),
        FaceEdit(FACE, weak),
        FaceEdit(far, swaps_of(engine)),
        FaceEdit(tiny, swaps_of(engine)),
    )
    assert render(engine, recipe(engine, astronaut, *faces), 100).patches == ()


def test_a_changed_swap_costs_one_swap_and_one_decode(
    engine: EditEngine, astronaut: Path, calls: list[str]
) -> None:
    first, second = swaps_of(engine)
    one, two = Frame(223, 114, 201, -4), Frame(380, 300, 120)
    engine.open(astronaut)
    engine.describe(astronaut, one)
    engine.describe(astronaut, two)
    calls.clear()
    render(engine, recipe(engine, astronaut, FaceEdit(one, (first,)), FaceEdit(two, (second,))))
    assert calls == ["swap", "decode"] * 2
    calls.clear()
    weaker = Swap(first.attribute, first.value, 0.7)
    changed = recipe(engine, astronaut, FaceEdit(one, (weaker,)), FaceEdit(two, (second,)))
    a = render(engine, changed)
    assert calls == ["swap", "decode"]
    b = render(engine, changed)
    assert (
        calls == ["swap", "decode"]
        and [p is q for p, q in zip(a.patches, b.patches, strict=True)] == [True] * 2
    )
    render(engine, recipe(engine, astronaut, FaceEdit(one, (weaker,), "resynthesise")), 300)
    assert calls == ["swap", "decode"]


def test_overlapping_faces_in_order(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    left, right = Frame(200, 114, 150, 10), Frame(260, 130, 150, -20)
    a, b = FaceEdit(left, swaps_of(engine)), FaceEdit(right, swaps_of(engine), "resynthesise")
    opened = engine.open(astronaut)
    pictures = []
    for faces in ((a, b), (b, a), (a,), (b,)):
        what = recipe(engine, astronaut, *faces)
        shown = painted(opened.preview, render(engine, what))
        engine.export(what, tmp_path / "out.png", overwrite=True)
        # at a scale of 1 the window shows exactly what is saved
        assert np.array_equal(open_photo(tmp_path / "out.png").pixels, shown)
        pictures.append(shown)
    assert not np.array_equal(pictures[0], pictures[1])
    # a lower face that changes is seen through the one above
    weaker = FaceEdit(left, (Swap(a.swaps[0].attribute, a.swaps[0].value, 0.2),))
    assert not np.array_equal(
        painted(opened.preview, render(engine, recipe(engine, astronaut, weaker, b))), pictures[0]
    )


def test_cancelled(engine: EditEngine, astronaut: Path) -> None:
    what = recipe(engine, astronaut, FaceEdit(FACE, swaps_of(engine)))
    with pytest.raises(CancelledError):
        engine.render(RenderRequest(1, what), lambda: True)


def test_export_keeps_everything_else(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(astronaut))
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:50] = 100
    profile = wide_profile()
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "Maker"
    turned = np.rot90(np.dstack([pixels, alpha]), 1)
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "in.png", icc_profile=profile, exif=tags)
    source = (tmp_path / "in.png").read_bytes()
    photo = open_photo(tmp_path / "in.png")
    assert np.array_equal(photo.pixels, pixels)
    told: list[float] = []
    for blend in ("keep_detail", "resynthesise"):
        what = recipe(engine, tmp_path / "in.png", FaceEdit(FACE, swaps_of(engine), blend))
        engine.export(what, tmp_path / "out.png", overwrite=True, progress=lambda f, text: told.append(f))
        saved = open_photo(tmp_path / "out.png")
        assert saved.icc_profile == profile and saved.exif is not None
        assert saved.alpha is not None and np.array_equal(saved.alpha, alpha)
        away = outside(pixels.shape, FACE)
        assert np.array_equal(saved.pixels[away], pixels[away])
        change = np.abs(saved.pixels.astype(int) - pixels)
        assert change.max() > 3
    assert told == sorted(told[: len(told) // 2]) * 2 and told[-1] == 1
    assert (tmp_path / "in.png").read_bytes() == source


def test_export_without_edits_is_the_photo(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    engine.export(recipe(engine, astronaut, FaceEdit(FACE)), tmp_path / "out.png")
    assert np.array_equal(open_photo(tmp_path / "out.png").pixels, open_photo(astronaut).pixels)
    with pytest.raises(StudioError, match="exists"):
        engine.export(recipe(engine, astronaut), tmp_path / "out.png")


def test_grey_photos_stay_grey(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    grey = Image.open(astronaut).convert("L")
    grey.save(tmp_path / "l.png")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    for name in ("l.png", "rgb.png"):
        for blend in ("keep_detail", "resynthesise"):
            what = recipe(engine, tmp_path / name, FaceEdit(FACE, swaps_of(engine), blend))
            engine.export(what, tmp_path / "out.png", overwrite=True)
            saved = open_photo(tmp_path / "out.png")
            assert (saved.pixels == saved.pixels[..., :1]).all() and saved.grey is (name == "l.png")


def test_transparent_stays_transparent_in_the_preview(
    engine: EditEngine, astronaut: Path, tmp_path: Path
) -> None:
    alpha = np.zeros((512, 512), np.uint8)
    alpha[:, 220:] = 255
    Image.fromarray(np.dstack([np.asarray(Image.open(astronaut)), alpha])).save(tmp_path / "a.png")
    opened = engine.open(tmp_path / "a.png", 300)
    result = render(engine, recipe(engine, tmp_path / "a.png", FaceEdit(FACE, swaps_of(engine))), 300)
    after = painted(opened.preview, result)
    assert (after[:, :120] == 255).all() and not np.array_equal(after, opened.preview)


def test_a_changed_file_is_read_again(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(astronaut.read_bytes())
    first = engine.open(path)
    Image.new("RGB", (50, 40), (200, 0, 0)).save(path)
    os.utime(path, (1, 1))
    assert first.width == 512 and engine.open(path).width == 50
    path.unlink()
    with pytest.raises(StudioError, match="no photo"):
        engine.open(path)
    with pytest.raises(StudioError, match="no photo"):
        render(engine, recipe(engine, path))


def test_errors(engine: EditEngine, astronaut: Path, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="another"):
        render(engine, Recipe(str(astronaut), "another"))
    for swap in (Swap("shoe_size", "large"), Swap(engine.load().attributes.attributes[0].name, "none such")):
        with pytest.raises(StudioError):
            render(engine, recipe(engine, astronaut, FaceEdit(FACE, (swap,))))
        with pytest.raises(StudioError):
            engine.export(recipe(engine, astronaut, FaceEdit(FACE, (swap,))), tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StudioError):
        EditEngine(tmp_path).load()


def test_caches_are_bounded(engine: EditEngine, astronaut: Path) -> None:
    for i in range(40):
        frame = Frame(200 + i, 120, 180)
        render(engine, recipe(engine, astronaut, FaceEdit(frame, swaps_of(engine))))
    for cache in (engine._previews, engine._encoded, engine._edited, engine._patches):
        assert 0 < cache.size <= cache.limit


def test_cache() -> None:
    cache: Cache[str] = Cache(10)
    assert cache.get("a") is None
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)
    assert cache.get("b") is None and cache.get("a") == "A" and cache.get("c") == "C" and cache.size == 8
    cache.put("c", "D", 1)
    assert cache.size == 5 and cache.get("c") == "D"
    cache.put("huge", "H", 100)
    assert cache.get("huge") == "H" and len(cache) == 1
    cache.put("a", "A", 1)
    assert cache.get("huge") is None and cache.size == 1
    cache.clear()
    assert len(cache) == 0 and cache.size == 0
