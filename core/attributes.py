"""Attributes, their values and prompts; attribute sets are TOML files in `resources/attributes`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import StudioError


class Value(msgspec.Struct, frozen=True):
    """One setting of an attribute. `prompts` are the texts CLIP compares an image with."""

    name: str
    title: str
    prompts: tuple[str, ...] = ()


class Attribute(msgspec.Struct, frozen=True):
    """Something about an image that a person names, with a finite list of values."""

    name: str
    title: str
    values: tuple[Value, ...]

    def index(self, value: str) -> int:
        """Position of the value called `value`; StudioError if there is none."""
        for i, v in enumerate(self.values):
            if v.name == value:
                return i
        raise StudioError(
            f"{self.title} has no value “{value}”.",
            "It has: " + ", ".join(v.name for v in self.values) + ".",
        )


class AttributeSet(msgspec.Struct, frozen=True):
    """An ordered list of attributes."""

    name: str
    title: str
    attributes: tuple[Attribute, ...]

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)

    def index(self, name: str) -> int:
        """Position of the attribute called `name`; StudioError if there is none."""
        for i, attribute in enumerate(self.attributes):
            if attribute.name == name:
                return i
        raise StudioError(
            f"There is no attribute “{name}”.",
            "There is: " + ", ".join(a.name for a in self.attributes) + ".",
        )

    def __getitem__(self, name: str) -> Attribute:
        return self.attributes[self.index(name)]


def load_attribute_set(path: Path) -> AttributeSet:
    """Read an attribute set; StudioError says which field of the file is wrong."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=AttributeSet)
    except FileNotFoundError:
        raise StudioError(f"There is no attribute set at {path}.", "Choose another file.") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StudioError(
            f"{path.name} is not a valid attribute set: {error}.", "Correct the file."
        ) from error
    names = [a.name for a in found]
    if len(set(names)) != len(names):
        raise StudioError(f"{path.name} names an attribute twice.", "Give each attribute its own name.")
    for attribute in found:
        values = [v.name for v in attribute.values]
        if len(values) < 2 or len(set(values)) != len(values):
            raise StudioError(
                f"{attribute.title} in {path.name} needs at least two values with different names.",
                "Correct the file.",
            )
    return found
