"""Recipe: a photo, the faces in it, swaps and blends, as plain data that can be saved and replayed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.errors import StudioError
from core.faces.frame import Frame
from core.files import atomic_write

Blend = Literal["keep_detail", "resynthesise"]

# 2: a face may have a `refinement`; 3: of one kind of steps; 4: an edit may go `beyond` its frame. Older
# recipes are read too.
SCHEMA = 4
# Beyond the embedding itself, where attributes are exaggerated; further out pictures fall apart.
STRONGEST = 1.5
# Of a refinement: far more than any time budget allows, so that a broken recipe doesn't keep a machine busy.
MOST_STEPS = 1000
# Bytes; a recipe has a few hundred a face.
_LARGEST_FILE = 10_000_000


class Swap(msgspec.Struct, frozen=True):
    """Replace one attribute's code by the embedding of `value`, at `strength`.

    0 leaves the code as it is, 1 is the embedding, up to `STRONGEST` goes beyond it; StudioError elsewhere.
    """

    attribute: str
    value: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and 0 <= self.strength <= STRONGEST):
            raise StudioError(
                f"{self.strength:g} is not a strength for {self.attribute}.",
                f"Choose a number from 0 to {STRONGEST}.",
            )


class Refinement(msgspec.Struct, frozen=True):
    """How far the model was fitted to one face: the steps that were taken.

    No more is needed to do it again: model, photo, frame and steps give the same result. StudioError where
    the steps are no number that a refinement has.
    """

    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= MOST_STEPS:
            raise StudioError(
                f"A face can't be refined in {self.steps} steps.", f"Steps are from 0 to {MOST_STEPS}."
            )


# What a refinement takes where there is time enough.
FULL_REFINEMENT = Refinement(steps=230)


class FaceEdit(msgspec.Struct, frozen=True):
    """What is done to one face: where it is, the swaps, the blend, and whether the model is fitted to it.

    `beyond`: what changes goes on beyond the frame, along hair and skin.
    StudioError for two swaps of one attribute.
    """

    frame: Frame
    swaps: tuple[Swap, ...] = ()
    blend: Blend = "keep_detail"
    refinement: Refinement | None = None
    beyond: bool = False

    def __post_init__(self) -> None:
        names = [swap.attribute for swap in self.swaps]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise StudioError(f"A face has two values for {twice}.", "Leave one of them out.")

    def active(self) -> tuple[Swap, ...]:
        """The swaps that do something: those with a strength above 0."""
        return tuple(swap for swap in self.swaps if swap.strength > 0)


class Recipe(msgspec.Struct, frozen=True):
    """All that makes an edited photo. `model` is the card's name; `photo` an absolute path."""

    photo: str
    model: str
    faces: tuple[FaceEdit, ...] = ()
    schema: int = SCHEMA


def save_recipe(recipe: Recipe, path: Path, *, overwrite: bool = False) -> None:
    """Write a recipe as JSON that people can read; atomic. StudioError where it can't be written."""
    data = msgspec.json.format(msgspec.json.encode(recipe), indent=2)
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(data + b"\n")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; StudioError says what is wrong with the file."""
    path = Path(path)
    advice = "Choose another file."
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise StudioError(f"There is no recipe at {path}.", advice) from None
    except IsADirectoryError:
        raise StudioError(f"{path} is a folder.", advice) from None
    except OSError as error:
        raise StudioError(f"{path} can't be read: {error.strerror or error}.", advice) from error
    if len(data) > _LARGEST_FILE:
        raise StudioError(f"{path.name} is not a recipe.", advice)
    try:
        # first the schema: a newer file may have fields of other types
        raw = msgspec.json.decode(data)
        if msgspec.convert(raw, _Version).schema > SCHEMA:
            raise StudioError(
                f"{path.name} was made by a newer version of the program.", "Install the newer version."
            )
        return msgspec.convert(_renewed(raw), Recipe)
    except StudioError as error:
        raise StudioError(f"{path.name}: {error.message}", error.hint) from error
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        raise StudioError(f"{path.name} is not a valid recipe: {error}.", advice) from error


def _renewed(recipe: Any) -> Any:
    """A recipe of an older schema as one of this: its refined faces are refined as they are now."""
    faces = recipe.get("faces")
    if recipe.get("schema", SCHEMA) >= 3 or not isinstance(faces, list):
        return recipe
    for face in faces:
        old = face.get("refinement") if isinstance(face, dict) else None
        if isinstance(old, dict) and "generator_steps" in old:
            face["refinement"] = {"steps": old["generator_steps"]}
    return recipe | {"schema": SCHEMA}


class _Version(msgspec.Struct):
    schema: int = SCHEMA
