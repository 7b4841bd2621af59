"""Pixels of a photo before and after, ready to be painted at any zoom, with patches put in place.

A layer keeps its pixels in Qt's own byte order and, for zooms below one half, area averages of them by
2, 4, 8. What is on the screen is kept as a pixmap of the whole photo at the present zoom, so that panning and
moving the split only copy; a patch renews its own part of all of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from PIL import Image
from PySide6.QtCore import QPointF, QRect, QRectF, QSizeF, Qt
from PySide6.QtGui import QImage, QPainter, QPixmap

Bounds = tuple[int, int, int, int]

# a pixmap of the whole photo is kept up to this many device pixels; above, the visible part is drawn anew
CACHE_PIXELS = 12_000_000
# from this many screen pixels a photo pixel on, pixels are shown as squares
SQUARES_FROM = 4.0


class PatchLike(Protocol):
    """What the engine paints: left, top, right, bottom in the layer's pixels, and (h, w, 3) uint8 sRGB."""

    @property
    def bounds(self) -> Bounds:
        """Left, top, right, bottom."""

    @property
    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 sRGB."""


class Layer:
    """One picture, (h, w, 3) uint8 sRGB."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.height, self.width = pixels.shape[:2]
        self._arrays: dict[int, np.ndarray] = {1: _to_qt(pixels)}
        self._images: dict[int, QImage] = {}
        self._shown: QPixmap | None = None
        self._shown_scale: tuple[float, float, float] | None = None

    def read(self, bounds: Bounds) -> np.ndarray:
        """A copy of the pixels in `bounds` as (h, w, 3) uint8."""
        left, top, right, bottom = bounds
        return self._arrays[1][top:bottom, left:right, 2::-1].copy()

    def write(self, bounds: Bounds, pixels: np.ndarray) -> None:
        """Put (h, w, 3) uint8 pixels at `bounds`, everywhere they are kept."""
        left, top, right, bottom = bounds
        self._arrays[1][top:bottom, left:right, :3] = pixels[..., ::-1]
        for factor in self._arrays:
            if factor > 1:
                self._average(factor, bounds)
        if self._shown is not None and self._shown_scale is not None:
            x, y, _ = self._shown_scale
            region = QRectF(left * x - 2, top * y - 2, (right - left) * x + 4, (bottom - top) * y + 4)
            self._render(self._shown, region.toAlignedRect())

    def draw(self, painter: QPainter, target: QRectF, exposed: QRectF, ratio: float) -> None:
        """Draw over `target` (logical pixels, corner on a device pixel), at least where `exposed`."""
        x, y = target.width() * ratio / self.width, target.height() * ratio / self.height
        across, down = math.ceil(target.width() * ratio - 1e-6), math.ceil(target.height() * ratio - 1e-6)
        painter.save()
        painter.setClipRect(exposed.intersected(target), Qt.ClipOperation.IntersectClip)
        if across * down <= CACHE_PIXELS:
            scale = (x, y, ratio)
            if self._shown is None or self._shown_scale != scale:
                self._shown = QPixmap(max(1, across), max(1, down))
                self._shown_scale = scale
                self._render(self._shown, self._shown.rect())
                self._shown.setDevicePixelRatio(ratio)
            painter.drawPixmap(target.topLeft(), self._shown)
        else:
            self._shown = self._shown_scale = None
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, x < SQUARES_FROM)
            painter.drawImage(target, self._image(1), QRectF(0, 0, self.width, self.height))
        painter.restore()

    def forget(self) -> None:
        """Let go of the pixmap, when the layer is out of sight."""
        self._shown = self._shown_scale = None

    def _render(self, pixmap: QPixmap, region: QRect) -> None:
        """Draw `region` (device pixels) of the whole photo at the pixmap's scale."""
        assert self._shown_scale is not None
        x, y, _ = self._shown_scale
        factor = 1
        while factor < 8 and x * factor <= 0.5:
            factor *= 2
        image = self._image(factor)
        painter = QPainter(pixmap)
        painter.scale(1 / pixmap.devicePixelRatio(), 1 / pixmap.devicePixelRatio())
        painter.setClipRect(region)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, x < SQUARES_FROM)
        size = QSizeF(image.width() * factor * x, image.height() * factor * y)
        painter.drawImage(QRectF(QPointF(0, 0), size), image, QRectF(image.rect()))
        painter.end()

    def _image(self, factor: int) -> QImage:
        if factor not in self._images:
            if factor not in self._arrays:
                shape = (math.ceil(self.height / factor), math.ceil(self.width / factor), 4)
                self._arrays[factor] = np.full(shape, 255, np.uint8)
                self._average(factor, (0, 0, self.width, self.height))
            array = self._arrays[factor]
            height, width = array.shape[:2]
            # shares the array's memory, which this layer keeps alive
            self._images[factor] = QImage(array.data, width, height, 4 * width, QImage.Format.Format_RGB32)
        return self._images[factor]

    def _average(self, factor: int, bounds: Bounds) -> None:
        """Renew the averages by `factor` over `bounds`."""
        left, top = bounds[0] // factor, bounds[1] // factor
        right, bottom = math.ceil(bounds[2] / factor), math.ceil(bounds[3] / factor)
        full = self._arrays[1][top * factor : bottom * factor, left * factor : right * factor]
        size = (full.shape[1], full.shape[0])
        image = Image.frombuffer("RGBX", size, np.ascontiguousarray(full), "raw", "RGBX", 0, 1)
        self._arrays[factor][top:bottom, left:right] = np.asarray(image.reduce(factor)).reshape(
            bottom - top, right - left, 4
        )


class Picture:
    """A photo before and after at one resolution: `scale` of its pixels a photo pixel."""

    def __init__(self, photo: tuple[int, int], pixels: np.ndarray) -> None:
        self.photo_width, self.photo_height = photo
        self.before = Layer(pixels)
        self.after = Layer(pixels)
        self.scale = self.before.width / self.photo_width
        self._patched: list[Bounds] = []

    @property
    def size(self) -> QSizeF:
        """Of the photo, in its own pixels."""
        return QSizeF(self.photo_width, self.photo_height)

    @property
    def edited(self) -> bool:
        """Whether after differs from before."""
        return bool(self._patched)

    def show_patches(self, patches: Iterable[PatchLike]) -> list[QRectF]:
        """Make after the photo with these patches and no others; returns what changed, in photo pixels."""
        new = [(patch.bounds, patch.pixels) for patch in patches]
        covered = [bounds for bounds, _ in new]
        for bounds in self._patched:
            if bounds not in covered:
                self.after.write(bounds, self.before.read(bounds))
        for bounds, pixels in new:
            self.after.write(bounds, pixels)
        changed = {*self._patched, *covered}
        self._patched = covered
        x, y = self.photo_width / self.before.width, self.photo_height / self.before.height
        return [QRectF(b[0] * x, b[1] * y, (b[2] - b[0]) * x, (b[3] - b[1]) * y) for b in changed]


def _to_qt(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) sRGB to (h, w, 4) in the byte order of QImage's RGB32."""
    made = np.empty((*pixels.shape[:2], 4), np.uint8)
    made[..., :3] = pixels[..., 2::-1]
    made[..., 3] = 255
    return made
