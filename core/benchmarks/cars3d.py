"""Cars3D (Reed and others, 2015, "Deep Visual Analogy-Making"): 183 cars from 24 sides and 4 heights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from core.benchmarks.base import IMAGE_SIZE, Combined
from core.benchmarks.resize import resized
from core.errors import StudioError


class Cars3DFiles(Combined):
    """The original folder `cars` of one MATLAB file a car; (n, 64, 64, 3).

    Each file has `im` (H, W, 3, 24 azimuths, 4 elevations) uint8. Cars are numbered by the order of their
    file names. A file is read when one of its images is wanted; its 64-pixel images are kept, which is
    1.2 MB a car, 216 MB at most. StudioError where the folder has no such files.
    """

    name = "cars3d"
    factor_names = ("elevation", "azimuth", "object")

    def __init__(self, folder: Path) -> None:
        self._files = sorted(Path(folder).glob("*.mat"))
        if not self._files:
            raise StudioError(
                f"There are no .mat files in {folder}.", "Give the folder “cars” of the original Cars3D."
            )
        azimuths, elevations = _read(self._files[0]).shape[:2]
        super().__init__((elevations, azimuths, len(self._files)))
        self._car = lru_cache(maxsize=None)(self._resized)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 3) uint8."""
        factors = self.factors(indices)
        result = np.empty((len(factors), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        for car in np.unique(factors[:, 2]):
            of_car = factors[:, 2] == car
            result[of_car] = self._car(int(car))[factors[of_car, 1], factors[of_car, 0]]
        return result

    def _resized(self, car: int) -> np.ndarray:
        """(azimuths, elevations, 64, 64, 3) uint8."""
        views = _read(self._files[car])
        elevations, azimuths = self.factor_sizes[:2]
        if views.shape[:2] != (azimuths, elevations):
            raise StudioError(
                f"{self._files[car]} has not as many views as the other cars.", "Copy the original again."
            )
        small = resized(views.reshape(-1, *views.shape[2:]))
        return small.reshape(azimuths, elevations, *small.shape[1:])


def _read(path: Path) -> np.ndarray:
    """(azimuths, elevations, H, W, 3) uint8."""
    # imported here: it takes long, and only this benchmark needs it
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        images = loadmat(path, variable_names=["im"])["im"]
    except (OSError, KeyError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise StudioError(
            f"{path} can't be read as a car of Cars3D: {error}.", "Copy the original again."
        ) from error
    if images.ndim != 5 or images.shape[2] != 3 or images.dtype != np.uint8:
        raise StudioError(
            f"{path} can't be read as a car of Cars3D: im is {images.dtype} {images.shape}.",
            "Give the folder “cars” of the original Cars3D.",
        )
    return images.transpose(3, 4, 0, 1, 2)
