"""What the window asks the engine for, and what it gets. Plain data: importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.faces.frame import Frame
from core.recipe import Recipe


@dataclass(frozen=True, eq=False)
class FaceView:
    """A face and what the model sees in it.

    `thumbnail` (96, 96, 3) uint8 sRGB is the aligned face; `values` maps an attribute's name to its
    values' probabilities by name. `points` (5, 2) in photo pixels, None where a person placed the frame.
    """

    frame: Frame
    points: np.ndarray | None
    thumbnail: np.ndarray
    values: dict[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class OpenedPhoto:
    """A photo ready to be edited.

    `width`, `height` are the photo's; `preview` (h, w, 3) uint8 sRGB is the photo times `scale`, which is
    at most 1; `faces` are the largest first, their frames in photo pixels.
    """

    path: Path
    width: int
    height: int
    preview: np.ndarray
    scale: float
    faces: tuple[FaceView, ...]


@dataclass(frozen=True)
class RenderRequest:
    """Show `recipe` at a preview whose longer side is at most `screen` pixels; `number` comes back."""

    number: int
    recipe: Recipe
    screen: int = 1600


@dataclass(frozen=True, eq=False)
class Patch:
    """`pixels` (h, w, 3) uint8 sRGB that replace the preview's `bounds` (left, top, right, bottom)."""

    bounds: tuple[int, int, int, int]
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class RenderResult:
    """Patches to paint over the unedited preview in this order, and how long making them took."""

    number: int
    patches: tuple[Patch, ...]
    milliseconds: float
