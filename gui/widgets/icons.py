"""Our SVG icons in the theme's colours."""

from __future__ import annotations

import functools

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from core.paths import resources

SIZES = (16, 20, 24, 32, 40, 48, 64, 96)


@functools.cache
def _source(name: str) -> str:
    return (resources() / "icons" / f"{name}.svg").read_text(encoding="utf-8")


def pixmap(name: str, colour: str, size: int, ratio: float = 1.0) -> QPixmap:
    """The icon `name` drawn in `colour`, `size` logical pixels at a device pixel ratio."""
    renderer = QSvgRenderer(QByteArray(_source(name).replace("currentColor", colour).encode()))
    side = max(1, round(size * ratio))
    made = QPixmap(side, side)
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    renderer.render(painter, QRectF(0, 0, side, side))
    painter.end()
    made.setDevicePixelRatio(ratio)
    return made


@functools.lru_cache(maxsize=256)
def icon(name: str, colour: str, disabled: str | None = None, checked: str | None = None) -> QIcon:
    """An icon with pixmaps for all sizes, and other colours where it is disabled or checked."""
    made = QIcon()
    for size in SIZES:
        made.addPixmap(pixmap(name, colour, size), QIcon.Mode.Normal, QIcon.State.Off)
        if disabled:
            made.addPixmap(pixmap(name, disabled, size), QIcon.Mode.Disabled, QIcon.State.Off)
        if checked:
            made.addPixmap(pixmap(name, checked, size), QIcon.Mode.Normal, QIcon.State.On)
    return made


def app_icon() -> QIcon:
    """The program's own icon, in its own colours."""
    return icon("app", "#000000")
