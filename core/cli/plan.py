"""From what a person asked for to a recipe for each photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.cli.terminal import UsageError
from core.errors import StudioError
from core.recipe import Blend, FaceEdit, Recipe, Refinement, Swap, load_recipe

if TYPE_CHECKING:
    from core.editing import EditEngine, FaceView
    from core.faces.frame import Frame
    from core.model import ModelCard


@dataclass(frozen=True)
class Setting:
    """`--set attribute=value[:strength]`, before a model says whether there is such a value."""

    attribute: str
    value: str
    strength: float | None


@dataclass(frozen=True)
class Wanted:
    """What is done to every photo: swaps and blend of each edited face, and which faces those are.

    `face` is "all", "largest" or a number from 1, the largest first; `frame`, if given, replaces the search.
    `refine` is for how many seconds at most each face is refined, or how a recipe refined its own, or None.
    `beyond`: edits go on beyond the frames.
    """

    swaps: tuple[Swap, ...]
    blend: Blend
    face: str | int
    frame: Frame | None
    refine: float | Refinement | None = None
    beyond: bool = False


@dataclass(frozen=True)
class Plan:
    """The recipe of one photo and, for each of its faces, the values the model saw: {attribute: value}."""

    recipe: Recipe
    seen: list[dict[str, str]] = field(default_factory=list)


def recipe_to_replay(path: Path) -> Recipe:
    """Read a recipe; StudioError if it changes nothing."""
    recipe = load_recipe(path)
    if not any(edit.active() for edit in recipe.faces):
        raise StudioError(f"The recipe {path} changes nothing.", "Choose another file.")
    return recipe


def choose_model(folder: Path | None, recipe: Recipe | None) -> Path:
    """The model's folder: the one named, the recipe's own, or the starter model."""
    from core.installed import default_model, list_models
    from core.model import load_card

    if folder is not None:
        return folder
    if recipe is None:
        return default_model()
    for installed in list_models():
        try:
            if load_card(installed).name == recipe.model:
                return installed
        except StudioError:
            continue
    raise StudioError(
        f"The recipe's model, “{recipe.model}”, is not installed.",
        "Give its folder, or another model's, with --model.",
    )


def swaps_of_settings(settings: Sequence[Setting], strength: float, card: ModelCard) -> tuple[Swap, ...]:
    """The swaps that `--set` asks for; UsageError for a name the model does not know, or one given twice."""
    for number, one in enumerate(settings):
        if any(one.attribute == other.attribute for other in settings[:number]):
            raise UsageError(f"--set {one.attribute} is given twice.")
        try:
            card.attributes[one.attribute].index(one.value)
        except StudioError as error:
            raise UsageError(str(error)) from None
    return tuple(Swap(s.attribute, s.value, strength if s.strength is None else s.strength) for s in settings)


def for_model(recipe: Recipe, card: ModelCard) -> Recipe:
    """The recipe for another model, which a person chose; StudioError if it lacks an attribute or value."""
    for swap in (swap for edit in recipe.faces for swap in edit.swaps):
        card.attributes[swap.attribute].index(swap.value)
    return msgspec.structs.replace(recipe, model=card.name)


def wanted_of_recipe(recipe: Recipe, face: str | int, frame: Frame | None) -> Wanted:
    """What a recipe does to a face, for other photos; StudioError if it does different things to several."""
    ways = {(e.active(), e.blend, e.refinement, e.beyond) for e in recipe.faces if e.active()}
    if len(ways) > 1:
        raise StudioError(
            "The recipe edits several faces in different ways and fits its own photo only.",
            "Leave the photos out to replay it there.",
        )
    ((swaps, blend, refinement, beyond),) = ways
    return Wanted(swaps, blend, face, frame, refinement, beyond)


def plan(
    engine: EditEngine,
    card: ModelCard,
    photo: Path,
    wanted: Wanted,
    progress: Callable[[float, str], None] | None = None,
) -> Plan:
    """Look at the photo and say which faces are edited how; StudioError if the wanted face is not there.

    Faces are refined here where `wanted` gives seconds; `progress` hears of each.
    """
    if wanted.frame is not None:
        faces = [engine.describe(photo, wanted.frame)]
    else:
        faces = chosen(engine.open(photo).faces, wanted.face)
    edits = []
    for view in faces:
        refinement = wanted.refine
        if isinstance(refinement, float):
            refinement = engine.refine(photo, view.frame, refinement, progress=progress).refinement
        edits.append(FaceEdit(view.frame, wanted.swaps, wanted.blend, refinement, wanted.beyond))
    seen = [
        {name: max(values, key=values.__getitem__) for name, values in view.values.items()} for view in faces
    ]
    return Plan(Recipe(str(photo.resolve()), card.name, tuple(edits)), seen)


def chosen(faces: Sequence[FaceView], face: str | int) -> list[FaceView]:
    """All, the largest or the Nth of the faces, which are the largest first; StudioError if there is none."""
    if not faces:
        raise StudioError("No face was found.", "Say where it is with --frame.")
    if face == "all":
        return list(faces)
    number = face if isinstance(face, int) else 1
    if number > len(faces):
        there_are = "There is 1 face" if len(faces) == 1 else f"There are {len(faces)} faces"
        raise StudioError(f"{there_are}, no face {number}.", "Choose another with --face.")
    return [faces[number - 1]]
