"""Boxes for numbers."""

from __future__ import annotations

from PySide6.QtWidgets import QDoubleSpinBox, QSpinBox

ROOM = 5  # pixels between a box's border and its number: a style sheet's padding doesn't reach it


def give_room(box: QSpinBox | QDoubleSpinBox) -> None:
    """Room beside the number of a box, whose buttons are hidden by the style sheet."""
    box.lineEdit().setTextMargins(ROOM, 0, ROOM, 0)
