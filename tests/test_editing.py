"""Putting an edited face back: what stays the same bit for bit, what changes, and the engine around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.editing import blend as blend_module
from core.editing.beyond import CELLS, Surroundings, surroundings
from core.editing.blend import FEATHER, Decoded, blend_face, feather_mask, reach
from core.editing.detail import COLOURS_YIELDING, YIELDING, detailed_change
from core.faces.frame import Frame, align
from core.recipe import Blend

# these machines are shared: how long an example takes says nothing
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
BLENDS: tuple[Blend, ...] = ("keep_detail", "resynthesise")


def random_photo(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def random_decoded(photo: np.ndarray, frame: Frame, seed: int, size: int = 16) -> Decoded:
    aligned, inside = align(photo, frame, size)
    original, edited = np.random.default_rng(seed).random((2, size, size, 3), np.float32)
    return Decoded(original, edited, aligned, inside)


def put_back(
    photo: np.ndarray, frame: Frame, decoded: Decoded, blend: Blend, *, beyond: bool = False
) -> np.ndarray:
    """The whole photo with the face blended in."""
    height, width = photo.shape[:2]
    left, top, right, bottom = bounds = reach(frame, beyond=beyond).bounds(width, height)
    around = Surroundings(*align(photo, surroundings(frame), CELLS)) if beyond else None
    result = photo.copy()
    if right > left and bottom > top:
        result[top:bottom, left:right] = blend_face(
            photo[top:bottom, left:right], bounds, frame, decoded, blend, around
        )
    return result


def outside_frame(height: int, width: int, frame: Frame) -> np.ndarray:
    """(height, width) true for pixel centres outside the frame or on its border."""
    y, x = np.mgrid[0:height, 0:width]
    angle = np.radians(frame.angle)
    dx, dy = x - frame.center_x, y - frame.center_y
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = -dx * np.sin(angle) + dy * np.cos(angle)
    return np.maximum(np.abs(u), np.abs(v)) >= frame.side / 2


frames = st.builds(
    Frame,
    center_x=st.floats(-40, 120),
    center_y=st.floats(-40, 120),
    side=st.floats(1, 150),
    angle=st.floats(-180, 180),
)
photos = st.builds(random_photo, height=st.integers(1, 80), width=st.integers(1, 80), seed=st.integers(0, 99))


@settings(UNHURRIED, max_examples=150)
@given(photos, frames, st.integers(0, 99), st.sampled_from(BLENDS))
def test_outside_the_frame_nothing_changes(photo: np.ndarray, frame: Frame, seed: int, blend: Blend) -> None:
    before = photo.copy()
    result = put_back(photo, frame, random_decoded(photo, frame, seed), blend)
    assert np.array_equal(photo, before)
    outside = outside_frame(photo.shape[0], photo.shape[1], frame)
    assert np.array_equal(result[outside], photo[outside])


@settings(UNHURRIED, max_examples=15)
@given(photos, frames, st.integers(0, 99), st.sampled_from(BLENDS))
def test_outside_the_surroundings_nothing_changes(
    photo: np.ndarray, frame: Frame, seed: int, blend: Blend
) -> None:
    result = put_back(photo, frame, random_decoded(photo, frame, seed), blend, beyond=True)
    outside = outside_frame(photo.shape[0], photo.shape[1], surroundings(frame))
    assert np.array_equal(result[outside], photo[outside])
    decoded = random_decoded(photo, frame, seed)
    unedited = Decoded(decoded.original, decoded.original.copy(), decoded.aligned, decoded.inside)
    assert np.array_equal(put_back(photo, frame, unedited, "keep_detail", beyond=True), photo)


def test_a_change_goes_on_where_it_looks_alike() -> None:
    # hair on the left goes on above the frame; on the right, where nothing changes, is a wall
    photo = np.full((300, 300, 3), 200, np.uint8)
    photo[:, :150] = (120, 90, 60)
    frame = Frame(150, 180, 150)
    aligned, inside = align(photo, frame, 32)
    original = aligned.astype(np.float32) / 255
    edited = original.copy()
    edited[:, :16] -= np.float32(0.2)
    decoded = Decoded(original, edited, aligned, inside)
    for blend in BLENDS:
        result = put_back(photo, frame, decoded, blend, beyond=True).astype(int)
        change = (photo.astype(int) - result)[..., 0]
        within, border, above, far = (change[y, 120] for y in (180, 110, 90, 60))
        assert within == 51 and 45 <= border <= 51 and 30 <= above <= border and 0 < far < above
        assert np.abs(change[60:100, 160:]).max() <= 2, "the wall stays"
        # and nowhere a seam: along the hair it fades
        assert np.abs(np.diff(change[:180, 120])).max() <= 3
        # within the frame it is the same edit
        alone = put_back(photo, frame, decoded, blend).astype(int)
        assert np.abs(alone - result)[130:230, 100:200].max() <= 1


def test_what_is_beyond_the_photos_end_is_not_known() -> None:
    photo = np.full((100, 100, 3), 100, np.uint8)
    frame = Frame(0, 50, 60)
    for blend in BLENDS:
        result = put_back(photo, frame, flat(photo, frame, 0.4, 0.6, size=32), blend, beyond=True)
        assert (np.abs(result[50, :12].astype(int) - result[50, 12]) <= 5).all()


def test_surroundings_of_another_size_are_a_bug() -> None:
    with pytest.raises(ValueError, match="cells a side"):
        Surroundings(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool))


@settings(UNHURRIED, max_examples=80)
@given(photos, frames, st.integers(0, 99), st.booleans())
def test_keep_detail_without_an_edit_changes_nothing(
    photo: np.ndarray, frame: Frame, seed: int, same: bool
) -> None:
    decoded = random_decoded(photo, frame, seed)
    unedited = decoded.original if same else decoded.original.copy()
    result = put_back(
        photo, frame, Decoded(decoded.original, unedited, decoded.aligned, decoded.inside), "keep_detail"
    )
    assert np.array_equal(result, photo)


@settings(UNHURRIED, max_examples=80)
@given(photos, frames, st.integers(0, 99), st.sampled_from(BLENDS))
def test_what_is_decoded_beyond_the_photo_has_no_effect(
    photo: np.ndarray, frame: Frame, seed: int, blend: Blend
) -> None:
    decoded = random_decoded(photo, frame, seed)
    beyond = ~decoded.inside[..., None]
    wild = Decoded(
        np.where(beyond, 0, decoded.original),
        np.where(beyond, 1, decoded.edited),
        decoded.aligned,
        decoded.inside,
    )
    assert np.array_equal(put_back(photo, frame, decoded, blend), put_back(photo, frame, wild, blend))


@pytest.mark.parametrize("blend", BLENDS)
def test_strips_do_not_show(blend: Blend, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, frame = random_photo(120, 90, 3), Frame(40, 66, 88.5, 31)
    decoded = random_decoded(photo, frame, 4)
    whole = put_back(photo, frame, decoded, blend)
    monkeypatch.setattr(blend_module, "_STRIP_PIXELS", 500)
    assert np.array_equal(put_back(photo, frame, decoded, blend), whole)
    assert not np.array_equal(whole, photo)


def flat(photo: np.ndarray, frame: Frame, original: float, edited: float, size: int = 16) -> Decoded:
    aligned, inside = align(photo, frame, size)
    full = np.full((size, size, 3), 1, np.float32)
    return Decoded(full * original, full * edited, aligned, inside)


def test_keep_detail_adds_the_difference_and_clips() -> None:
    photo = random_photo(100, 100, 0)
    frame = Frame(50, 50, 80, 20)
    aligned, inside = align(photo, frame, 16)
    original = aligned.astype(np.float32) / 255  # nothing of the photo was missed
    middle = slice(40, 60)
    for change in (102, -102):
        decoded = Decoded(original, original + np.float32(change / 255), aligned, inside)
        result = put_back(photo, frame, decoded, "keep_detail")
        expected = np.clip(photo[middle, middle].astype(int) + change, 0, 255)
        assert np.array_equal(result[middle, middle], expected)


def test_detail_gives_way_where_the_change_is_large() -> None:
    photo = np.full((100, 100, 3), 128, np.uint8)
    photo[::2, ::2] += 40  # finer than the model sees
    frame = Frame(50, 50, 80, 20)

    def middle(edited: float) -> np.ndarray:
        result = put_back(photo, frame, flat(photo, frame, 0.2, edited), "keep_detail")
        return result[40:60, 40:60].astype(int)

    before = photo[40:60, 40:60].astype(int)
    missed = before.mean() / 255 - 0.2  # what the decoded picture lacks of the photo
    assert np.abs(middle(0.21) - before - 2.5).max() < 1
    stays = 1 / (1 + (0.4 / YIELDING) ** 2)
    assert middle(0.6).mean() / 255 == pytest.approx(0.6 + stays * missed, abs=0.01)
    # what the model can't see is never taken away
    assert np.array_equal(np.ptp(middle(0.6), axis=(0, 1)), np.ptp(before, axis=(0, 1)))


def test_colours_give_way_before_light() -> None:
    original, edited = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), 0.3)
    lighter, redder = (torch.tensor(v)[None, :, None, None] for v in ([0.1, 0.1, 0.1], [0.1, -0.05, -0.05]))
    for missed, limit in ((lighter, YIELDING), (redder, COLOURS_YIELDING)):
        left = detailed_change(original + missed, original, edited) + missed - (edited - original)
        assert torch.allclose(left, (missed / (1 + (0.2 / limit) ** 2)).expand_as(left), atol=1e-5)


def test_how_much_detail_stays_has_no_gradient() -> None:
    torch.manual_seed(0)
    photo, original = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    edited = torch.rand(2, 3, 32, 32, requires_grad=True)
    detailed_change(photo, original, edited).sum().backward()
    assert edited.grad is not None and (edited.grad == 1).all()
    with torch.no_grad():
        assert (detailed_change(photo, original, original) == 0).all()
        # the range of the values makes no difference
        wide = [2 * t - 1 for t in (photo, original, edited)]
        narrow = detailed_change(photo, original, edited)
        assert torch.allclose(detailed_change(*wide, span=2.0) / 2, narrow, atol=1e-5)


def test_resynthesise_replaces_the_middle() -> None:
    photo = random_photo(100, 100, 0)
    frame = Frame(50, 50, 80, 20)
    result = put_back(photo, frame, flat(photo, frame, 0.2, 0.6), "resynthesise")
    assert (result[40:60, 40:60] == 153).all()


def test_resynthesise_fades_where_the_photo_ends() -> None:
    photo = np.full((100, 100, 3), 200, np.uint8)
    frame = Frame(0, 50, 96)
    decoded = flat(photo, frame, 0.2, 0.6, size=32)
    assert not decoded.inside.all()
    result = put_back(photo, frame, decoded, "resynthesise")[50, :, 0].astype(int)
    assert result[0] > 190 and result[15] == 153
    assert np.abs(np.diff(result)).max() < 20, "no seam"


def test_keep_detail_goes_on_to_the_photos_end() -> None:
    photo = np.full((100, 100, 3), 100, np.uint8)
    frame = Frame(0, 50, 96)
    result = put_back(photo, frame, flat(photo, frame, 0.2, 0.6, size=32), "keep_detail")
    gone = 1 - 1 / (1 + (0.4 / YIELDING) ** 2)
    assert (result[50, :30] == np.floor(100 + 102 - gone * (100 - 51) + 0.5)).all()


def test_no_seam_at_the_frames_border() -> None:
    photo = np.full((200, 200, 3), 60, np.uint8)
    for blend in BLENDS:
        for angle in (0.0, 33.0):
            frame = Frame(100, 100, 120, angle)
            result = put_back(photo, frame, flat(photo, frame, 0.0, 0.7), blend)[..., 0].astype(int)
            steps = max(np.abs(np.diff(result, axis=0)).max(), np.abs(np.diff(result, axis=1)).max())
            # a smooth step of 180 levels is at most 1.5 times as steep as a straight one
            assert steps <= 1.5 * 180 / (120 * FEATHER) * np.sqrt(2) + 1


def test_preview_shows_what_the_export_makes() -> None:
    y, x = np.mgrid[0:400, 0:600]
    photo = np.stack([x * 255 // 600, y * 255 // 400, 128 + 0 * x], -1).astype(np.uint8)
    frame = Frame(310, 190, 260, 17)
    aligned, inside = align(photo, frame, 16)
    smooth = np.linspace(0.2, 0.8, 16, dtype=np.float32)[:, None, None] * np.ones((16, 16, 3), np.float32)
    decoded = Decoded(np.full_like(smooth, 0.5), smooth, aligned, inside)
    for blend in BLENDS:
        full = put_back(photo, frame, decoded, blend)
        small_photo = photo.reshape(200, 2, 300, 2, 3).mean((1, 3)).round().astype(np.uint8)
        small = put_back(small_photo, frame.scaled(0.5), decoded, blend)
        shrunk = full.reshape(200, 2, 300, 2, 3).mean((1, 3))
        assert np.abs(small - shrunk).max() < 2.5


def test_feather_mask() -> None:
    mask = feather_mask(64)
    assert mask.shape == (64, 64) and mask.dtype == np.float32
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert (border == 0).all() and (mask[16:48, 16:48] == 1).all()
    assert np.allclose(mask, mask[::-1], atol=1e-6) and np.allclose(mask, mask.T)


def test_wrong_region_is_a_bug() -> None:
    photo, frame = random_photo(30, 30, 0), Frame(15, 15, 10)
    decoded = random_decoded(photo, frame, 0)
    with pytest.raises(ValueError):
        blend_face(photo, frame.bounds(30, 30), frame, decoded)
