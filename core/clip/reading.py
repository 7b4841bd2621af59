"""Read images for CLIP: upright, sRGB, and no larger than it looks at."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from core.exif import ORIENTATION, TURNS
from core.images import open_photo


def read_image(path: Path, side: int = 0) -> Image.Image:
    """The image at `path` as RGB, upright; StudioError where it can't be read.

    A JPEG is decoded at the smallest of its built-in scales whose shorter side is at least `side` pixels (0:
    at full size): an eighth of the work for a large photo.
    """
    quick = _read_jpeg(path, side)
    return quick if quick is not None else Image.fromarray(open_photo(path).srgb())


def _read_jpeg(path: Path, side: int) -> Image.Image | None:
    """A plain JPEG; None for all that needs more care, and for what can't be read."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG",)) as image:
            warnings.simplefilter("ignore")
            if image.mode != "RGB" or image.info.get("icc_profile"):
                return None
            if side:
                image.draft("RGB", (side, side))
            image.load()
            turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
            return image.copy() if turn is None else image.transpose(turn)
    except Exception:  # decoders of broken files raise nearly anything: open_photo says what is wrong
        return None


def as_image(pixels: np.ndarray) -> Image.Image:
    """An (H, W, 3) uint8 array as open_clip's transforms take it; ValueError for another shape or type."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"an image is (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    return Image.fromarray(np.ascontiguousarray(pixels))
