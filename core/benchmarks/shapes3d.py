"""3D Shapes (Burgess, Kim, 2018): an object in a coloured room, seen from 15 sides.

`Shapes3DFile` reads the original HDF5 file; `Shapes3DRenderer` draws the same grid of factors.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.benchmarks import raycast
from core.benchmarks.base import IMAGE_SIZE, Combined, Listed, checked
from core.errors import StudioError

FACTOR_NAMES = ("floor_color", "wall_color", "object_color", "scale", "shape", "azimuth")
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)
SHAPES = ("cube", "cylinder", "sphere", "capsule")

# The scene was measured on pictures of the originals: positions of the room's edges and of the objects at
# several scales and azimuths, and their colours. The unit is the side of the cube at scale 1.
_FOCAL = 55.4  # pixels: 60 degrees across 64
_RADIUS, _EYE = 2.92, 1.04  # the camera's circle around the object, and its height; it looks level
_BACK, _SIDE, _TOP = 3.88, 4.46, 2.87  # distances of the back wall and the side walls, height of the walls
_SKY = np.array([153.0, 226.0, 249.0])
_SUN = np.array([-0.24, 0.97, -0.03])  # where the light comes from that casts the shadow
_KEY = np.array([-0.72, 0.55, 0.42])  # and the one that shades the object; lengths 1
_SHADOW = 0.34
_SAMPLES = 2  # rays a pixel, each way

# coefficients that a pixel has of these colours
_FLOOR, _WALL, _OBJECT, _SKIES, _WHITE = range(5)


class Shapes3DRenderer(Combined):
    """The 480,000 combinations of the original, drawn when they are asked for; (n, 64, 64, 3).

    Colours are ten hues from 0 to 0.9; scale 0.75 to 1.25; the camera goes round from -30 to 30 degrees.
    A colour only multiplies a coefficient, so a picture is its geometry's coefficients (480 geometries,
    kept once drawn: 40 MB) times its colours. Differs from the original in having no wall texture.
    """

    name = "shapes3d"
    factor_names = FACTOR_NAMES

    def __init__(self) -> None:
        super().__init__(FACTOR_SIZES)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 3) uint8."""
        return draw(self.factors(indices))


def render(indices: np.ndarray) -> np.ndarray:
    """(n, 64, 64, 3) uint8 images of the original's `indices`."""
    return Shapes3DRenderer().images(indices)


def draw(factors: np.ndarray) -> np.ndarray:
    """(n, 64, 64, 3) uint8 images with `factors` (n, 6)."""
    factors = np.asarray(factors)
    hues = np.array([colorsys.hsv_to_rgb(i / 10, 1, 1) for i in range(10)], dtype=np.float32) * 255
    result = np.empty((len(factors), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for out, (floor, wall, thing, scale, shape, azimuth) in zip(result, factors.tolist(), strict=True):
        colours = np.stack([hues[floor], hues[wall], hues[thing], _SKY, np.full(3, 255.0)]).astype(np.float32)
        picture = _geometry(scale, shape, azimuth) @ colours
        out[:] = np.clip(picture + 0.5, 0, 255).reshape(out.shape)
    return result


@lru_cache(maxsize=FACTOR_SIZES[3] * FACTOR_SIZES[4] * FACTOR_SIZES[5])
def _geometry(scale: int, shape: int, azimuth: int) -> np.ndarray:
    """(4096, 5) float32: how much of the floor's, wall's, object's, sky's colour and of white a pixel has."""
    origin, direction, room, floor, points = _room(azimuth)
    layers = room.copy()
    size = 0.75 + 0.5 * scale / (FACTOR_SIZES[3] - 1)
    shaded = floor.copy()
    shaded[floor] = np.isfinite(_meet(points, np.broadcast_to(_SUN, points.shape), shape, size)[0])
    layers[shaded, _FLOOR] *= _SHADOW
    distance, normal = _meet(np.broadcast_to(origin, direction.shape), direction, shape, size)
    hit = np.isfinite(distance)
    layers[hit] = _lit(normal[hit], direction[hit])
    side = IMAGE_SIZE, _SAMPLES, IMAGE_SIZE, _SAMPLES, layers.shape[1]
    return layers.reshape(side).mean(axis=(1, 3)).reshape(-1, layers.shape[1]).astype(np.float32)


@lru_cache(maxsize=FACTOR_SIZES[5])
def _room(azimuth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The empty room: camera (3,), rays (m, 3), coefficients (m, 5), which hit floor (m,), where (f, 3)."""
    angle = np.deg2rad(-30 + 60 * azimuth / (FACTOR_SIZES[5] - 1))
    origin = np.array([_RADIUS * np.sin(angle), _EYE, _RADIUS * np.cos(angle)])
    ahead = np.array([-np.sin(angle), 0.0, -np.cos(angle)])
    right = np.array([np.cos(angle), 0.0, -np.sin(angle)])
    steps = ((np.arange(IMAGE_SIZE * _SAMPLES) + 0.5) / _SAMPLES - IMAGE_SIZE / 2) / _FOCAL
    down, across = (grid.reshape(-1, 1) for grid in np.meshgrid(steps, steps, indexing="ij"))
    direction = ahead + across * right - down * np.array([0.0, 1.0, 0.0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)

    planes = ((1, 0.0), (2, -_BACK), (0, -_SIDE), (0, _SIDE))  # floor, back, left, right
    with np.errstate(divide="ignore"):
        distances = np.stack([(place - origin[axis]) / direction[:, axis] for axis, place in planes], axis=1)
    distances[distances <= 0] = np.inf
    which = distances.argmin(axis=1)
    point = origin + distances.min(axis=1)[:, None] * direction
    floor = which == 0
    sky = ~floor & (point[:, 1] > _TOP)
    layers = np.zeros((len(direction), 5))
    layers[floor, _FLOOR] = _fall(point[floor, 0], 2.9, 0.9, 0.35)
    layers[:, _WALL] = np.select(
        [sky | floor, which == 1, which == 2], [0.0, _fall(point[:, 0], 2.5, 1.2, 0.82), 0.8], 0.67
    )
    layers[sky, _SKIES] = 1.0
    return origin, direction, layers, floor, point[floor]


def _fall(x: np.ndarray, middle: float, width: float, least: float) -> np.ndarray:
    """Brightness from 1 on the left to `least` on the right."""
    return least + (1 - least) / (1 + np.exp((x - middle) / width))


def _meet(
    origin: np.ndarray, direction: np.ndarray, shape: int, size: float
) -> tuple[np.ndarray, np.ndarray]:
    if shape == 0:
        return raycast.box(origin, direction, 0.5 * size, size)
    if shape == 1:
        return raycast.cylinder(origin, direction, 0.55 * size, size)
    if shape == 2:
        return raycast.sphere(origin, direction, 0.6 * size, 0.6 * size)
    return raycast.capsule(origin, direction, 0.46 * size, 1.93 * size)


def _lit(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(n, 5) coefficients of the object: light from the camera, from the upper left, and a gloss."""
    facing = np.clip(-raycast.dot(normal, direction), 0, 1)
    key = np.clip(normal @ _KEY, 0, 1)
    layers = np.zeros((len(normal), 5))
    layers[:, _OBJECT] = 0.48 + 0.34 * facing + 0.3 * key
    layers[:, _WHITE] = 0.18 * np.clip((key - 0.45) / 0.45, 0, 1) ** 2
    return layers


class Shapes3DFile(Listed):
    """The original `3dshapes.h5`; (n, 64, 64, 3), read from the file when asked for.

    StudioError where h5py is not installed or the file isn't 3D Shapes. The file stays open; open it
    again in a child process rather than handing it over.
    """

    name = "shapes3d"
    factor_names = FACTOR_NAMES

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError:
            raise StudioError(
                "Reading 3dshapes.h5 needs the package h5py, which is not installed.",
                "Install it with “pip install h5py”, or train on the rendered images.",
            ) from None
        try:
            file = h5py.File(path, "r")
            self._images: Any = file["images"]
            values = file["labels"][:]
            if (
                self._images.shape != (len(values), IMAGE_SIZE, IMAGE_SIZE, 3)
                or self._images.dtype != np.uint8
            ):
                raise ValueError(f"images is {self._images.dtype} {self._images.shape}")
            if values.ndim != 2 or values.shape[1] != len(FACTOR_NAMES):
                raise ValueError("labels has not six columns")
        except (OSError, KeyError, ValueError) as error:
            raise StudioError(
                f"{path} can't be read as 3D Shapes: {error}.", "Give the original 3dshapes.h5."
            ) from error
        columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in values.T]
        super().__init__(np.stack(columns, 1))

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 3) uint8."""
        # HDF5 takes only rising indices without repeats
        wanted, place = np.unique(checked(indices, len(self)), return_inverse=True)
        if not len(wanted):
            return np.empty((0, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        if wanted[-1] - wanted[0] == len(wanted) - 1:
            found = self._images[wanted[0] : wanted[-1] + 1]
        else:
            found = self._images[wanted]
        return np.asarray(found)[place.reshape(-1)]
