"""What the editor shows: the photo, its recipe, the chosen face, and what the model sees in each face."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from core.attributes import AttributeSet
from core.faces.frame import Frame
from core.recipe import Blend, FaceEdit, Recipe, Refinement, Swap
from gui.editor import edits
from gui.editor.commands import ChangeRecipe
from gui.editor.edits import Edit

if TYPE_CHECKING:
    from core.editing import FaceView, OpenedPhoto
    from core.model import ModelCard


class EditorState(QObject):
    """Observable state of the editor. Every change of the recipe goes through `undo`."""

    photo_changed = Signal()
    recipe_changed = Signal()
    face_changed = Signal()
    views_changed = Signal()
    model_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.undo = QUndoStack(self)
        self.undo.setUndoLimit(500)
        self.card: ModelCard | None = None
        self.photo: OpenedPhoto | None = None
        self.recipe: Recipe | None = None
        self.chosen = 0
        self.views: dict[Frame, FaceView] = {}
        self._gestures = itertools.count()
        self._gesture = 0

    # what is there

    @property
    def attributes(self) -> AttributeSet | None:
        """The model's attributes, once it is loaded."""
        return self.card.attributes if self.card is not None else None

    @property
    def path(self) -> Path | None:
        """The open photo's file."""
        return self.photo.path if self.photo is not None else None

    @property
    def face(self) -> FaceEdit | None:
        """The chosen face's edit, or None where there is no face."""
        if self.recipe is None or not 0 <= self.chosen < len(self.recipe.faces):
            return None
        return self.recipe.faces[self.chosen]

    @property
    def view(self) -> FaceView | None:
        """What the model sees in the chosen face, once it has looked."""
        face = self.face
        return self.views.get(face.frame) if face is not None else None

    @property
    def unsaved(self) -> bool:
        """Whether there are edits that no file has; a frame without a change is none."""
        return not self.undo.isClean() and edits.changes(self.recipe)

    def unseen(self) -> list[Frame]:
        """Frames that the model has not looked at."""
        return [f.frame for f in self.recipe.faces if f.frame not in self.views] if self.recipe else []

    # other photo, other model

    def set_card(self, card: ModelCard) -> None:
        """The model is loaded."""
        self.card = card
        self.model_changed.emit()

    def set_photo(self, photo: OpenedPhoto, recipe: Recipe | None = None) -> None:
        """Show another photo, with its faces as they are or with a recipe that was saved."""
        model = self.card.name if self.card is not None else ""
        faces = tuple(FaceEdit(view.frame) for view in photo.faces)
        self.photo = photo
        self.views = {view.frame: view for view in photo.faces}
        if recipe is None:
            self.recipe = Recipe(photo=str(photo.path.absolute()), model=model, faces=faces)
        else:
            self.recipe = edits.with_found_faces(recipe, self.views)
        self.chosen = 0
        self.undo.clear()
        self.photo_changed.emit()
        self.recipe_changed.emit()
        self.face_changed.emit()

    def add_view(self, view: FaceView, frame: Frame) -> None:
        """The model has looked at `frame`."""
        self.views[frame] = view
        self.views_changed.emit()

    def choose_face(self, index: int) -> None:
        """Edit another face."""
        if self.recipe is not None and 0 <= index < len(self.recipe.faces) and index != self.chosen:
            self.chosen = index
            self.face_changed.emit()

    def step_face(self, step: int) -> None:
        """Choose the next or previous face, around the end."""
        if self.recipe is not None and self.recipe.faces:
            self.choose_face((self.chosen + step) % len(self.recipe.faces))

    # edits, each one undoable

    def set_value(self, attribute: str, value: str | None) -> None:
        """Swap an attribute of the chosen face to `value`; None leaves it as in the photo."""
        face, names = self.face, self.attributes
        if self.recipe is None or face is None or names is None:
            return
        shown = names[attribute]
        old = edits.swap_of(face, attribute)
        if value is None:
            recipe = edits.without_swap(self.recipe, self.chosen, attribute)
            self._push(Edit(recipe, self.chosen, f"{shown.title} as in the photo"))
            return
        swap = Swap(attribute, value, old.strength if old is not None else 1.0)
        title = shown.values[shown.index(value)].title
        self._push(
            Edit(edits.with_swap(self.recipe, self.chosen, swap), self.chosen, f"{shown.title}: {title}")
        )

    def set_strength(self, attribute: str, strength: float) -> None:
        """Set the strength (0 to 1.5) of a swap; steps of one gesture are one undo step."""
        face, names = self.face, self.attributes
        old = edits.swap_of(face, attribute) if face is not None else None
        if self.recipe is None or old is None or names is None or abs(old.strength - strength) < 1e-9:
            return
        recipe = edits.with_swap(self.recipe, self.chosen, Swap(attribute, old.value, strength))
        text = f"Strength of {names[attribute].title.lower()}"
        merge = f"strength {self.chosen} {attribute} {old.value} {self._gesture}"
        self._push(Edit(recipe, self.chosen, text, merge))

    def end_gesture(self) -> None:
        """A drag is over: the next one is an undo step of its own."""
        self._gesture = next(self._gestures) + 1

    def set_blend(self, blend: Blend) -> None:
        """Choose how the chosen face is put back."""
        if self.recipe is not None and self.face is not None:
            text = "Keep detail" if blend == "keep_detail" else "Re-synthesise"
            self._push(Edit(edits.with_blend(self.recipe, self.chosen, blend), self.chosen, text))

    def set_beyond(self, beyond: bool) -> None:
        """Choose whether the chosen face's edit goes on beyond its frame."""
        if self.recipe is not None and self.face is not None:
            text = "Go on beyond the frame" if beyond else "Stay in the frame"
            self._push(Edit(edits.with_beyond(self.recipe, self.chosen, beyond), self.chosen, text))

    def reset_face(self) -> None:
        """Leave the chosen face as it is in the photo."""
        if self.recipe is not None and self.face is not None:
            self._push(Edit(edits.without_swaps(self.recipe, self.chosen), self.chosen, "Reset the face"))

    def set_refinement(self, frame: Frame, refinement: Refinement | None) -> None:
        """The face in `frame` was refined, or is to be as if it were not; nothing where it is gone."""
        faces = self.recipe.faces if self.recipe is not None else ()
        index = next((i for i, face in enumerate(faces) if face.frame == frame), None)
        if self.recipe is not None and index is not None:
            text = "Refine the face" if refinement is not None else "Take the refinement back"
            self._push(Edit(edits.with_refinement(self.recipe, index, refinement), index, text))

    def set_frame(self, frame: Frame, index: int | None) -> None:
        """Move the frame of face `index`, or add a face there."""
        if self.recipe is None:
            return
        if index is None:
            recipe = edits.with_new_face(self.recipe, frame)
            self._push(Edit(recipe, len(recipe.faces) - 1, "Place a face frame"))
        else:
            self._push(Edit(edits.with_frame(self.recipe, index, frame), index, "Move the face frame"))

    def _push(self, edit: Edit) -> None:
        if self.recipe is not None and edit.recipe != self.recipe:
            self.undo.push(ChangeRecipe(self._apply, self.recipe, self.chosen, edit))

    def _apply(self, recipe: Recipe, face: int) -> None:
        """What a command does, and undoes."""
        self.recipe = recipe
        other = face != self.chosen
        self.chosen = max(0, min(face, len(recipe.faces) - 1))
        self.recipe_changed.emit()
        if other:
            self.face_changed.emit()
