"""SmallNORB (LeCun, Huang, Bottou, 2004): 50 toys from 9 heights and 18 sides in 6 lights, grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.benchmarks.base import Listed, checked
from core.benchmarks.resize import resized
from core.errors import StudioError

PARTS = ("smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing")

# the format's magic numbers: what the numbers of a matrix are, all little-endian
_TYPES = {
    0x1E3D4C51: "<f4",
    0x1E3D4C53: "<f8",
    0x1E3D4C54: "<i4",
    0x1E3D4C55: "u1",
    0x1E3D4C56: "<i2",
}


class SmallNORBFiles(Listed):
    """The original six `smallnorb-…-{dat,cat,info}.mat` files, unpacked; (n, 64, 64, 1), the left camera.

    These are the data set's own binary matrices, which have nothing in common with MATLAB's files but
    the suffix. Both parts are joined and sorted by their factors (category, instance, elevation, azimuth,
    lighting; the last fastest). Images are mapped from the files. StudioError where a file is missing
    or broken.
    """

    name = "smallnorb"
    factor_names = ("category", "instance", "elevation", "azimuth", "lighting")

    def __init__(self, folder: Path) -> None:
        self._images = []
        factors = []
        for part in PARTS:
            images, category, info = (
                read_matrix(Path(folder) / f"{part}-{kind}.mat") for kind in ("dat", "cat", "info")
            )
            count = len(images)
            if (
                images.ndim != 4
                or images.dtype != np.uint8
                or category.size != count
                or info.shape != (count, 4)
            ):
                raise StudioError(f"The files of {part} don't fit each other.", "Copy the original again.")
            self._images.append(images)
            factors.append(np.column_stack([category.reshape(-1), info]).astype(np.int64))
        joined = np.concatenate(factors)
        joined[:, 3] //= 2  # azimuths are 0, 2, 4, ... 34
        self._order = np.lexsort(joined.T[::-1])
        super().__init__(joined[self._order])

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 1) uint8."""
        rows = self._order[checked(indices, len(self))]
        first = len(self._images[0])
        originals = [
            self._images[0][row, 0] if row < first else self._images[1][row - first, 0] for row in rows
        ]
        return resized(np.stack(originals)) if originals else np.empty((0, 64, 64, 1), dtype=np.uint8)


def read_matrix(path: Path) -> np.ndarray:
    """A read-only map of one of the data set's matrices; StudioError where it is missing or broken.

    The format: magic number and number of dimensions (int32 each), at least three sizes (int32; unused
    ones are 1), then the numbers, last dimension fastest.
    """
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and packed.exists():
        raise StudioError(f"{packed.name} is still packed.", f"Unpack it first, as with “gunzip {packed}”.")
    try:
        with path.open("rb") as file:
            head = np.frombuffer(file.read(8), dtype="<i4")
            if len(head) < 2 or int(head[0]) not in _TYPES or not 0 < int(head[1]) <= 8:
                raise ValueError("it doesn't start like one of its files")
            sizes = np.frombuffer(file.read(4 * max(3, int(head[1]))), dtype="<i4")
        shape = tuple(int(size) for size in sizes[: int(head[1])])
        start = 8 + 4 * max(3, int(head[1]))
        return np.memmap(path, dtype=_TYPES[int(head[0])], mode="r", offset=start, shape=shape)
    except (OSError, ValueError) as error:
        raise StudioError(
            f"{path} can't be read as SmallNORB: {error}.",
            "Give the folder of the original's unpacked files.",
        ) from error
