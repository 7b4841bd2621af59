"""dSprites (Matthey, Higgins, Hassabis, Lerchner, 2017): a white square, ellipse or heart on black.

`DSpritesFile` reads the original archive; `DSpritesRenderer` draws the same grid of factors.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from core.benchmarks.base import IMAGE_SIZE, Combined, Listed, checked
from core.errors import StudioError
from core.files import atomic_write
from core.paths import user_cache

FACTOR_NAMES = ("shape", "scale", "orientation", "x", "y")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")

_CHUNK = 4096  # images that are unpacked at a time


class DSpritesRenderer(Combined):
    """The 737,280 combinations of the original, drawn when they are asked for; (n, 64, 64, 1), 0 or 255.

    Sizes and places were measured on pictures of the originals: at scale 1 a square of 18 pixels, an
    ellipse of 26 by 14, a heart of 20 by 17; centres from pixel 16 to 48, y downwards; orientation
    anticlockwise over a whole turn. As in the originals, pixels are on or off, the first and last
    orientation are both upright, and shapes with symmetries look alike at some different orientations.
    """

    name = "dsprites"
    factor_names = FACTOR_NAMES

    def __init__(self) -> None:
        super().__init__(FACTOR_SIZES)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 1) uint8."""
        return draw(self.factors(indices))


def render(indices: np.ndarray) -> np.ndarray:
    """(n, 64, 64, 1) uint8 images of the original's `indices`."""
    return DSpritesRenderer().images(indices)


def draw(factors: np.ndarray) -> np.ndarray:
    """(n, 64, 64, 1) uint8 images with `factors` (n, 5): a pixel is on where its centre is in the sprite."""
    result = np.empty((len(factors), IMAGE_SIZE, IMAGE_SIZE, 1), dtype=np.uint8)
    for start in range(0, len(factors), 512):  # bounds the memory of the coordinates
        part = np.asarray(factors[start : start + 512])
        shape, scale, orientation, x, y = part.T
        size = (0.5 + 0.1 * scale).astype(np.float32)[:, None, None]
        angle = (orientation * (2 * np.pi / (FACTOR_SIZES[2] - 1))).astype(np.float32)[:, None, None]
        pixels = np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5
        right = (
            pixels[None, None, :] - (16 + 32 * x / (FACTOR_SIZES[3] - 1)).astype(np.float32)[:, None, None]
        )
        down = pixels[None, :, None] - (16 + 32 * y / (FACTOR_SIZES[4] - 1)).astype(np.float32)[:, None, None]
        cosine, sine = np.cos(angle) / size, np.sin(angle) / size
        across, along = cosine * right - sine * down, sine * right + cosine * down
        inside = np.empty(across.shape, dtype=bool)
        for index, test in enumerate((_in_square, _in_ellipse, _in_heart)):
            chosen = shape == index
            inside[chosen] = test(across[chosen], along[chosen])
        result[start : start + 512, :, :, 0] = inside * np.uint8(255)
    return result


def _in_square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # half open, so that an upright square with its centre between pixels has exactly its side's pixels
    return (x >= -9) & (x < 9) & (y >= -9) & (y < 9)


def _in_ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x / 13) ** 2 + (y / 7) ** 2 < 1


def _in_heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two discs, and below their centres a square on its corner whose sides touch them."""
    x = np.abs(x)
    lobes = (x - 4.8) ** 2 + (y + 3.9) ** 2 < 5.15**2
    body = (y > -3.9) & (x + y < 8.15) & (x - y < 8.7)
    return lobes | body


class DSpritesFile(Listed):
    """The original `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`; (n, 64, 64, 1), 0 or 255.

    The archive is compressed as one piece, so it is unpacked once, in pieces, to one bit a pixel
    (360 MB for all 737,280 images) in `cache` (the user's cache folder if None), and mapped from there.
    StudioError where the file isn't such an archive.
    """

    name = "dsprites"
    factor_names = FACTOR_NAMES

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                classes = archive["latents_classes"]
            if classes.ndim != 2 or classes.shape[1] != 6:
                raise ValueError("latents_classes has not six columns")
            # the first column is the colour, of which there is one
            super().__init__(classes[:, 1:])
            self._bits = _unpacked(path, cache, len(classes))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise StudioError(
                f"{path} can't be read as dSprites: {error}.",
                "Give the original dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz.",
            ) from error

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 1) uint8."""
        rows = self._bits[checked(indices, len(self))]
        return np.unpackbits(rows, axis=1).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 1) * np.uint8(255)


def _unpacked(path: Path, cache: Path | None, count: int) -> np.ndarray:
    """(count, 512) uint8 map of the images, eight pixels a byte."""
    stat = path.stat()
    folder = cache or user_cache() / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}.npy"
    shape = (count, IMAGE_SIZE * IMAGE_SIZE // 8)
    if not target.exists():
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("imgs.npy") as source,
            atomic_write(target, overwrite=True) as out,
        ):
            _pack(source, out, count, shape)
    bits = np.load(target, mmap_mode="r")
    if bits.shape != shape:
        raise ValueError(f"the unpacked images in {target} are not whole")
    return bits


def _pack(source: IO[bytes], out: IO[bytes], count: int, shape: tuple[int, int]) -> None:
    version = np.lib.format.read_magic(source)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    stored, fortran, dtype = read(source)
    if stored != (count, IMAGE_SIZE, IMAGE_SIZE) or fortran or dtype != np.uint8:
        raise ValueError(f"imgs is {dtype} {stored}, not uint8 ({count}, 64, 64)")
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    pixels = IMAGE_SIZE * IMAGE_SIZE
    for start in range(0, count, _CHUNK):
        rows = min(_CHUNK, count - start)
        data = source.read(rows * pixels)
        if len(data) != rows * pixels:
            raise ValueError("the file ends too early")
        out.write(np.packbits(np.frombuffer(data, dtype=np.uint8).reshape(rows, pixels), axis=1).tobytes())
