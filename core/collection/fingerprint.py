"""What is computed of one file: its digest, its size as an image, and a signature for near duplicates."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import StudioError
from core.exif import ORIENTATION, TURNS
from core.images import MAX_PIXELS, open_photo

SIGNATURE_BYTES = 16
SIDE = 32  # pixels of the small grey image that signatures are made of
# Formats whose decoders read a file in memory; everything else goes through open_photo.
_QUICK = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_QUICK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Fingerprint:
    """`digest` is the file's SHA-256 (32 bytes); `width` and `height` are upright; `signature` is empty for
    images too plain to compare; `problem` says why a file can't be read, empty if it can; `looked` is false
    if not even its bytes could be, and then `digest` says nothing."""

    digest: bytes
    width: int = 0
    height: int = 0
    signature: bytes = b""
    problem: str = ""
    looked: bool = True


def fingerprint(path: Path) -> Fingerprint:
    """Read one file. OSError if it is gone or may not be read; a broken image is no error but a problem."""
    if path.stat().st_size > _QUICK_BYTES:
        with path.open("rb") as file:
            return _by_open_photo(path, hashlib.file_digest(file, "sha256").digest())
    data = path.read_bytes()
    digest = hashlib.sha256(data).digest()
    try:
        with Image.open(io.BytesIO(data), formats=_QUICK) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return _by_open_photo(path, digest)
            image.draft("L", (4 * SIDE, 4 * SIDE))  # JPEG: an eighth of the work
            image.load()
            turn = image.getexif().get(ORIENTATION, 1)
            if image.format == "TIFF":
                (width, height), turn = image.size, 1  # turned by Pillow
            small = _small(image)
    except Exception:  # the program's own way of opening decides, and finds the words
        return _by_open_photo(path, digest)
    if turn in TURNS:
        small = small.transpose(TURNS[turn])
        if turn >= 5:
            width, height = height, width
    return Fingerprint(digest, width, height, signature(np.asarray(small)))


def _by_open_photo(path: Path, digest: bytes) -> Fingerprint:
    try:
        photo = open_photo(path)
    except StudioError as error:
        return Fingerprint(digest, problem=error.message)
    small = _small(Image.fromarray(photo.srgb()))
    return Fingerprint(digest, photo.width, photo.height, signature(np.asarray(small)))


def _small(image: Image.Image) -> Image.Image:
    """32 x 32 grey, transparency on white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    elif image.mode.startswith("I") or image.mode == "F":
        raise ValueError("deep images go through open_photo")
    return image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def signature(grey: np.ndarray) -> bytes:
    """16 bytes of a (32, 32) grey image that differ in few bits for images that look alike.

    64 bits tell which low frequencies of its cosine transform lie above their median, 64 whether the picture
    gets brighter from left to right in an 8 x 9 reduction. Empty for images without enough contrast to tell.
    """
    pixels = grey.astype(np.float64)
    if pixels.std() < 2.0:
        return b""
    basis, lowest = _cosines()
    low = (basis @ pixels @ basis.T).reshape(-1)[lowest]
    coarse = np.asarray(Image.fromarray(grey).resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = np.concatenate([low > np.median(low), (np.diff(coarse, axis=1) > 0).reshape(-1)])
    return np.packbits(bits).tobytes()


@cache
def _cosines() -> tuple[np.ndarray, np.ndarray]:
    """(11, 32) the lowest rows of the cosine transform, and (64,) the lowest frequencies of its square,
    without the mean."""
    k, x = np.mgrid[0:11, 0:SIDE]
    sums = np.add.outer(np.arange(11), np.arange(11)).reshape(-1)
    return np.cos(np.pi * k * (2 * x + 1) / (2 * SIDE)), np.argsort(sums, kind="stable")[1:65]
