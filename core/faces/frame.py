"""The canonical frame: the square around a face that every network sees, and the way back.

A frame is a rotated square in the photo, plain data that a recipe keeps and a person can drag.
Aligning samples it to `size x size` pixels; warping back samples an aligned picture over the
photo's pixels. Coordinates are pixel centres of the photo: x to the right, y down.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from PIL import Image

from core.errors import StudioError

if TYPE_CHECKING:
    import torch

# Where the five points (left eye, right eye, nose tip, left and right mouth corner, as seen in the
# picture) of the average face lie in the unit square. The eyes are a quarter of the side apart and
# below the middle of the upper half, so that hair, beard and chin are inside.
CANONICAL_POINTS = np.array(
    [[0.3725, 0.4500], [0.6275, 0.4500], [0.5000, 0.5900], [0.3980, 0.7090], [0.6020, 0.7090]]
)

# No photo is that large: numbers beyond (and those that are none) come from a broken recipe.
LARGEST = 1e7

# What networks see where the photo ends.
OUTSIDE = 128


class Frame(msgspec.Struct, frozen=True):
    """A rotated square in a photo: centre and side in pixels, angle in degrees, clockwise on screen."""

    center_x: float
    center_y: float
    side: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.center_x, self.center_y, self.side, self.angle)
        if not all(abs(n) <= LARGEST for n in numbers) or self.side < 1:
            raise StudioError("The face frame is not a square in the photo.", "Place the frame again.")

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) similarity that takes the unit square to photo pixels."""
        c = self.side * math.cos(math.radians(self.angle))
        s = self.side * math.sin(math.radians(self.angle))
        return np.array(
            [[c, -s, self.center_x - (c - s) / 2], [s, c, self.center_y - (s + c) / 2]], dtype=np.float64
        )

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) points of the unit square in photo pixels."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def corners(self) -> np.ndarray:
        """(4, 2) corners in photo pixels, clockwise from the top left."""
        return self.to_photo(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64))

    def bounds(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom (exclusive) of the upright box around the frame, inside the photo.

        Empty (right <= left or bottom <= top) where the frame is outside the photo.
        """
        low, high = self.corners().min(0), self.corners().max(0)
        left, top = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
        return left, top, min(width, math.ceil(high[0]) + 1), min(height, math.ceil(high[1]) + 1)

    def scaled(self, factor: float) -> Frame:
        """The same frame in the photo resized by `factor` (pixel centres at +0.5)."""
        return Frame(
            (self.center_x + 0.5) * factor - 0.5,
            (self.center_y + 0.5) * factor - 0.5,
            self.side * factor,
            self.angle,
        )

    @classmethod
    def from_points(cls, points: np.ndarray, canonical: np.ndarray = CANONICAL_POINTS) -> Frame:
        """The frame whose canonical points are nearest to `points` (N, 2) in the least-squares sense.

        A similarity (rotation, scale, shift, no mirror) in closed form: Umeyama 1991, in complex numbers.
        """
        source = canonical[:, 0] + 1j * canonical[:, 1]
        target = np.asarray(points, np.float64)[:, 0] + 1j * np.asarray(points, np.float64)[:, 1]
        centred = source - source.mean()
        slope = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred).real
        centre = target.mean() + slope * (0.5 + 0.5j - source.mean())
        return cls(
            float(centre.real),
            float(centre.imag),
            float(abs(slope)),
            math.degrees(math.atan2(slope.imag, slope.real)),
        )

    @classmethod
    def from_eyes_and_mouth(
        cls, left_eye: tuple[float, float], right_eye: tuple[float, float], mouth: tuple[float, float]
    ) -> Frame:
        """The frame from three points that a person clicks: both eyes and the middle of the mouth."""
        middle = CANONICAL_POINTS[3:5].mean(0)
        canonical = np.stack([CANONICAL_POINTS[0], CANONICAL_POINTS[1], middle])
        return cls.from_points(np.array([left_eye, right_eye, mouth]), canonical)


def align(pixels: np.ndarray, frame: Frame, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample the frame: (H, W, 3) uint8 photo to (size, size, 3) uint8 and a (size, size) bool mask.

    The mask is true inside the photo; outside, the picture is mid grey (128). Antialiased: an area
    average down to at most 2.5 times the wanted resolution, bilinear samples at twice that
    resolution, and the mean of each two by two of them.
    """
    import torch  # in here, so that the window gets frames and recipes without waiting for torch

    height, width = pixels.shape[:2]
    margin = 2.0 * frame.side / size + 2
    low, high = frame.corners().min(0) - margin, frame.corners().max(0) + margin
    left, top = int(max(0, low[0])), int(max(0, low[1]))
    right, bottom = int(min(width, math.ceil(high[0]))), int(min(height, math.ceil(high[1])))
    if right - left < 1 or bottom - top < 1:
        return np.full((size, size, 3), OUTSIDE, np.uint8), np.zeros((size, size), bool)
    reduction = max(1, min(int(frame.side / size / 1.25), right - left, bottom - top))
    # whole blocks only, so that coordinates stay exact
    right -= (right - left) % reduction
    bottom -= (bottom - top) % reduction
    crop = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right])).reduce(reduction)
    matrix = frame.matrix
    samples = (np.arange(2 * size) + 0.5) / (2 * size)
    x = matrix[0, 0] * samples[None, :] + matrix[0, 1] * samples[:, None] + matrix[0, 2]
    y = matrix[1, 0] * samples[None, :] + matrix[1, 1] * samples[:, None] + matrix[1, 2]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    source = torch.from_numpy(np.asarray(crop, np.float32)).permute(2, 0, 1)
    sampled = _sample(source, (x + 0.5 - left) / reduction, (y + 0.5 - top) / reduction)
    pooled = torch.nn.functional.avg_pool2d(sampled[None], 2)[0].permute(1, 2, 0)
    aligned = pooled.round().to(torch.uint8).numpy()
    mask = inside.reshape(size, 2, size, 2).all((1, 3))
    return np.where(mask[..., None], aligned, np.uint8(OUTSIDE)), mask


def enlarged(aligned: np.ndarray, frame: Frame) -> torch.Tensor:
    """(C, n, n) float32 of an aligned picture (S, S, C), for `warp_back`: bicubic to the frame's resolution.

    At most four times: beyond that a bilinear step between bicubic samples can't be told from bicubic.
    """
    import torch

    factor = int(np.clip(round(frame.side / aligned.shape[0]), 1, 4))
    source = torch.from_numpy(np.ascontiguousarray(aligned.transpose(2, 0, 1), np.float32))
    if factor > 1:
        # antialiased, as enlarging needs no filter, for it is done row by row and column by column
        wide = torch.nn.functional.interpolate(
            source[None], scale_factor=factor, mode="bicubic", antialias=True
        )
        source = wide[0]
    return source


def warp_back(source: torch.Tensor, frame: Frame, bounds: tuple[int, int, int, int]) -> torch.Tensor:
    """Sample a picture of a frame, as `enlarged` makes it, over photo pixels: (C, h, w) float32.

    `bounds` is left, top, right, bottom, as `Frame.bounds` gives it. Outside the frame the border is
    repeated: multiply by a mask that is zero there.
    """
    import torch

    left, top, right, bottom = bounds
    inverse = 2 * np.linalg.inv(np.vstack([frame.matrix, [0, 0, 1]]))
    # a sum of a row and a column each, in float32: the grid is most of the work otherwise
    grid = torch.empty((1, bottom - top, right - left, 2), dtype=torch.float32)
    for axis in (0, 1):
        across = inverse[axis, 0] * np.arange(left, right) + inverse[axis, 2] - 1
        down = inverse[axis, 1] * np.arange(top, bottom)
        torch.add(
            torch.from_numpy(across.astype(np.float32)),
            torch.from_numpy(down.astype(np.float32))[:, None],
            out=grid[0, ..., axis],
        )
    return _at(source, grid)


def _sample(source: torch.Tensor, x: np.ndarray, y: np.ndarray) -> torch.Tensor:
    """Bilinear samples of `source` (C, H, W) at coordinates (h, w): (C, h, w), the border repeated."""
    import torch

    height, width = source.shape[1:]
    grid = torch.empty((1, *x.shape, 2), dtype=torch.float32)
    grid[0, ..., 0] = torch.from_numpy(x * (2.0 / width) - 1.0)
    grid[0, ..., 1] = torch.from_numpy(y * (2.0 / height) - 1.0)
    return _at(source, grid)


def _at(source: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """(C, h, w) bilinear samples at a grid (1, h, w, 2) in -1..1 over `source`, the border repeated."""
    import torch

    return torch.nn.functional.grid_sample(
        source[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0]
