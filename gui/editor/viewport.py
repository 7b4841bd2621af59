"""Zoom and pan: where a photo's pixels are on the screen. Pure numbers, no widgets.

Photo coordinates are continuous: pixel i covers i to i + 1, so that a pixel's centre, which frames use,
is at i + 0.5. Screen coordinates are logical pixels of the widget. `zoom` is device pixels a photo pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSizeF

SMALLEST, LARGEST = 0.01, 32.0
STEPS = (
    0.02,
    0.05,
    0.1,
    0.16,
    0.25,
    0.33,
    0.5,
    0.67,
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    6.0,
    8.0,
    12.0,
    16.0,
    24.0,
    32.0,
)
MARGIN = 14.0


@dataclass
class Viewport:
    """The part of a photo that a view of `view` logical pixels shows at a device pixel ratio."""

    photo: QSizeF
    view: QSizeF
    ratio: float = 1.0
    zoom: float = 1.0
    centre_x: float = 0.0
    centre_y: float = 0.0
    fitted: bool = True

    @property
    def scale(self) -> float:
        """Logical pixels a photo pixel."""
        return self.zoom / self.ratio

    def fit_zoom(self) -> float:
        """The zoom at which all of the photo is seen."""
        width = max(1.0, self.view.width() - 2 * MARGIN)
        height = max(1.0, self.view.height() - 2 * MARGIN)
        fitting = (
            min(width / max(1.0, self.photo.width()), height / max(1.0, self.photo.height())) * self.ratio
        )
        # a small photo is enlarged, but not so far that it is only blur
        return max(SMALLEST, min(fitting, 4.0))

    def fit(self) -> None:
        """Show all of the photo, and go on doing so when the size changes."""
        self.fitted = True
        self.zoom = self.fit_zoom()
        self.centre_x, self.centre_y = self.photo.width() / 2, self.photo.height() / 2

    def resize(self, view: QSizeF, ratio: float) -> None:
        """The view has another size; what is in its middle stays there."""
        self.view, self.ratio = view, ratio
        if self.fitted:
            self.fit()
        else:
            self._clamp()

    def zoom_to(self, zoom: float, anchor: QPointF | None = None) -> None:
        """Zoom so that the photo's point under `anchor` (screen; the middle if None) stays under it."""
        anchor = anchor if anchor is not None else QPointF(self.view.width() / 2, self.view.height() / 2)
        under = self.to_photo(anchor)
        self.zoom = max(SMALLEST, min(LARGEST, zoom))
        self.fitted = False
        self.centre_x = under.x() - (anchor.x() - self.view.width() / 2) / self.scale
        self.centre_y = under.y() - (anchor.y() - self.view.height() / 2) / self.scale
        self._clamp()

    def step(self, direction: int, anchor: QPointF | None = None) -> None:
        """To the next larger (+1) or smaller (-1) round zoom."""
        if direction > 0:
            wanted = next((z for z in STEPS if z > self.zoom * 1.01), LARGEST)
        else:
            wanted = next((z for z in reversed(STEPS) if z < self.zoom * 0.99), SMALLEST)
        self.zoom_to(wanted, anchor)

    def pan(self, dx: float, dy: float) -> None:
        """Move the photo by logical pixels."""
        self.centre_x -= dx / self.scale
        self.centre_y -= dy / self.scale
        if not self.fitted or abs(dx) + abs(dy) > 0:
            self._clamp()

    def to_screen(self, point: QPointF) -> QPointF:
        """A photo point on the screen."""
        return QPointF(
            (point.x() - self.centre_x) * self.scale + self.view.width() / 2,
            (point.y() - self.centre_y) * self.scale + self.view.height() / 2,
        )

    def to_photo(self, point: QPointF) -> QPointF:
        """A screen point in the photo."""
        return QPointF(
            (point.x() - self.view.width() / 2) / self.scale + self.centre_x,
            (point.y() - self.view.height() / 2) / self.scale + self.centre_y,
        )

    def target(self) -> QRectF:
        """Where the whole photo is on the screen, its corner on a whole device pixel."""
        corner = self.to_screen(QPointF(0, 0))
        x, y = round(corner.x() * self.ratio) / self.ratio, round(corner.y() * self.ratio) / self.ratio
        return QRectF(x, y, self.photo.width() * self.scale, self.photo.height() * self.scale)

    def _clamp(self) -> None:
        """Keep the photo in sight: centred where the view is larger, else its edge at most at the margin."""
        self.centre_x = _clamped(
            self.centre_x, self.photo.width(), self.view.width() / self.scale, self.scale
        )
        self.centre_y = _clamped(
            self.centre_y, self.photo.height(), self.view.height() / self.scale, self.scale
        )


def _clamped(centre: float, length: float, seen: float, scale: float) -> float:
    margin = MARGIN / scale
    if length + 2 * margin <= seen:
        return length / 2
    low, high = seen / 2 - margin, length - seen / 2 + margin
    return min(max(centre, low), high)
