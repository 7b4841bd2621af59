"""Pure changes of a Recipe: each returns a new one and leaves the old as it was."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from core.attributes import AttributeSet
from core.faces.frame import Frame
from core.recipe import Blend, FaceEdit, Recipe, Refinement, Swap


@dataclass(frozen=True)
class Edit:
    """A step a person can take back: the recipe after it, what to call it, and what it merges with.

    Steps with the same `merge` (not None) that follow each other are one: a drag of a slider.
    """

    recipe: Recipe
    face: int
    text: str
    merge: str | None = None


def swap_of(face: FaceEdit, attribute: str) -> Swap | None:
    """The face's swap of `attribute`, or None."""
    return next((swap for swap in face.swaps if swap.attribute == attribute), None)


def changes(recipe: Recipe | None) -> bool:
    """Whether the recipe changes the photo: it swaps something, or draws a face anew."""
    return recipe is not None and any(f.active() or f.blend != "keep_detail" for f in recipe.faces)


def with_face(recipe: Recipe, index: int, face: FaceEdit) -> Recipe:
    """Replace the face at `index`."""
    faces = (*recipe.faces[:index], face, *recipe.faces[index + 1 :])
    return msgspec.structs.replace(recipe, faces=faces)


def with_swap(recipe: Recipe, index: int, swap: Swap) -> Recipe:
    """Set one attribute's swap; its place among the swaps stays, a new one comes last."""
    face = recipe.faces[index]
    if swap_of(face, swap.attribute) is None:
        swaps = (*face.swaps, swap)
    else:
        swaps = tuple(swap if old.attribute == swap.attribute else old for old in face.swaps)
    return with_face(recipe, index, msgspec.structs.replace(face, swaps=swaps))


def without_swap(recipe: Recipe, index: int, attribute: str) -> Recipe:
    """Leave an attribute as it is in the photo."""
    face = recipe.faces[index]
    swaps = tuple(swap for swap in face.swaps if swap.attribute != attribute)
    return with_face(recipe, index, msgspec.structs.replace(face, swaps=swaps))


def without_swaps(recipe: Recipe, index: int) -> Recipe:
    """Leave all of a face as it is in the photo."""
    return with_face(recipe, index, msgspec.structs.replace(recipe.faces[index], swaps=()))


def with_blend(recipe: Recipe, index: int, blend: Blend) -> Recipe:
    """Choose how a face is put back."""
    return with_face(recipe, index, msgspec.structs.replace(recipe.faces[index], blend=blend))


def with_beyond(recipe: Recipe, index: int, beyond: bool) -> Recipe:
    """Choose whether an edit goes on beyond its face's frame."""
    return with_face(recipe, index, msgspec.structs.replace(recipe.faces[index], beyond=beyond))


def with_frame(recipe: Recipe, index: int, frame: Frame) -> Recipe:
    """Move a face's frame; a refinement was made for the old one."""
    face = msgspec.structs.replace(recipe.faces[index], frame=frame, refinement=None)
    return with_face(recipe, index, face)


def with_refinement(recipe: Recipe, index: int, refinement: Refinement | None) -> Recipe:
    """Say how a face was refined; None for not at all."""
    return with_face(recipe, index, msgspec.structs.replace(recipe.faces[index], refinement=refinement))


def with_new_face(recipe: Recipe, frame: Frame) -> Recipe:
    """Add a face whose frame a person placed."""
    return msgspec.structs.replace(recipe, faces=(*recipe.faces, FaceEdit(frame)))


def with_found_faces(recipe: Recipe, frames: Iterable[Frame]) -> Recipe:
    """Add the faces found in the photo that a saved recipe does not have."""
    known = [face.frame for face in recipe.faces]
    new = [FaceEdit(frame) for frame in frames if not any(_same(frame, other) for other in known)]
    return msgspec.structs.replace(recipe, faces=(*recipe.faces, *new))


def for_model(recipe: Recipe, model: str, attributes: AttributeSet) -> Recipe:
    """The recipe for another model: with the swaps it knows, without refinements."""
    known = {a.name: {value.name for value in a.values} for a in attributes}
    faces = tuple(
        msgspec.structs.replace(
            face,
            swaps=tuple(swap for swap in face.swaps if swap.value in known.get(swap.attribute, ())),
            refinement=None,
        )
        for face in recipe.faces
    )
    return msgspec.structs.replace(recipe, model=model, faces=faces)


def _same(a: Frame, b: Frame) -> bool:
    """Whether two frames are around one face."""
    distance = math.hypot(a.center_x - b.center_x, a.center_y - b.center_y)
    return distance < min(a.side, b.side) / 3
