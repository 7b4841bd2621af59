"""Small steps between a photo, its preview and a face's picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from core.editing.requests import Patch
from core.faces.frame import Frame, align
from core.images import Photo


def aligned(photo: Photo, frame: Frame, sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """`align` at several sizes, of sRGB; only what is around the frame is converted."""
    margin = 2 * frame.side / min(sizes) + 4
    low, high = frame.corners().min(0) - margin, frame.corners().max(0) + margin
    left, top = (int(np.clip(v, 0, end)) for v, end in zip(low, (photo.width, photo.height), strict=True))
    right, bottom = (
        int(np.clip(np.ceil(v), 0, end)) for v, end in zip(high, (photo.width, photo.height), strict=True)
    )
    shifted = Frame(frame.center_x - left, frame.center_y - top, frame.side, frame.angle)
    region = photo.srgb((left, top, max(left, right), max(top, bottom)))
    return [align(region, shifted, size) for size in sizes]


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 shrunk to `size` (width, height)."""
    image = Image.fromarray(pixels)
    return np.array(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))


def is_grey(aligned: np.ndarray) -> bool:
    """Whether a face has no colour, so that its edit should have none.

    JPEG and profiles stray by a level or two.
    """
    return int(np.ptp(aligned.astype(np.int16), axis=2).max()) <= 3


def as_grey(picture: np.ndarray) -> np.ndarray:
    """(S, S, 3) float32 with the luma of each pixel in all channels."""
    luma = picture @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return np.repeat(luma[..., None], 3, axis=2)


def composite(preview: np.ndarray, bounds: tuple[int, int, int, int], patches: Sequence[Patch]) -> np.ndarray:
    """A copy of the preview's `bounds` with the patches painted over it in order."""
    left, top, right, bottom = bounds
    region = preview[top:bottom, left:right].copy()
    for patch in patches:
        l, t, r, b = patch.bounds  # noqa: E741
        x0, y0, x1, y1 = max(l, left), max(t, top), min(r, right), min(b, bottom)
        region[y0 - top : y1 - top, x0 - left : x1 - left] = patch.pixels[y0 - t : y1 - t, x0 - l : x1 - l]
    return region


def through(before: np.ndarray, after: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The change as far as the photo is opaque there: (h, w, 3) uint8 both, `alpha` (h, w) uint8."""
    change = (after.astype(np.int32) - before) * alpha[..., None]
    return (before + np.rint(change / 255)).clip(0, 255).astype(np.uint8)


def carried_over(photo: Photo, own: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The change from `before` to `after` (sRGB) made to `own`, which is `before` in the photo's colours.

    As a difference: what did not change stays bit for bit, and colours that sRGB can't hold are not lost.
    """
    if before is own:
        return after
    change = photo.from_srgb(after).astype(np.int16)
    change -= photo.from_srgb(before)
    change += own
    return change.clip(0, 255).astype(np.uint8)
