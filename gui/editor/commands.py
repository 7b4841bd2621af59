"""Undo: one command for every change of the recipe, which is plain data that can be swapped whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from PySide6.QtGui import QUndoCommand

from core.recipe import Recipe
from gui.editor.edits import Edit

Apply = Callable[[Recipe, int], None]


class ChangeRecipe(QUndoCommand):
    """Put a recipe in the place of another, and choose the face that the change is about."""

    def __init__(self, apply: Apply, before: Recipe, face_before: int, edit: Edit) -> None:
        super().__init__(edit.text)
        self._apply = apply
        self.before, self.face_before = before, face_before
        self.after, self.face_after = edit.recipe, edit.face
        self.merge = edit.merge

    def redo(self) -> None:
        """Do it, at first or again."""
        self._apply(self.after, self.face_after)

    def undo(self) -> None:
        """Take it back."""
        self._apply(self.before, self.face_before)

    def id(self) -> int:
        """Qt merges neighbours of one id; -1 is none."""
        return zlib.crc32(self.merge.encode()) & 0x7FFFFFFF if self.merge is not None else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Take over a later step of the same drag; a drag that came back to its start vanishes."""
        if not isinstance(other, ChangeRecipe) or other.merge != self.merge:
            return False
        self.after, self.face_after = other.after, other.face_after
        self.setText(other.text())
        self.setObsolete(self.after == self.before)
        return True
