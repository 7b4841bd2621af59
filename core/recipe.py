"""Recipe: a photo, the faces in it, the swaps and the blends, as plain data that can be saved and replayed."""

from __future__ import annotations

from typing import Literal

import msgspec

from core.faces.frame import Frame

Blend = Literal["keep_detail", "resynthesise"]


class Swap(msgspec.Struct, frozen=True):
    """Replace one attribute's code by the embedding of `value`, at `strength`.

    0 leaves the code as it is, 1 is the embedding, up to 1.5 goes beyond it.
    """

    attribute: str
    value: str
    strength: float = 1.0


class FaceEdit(msgspec.Struct, frozen=True):
    """What is done to one face: where it is, the swaps (at most one an attribute), the blend."""

    frame: Frame
    swaps: tuple[Swap, ...] = ()
    blend: Blend = "keep_detail"


class Recipe(msgspec.Struct, frozen=True):
    """All that makes an edited photo. `model` is the card's name; `photo` an absolute path."""

    photo: str
    model: str
    faces: tuple[FaceEdit, ...] = ()
    schema: int = 1
