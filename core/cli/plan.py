"""From what a person asked for to a recipe for each photo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.cli.terminal import UsageError
from core.errors import StudioError
from core.recipe import Blend, FaceEdit, Recipe, Swap

if TYPE_CHECKING:
    from core.editing import EditEngine
    from core.faces.frame import Frame
    from core.model import ModelCard

# of swaps, as `core.recipe` says
STRONGEST = 1.5
# of recipes
SCHEMA = 1


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
    """

    swaps: tuple[Swap, ...]
    blend: Blend
    face: str | int
    frame: Frame | None


@dataclass(frozen=True)
class Plan:
    """The recipe of one photo and, for each of its faces, the values the model saw: {attribute: value}."""

    recipe: Recipe
    seen: list[dict[str, str]] = field(default_factory=list)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from its JSON file; StudioError says what is wrong with it."""
    try:
        recipe = msgspec.json.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise StudioError(
            f"The recipe {path} can't be read: {error.strerror}.", "Choose another file."
        ) from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StudioError(f"{path} is not a recipe: {error}.", "Choose another file.") from error
    if recipe.schema > SCHEMA:
        raise StudioError(
            f"{path} was saved by a newer version of the program.", "Install the newer version."
        )
    if not any(edit.swaps for edit in recipe.faces):
        raise StudioError(f"The recipe {path} changes nothing.", "Choose another file.")
    return recipe


def choose_model(folder: Path | None, recipe: Recipe | None) -> Path:
    """The model's folder: the one named, the recipe's own, or the starter model."""
    from core.model import default_model, list_models, load_card

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


def check_swaps(recipe: Recipe, card: ModelCard) -> None:
    """StudioError if the model can't do what the recipe says."""
    for swap in (swap for edit in recipe.faces for swap in edit.swaps):
        card.attributes[swap.attribute].index(swap.value)
        if not (math.isfinite(swap.strength) and 0 <= swap.strength <= STRONGEST):
            raise StudioError(
                f"The recipe has a strength of {swap.strength}.", f"It must be from 0 to {STRONGEST}."
            )


def wanted_of_recipe(recipe: Recipe, face: str | int, frame: Frame | None) -> Wanted:
    """What a recipe does to a face, for other photos; StudioError if it does different things to several."""
    ways = {(edit.swaps, edit.blend) for edit in recipe.faces if edit.swaps}
    if len(ways) > 1:
        raise StudioError(
            "The recipe edits several faces in different ways and fits its own photo only.",
            "Leave the photos out to replay it there.",
        )
    ((swaps, blend),) = ways
    return Wanted(swaps, blend, face, frame)


def plan(engine: EditEngine, card: ModelCard, photo: Path, wanted: Wanted) -> Plan:
    """Look at the photo and say which faces are edited how; StudioError if the wanted face is not there."""
    opened = engine.open(photo)
    if wanted.frame is None:
        faces = list(opened.faces)
        if not faces:
            raise StudioError("No face was found.", "Say where it is with --frame.")
        if isinstance(wanted.face, int) and wanted.face > len(faces):
            there_are = "There is 1 face" if len(faces) == 1 else f"There are {len(faces)} faces"
            raise StudioError(f"{there_are}, no face {wanted.face}.", "Choose another with --face.")
        if wanted.face != "all":
            number = wanted.face if isinstance(wanted.face, int) else 1
            faces = [faces[number - 1]]
    else:
        left, top, right, bottom = wanted.frame.bounds(opened.width, opened.height)
        if right <= left or bottom <= top:
            raise StudioError(
                "The frame lies outside the photo.", f"The photo has {opened.width} x {opened.height} px."
            )
        faces = [engine.describe(photo, wanted.frame)]
    edits = tuple(FaceEdit(view.frame, wanted.swaps, wanted.blend) for view in faces)
    seen = [
        {name: max(values, key=values.__getitem__) for name, values in view.values.items()} for view in faces
    ]
    return Plan(Recipe(str(photo.resolve()), card.name, edits), seen)
