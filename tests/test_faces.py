"""The canonical frame and the face finder, on a real photo and, where they are, on the shared faces."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from core.errors import StudioError
from core.faces.finder import FaceFinder
from core.faces.frame import CANONICAL_POINTS, OUTSIDE, Frame, align, enlarged, warp_back

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

frames = st.builds(
    Frame,
    st.floats(-50, 350),
    st.floats(-50, 250),
    st.floats(20, 400),
    st.floats(-180, 180),
)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def _ramp(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * (250 / width), y * (250 / height), (x + y) * (250 / (width + height))], -1)


@given(frames)
def test_a_frame_comes_back_from_its_own_points(frame: Frame) -> None:
    again = Frame.from_points(frame.to_photo(CANONICAL_POINTS))
    assert again.center_x == pytest.approx(frame.center_x, abs=1e-6)
    assert again.center_y == pytest.approx(frame.center_y, abs=1e-6)
    assert again.side == pytest.approx(frame.side)
    assert (again.angle - frame.angle + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


@given(frames)
def test_eyes_and_mouth_place_the_frame(frame: Frame) -> None:
    left, right = frame.to_photo(CANONICAL_POINTS[:2])
    mouth = frame.to_photo(CANONICAL_POINTS[3:].mean(0, keepdims=True))[0]
    again = Frame.from_eyes_and_mouth(tuple(left), tuple(right), tuple(mouth))
    np.testing.assert_allclose(again.corners(), frame.corners(), atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(frames)
def test_aligning_and_warping_back_gives_a_smooth_photo_again(frame: Frame) -> None:
    photo = _ramp(300, 200)
    aligned, inside = align(photo.round().astype(np.uint8), frame, 64)
    bounds = frame.bounds(300, 200)
    left, top, right, bottom = bounds
    if right <= left or bottom <= top or not inside.all():
        return
    back = warp_back(enlarged(aligned.astype(np.float32), frame), frame, bounds).permute(1, 2, 0).numpy()
    inner = np.zeros((64, 64, 1), np.float32)
    inner[6:-6, 6:-6] = 1
    weight = warp_back(enlarged(inner, frame), frame, bounds)[0].numpy() > 0.99
    # an aligned pixel is side / 64 of the photo: the ramp must come back within a fraction of it
    tolerance = 1.0 + 0.3 * frame.side / 64
    assert np.abs(back - photo[top:bottom, left:right])[weight].max(initial=0) < tolerance


@settings(deadline=None, max_examples=40)
@given(frames)
def test_where_the_photo_ends_is_told(frame: Frame) -> None:
    aligned, inside = align(np.full((200, 300, 3), 250, np.uint8), frame, 32)
    assert (aligned[~inside] == OUTSIDE).all()
    assert (aligned[inside] == 250).all()


@pytest.mark.parametrize("wrong", [(0, 0, 0.5, 0), (float("nan"), 0, 10, 0), (0, 0, float("inf"), 0)])
def test_what_is_no_square_is_refused(wrong: tuple[float, float, float, float]) -> None:
    with pytest.raises(StudioError, match="not a square"):
        Frame(*wrong)


@pytest.mark.parametrize("angle", [-20, 0, 20])
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_astronaut_is_found_at_any_size_and_tilt(
    finder: FaceFinder, astronaut: Path, angle: int, scale: float
) -> None:
    image = Image.open(astronaut)
    image = image.rotate(-angle, Image.Resampling.BICUBIC, center=(223, 110), fillcolor=(90, 90, 90))
    image = image.resize((round(512 * scale), round(512 * scale)), Image.Resampling.BICUBIC)
    faces = finder.find(np.asarray(image))
    assert len(faces) == 1
    frame = faces[0].frame
    # eyes and mouth as a person clicks them in the photo
    wanted = Frame.from_eyes_and_mouth((204, 104), (244, 105), (222, 141))
    assert np.hypot(frame.center_x / scale - wanted.center_x, frame.center_y / scale - wanted.center_y) < 9
    assert frame.side / scale == pytest.approx(wanted.side, rel=0.15)
    assert frame.angle == pytest.approx(wanted.angle + angle, abs=6)


def test_several_faces_come_largest_first(finder: FaceFinder, astronaut: Path) -> None:
    image = Image.open(astronaut).crop((130, 20, 330, 220))
    canvas = Image.new("RGB", (900, 500), (120, 110, 100))
    canvas.paste(image.resize((200, 200)), (50, 100))
    canvas.paste(ImageOps.mirror(image).resize((400, 400)), (420, 50))
    faces = finder.find(np.asarray(canvas))
    assert len(faces) == 2
    assert faces[0].frame.side > 1.7 * faces[1].frame.side
    assert faces[0].frame.center_x > 420 > faces[1].frame.center_x


def test_no_face_where_there_is_none(finder: FaceFinder) -> None:
    from skimage.data import coffee

    assert finder.find(coffee()) == ()
    assert finder.find(np.full((40, 30, 3), 128, np.uint8)) == ()
    assert finder.find(np.zeros((1, 1, 3), np.uint8)) == ()


def test_the_frame_can_be_placed_where_nothing_is_found(finder: FaceFinder, astronaut: Path) -> None:
    pixels = np.asarray(Image.open(astronaut))
    roughly = Frame(230, 105, 180, 0)
    found = Frame.from_points(finder.landmarks(pixels, roughly))
    assert np.hypot(found.center_x - 223, found.center_y - 110) < 8


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared faces are not on this machine")
def test_most_shared_faces_are_found_and_their_eyes_are_level(finder: FaceFinder) -> None:
    with (SHARED / "celeba_attributes.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)][::90]
    found, tilts = 0, []
    for name in names:
        pixels = np.asarray(Image.open(SHARED / "celeba" / name).convert("RGB"))
        faces = finder.find(np.pad(pixels, ((24, 24), (24, 24), (0, 0)), mode="edge"))
        if faces:
            found += 1
            # CelebA is aligned by the eyes, half size: at (34.5, 55.5) and (54, 55.5)
            eyes = np.asarray(faces[0].points)[:2] - 24
            tilts.append(np.abs(eyes - [[34.5, 55.5], [54.0, 55.5]]).max())
    assert found / len(names) > 0.9
    assert np.median(tilts) < 2.0
