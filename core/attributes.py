"""Attributes, their values and prompts; attribute sets are TOML files in `resources/attributes`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import StudioError

# where a template takes the prompt
SLOT = "{}"


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """One setting of an attribute. `prompts` are the texts CLIP compares an image with.

    `templates` are sentences with a `{}` that each prompt is put into; without any, those of the attribute.
    """

    name: str
    title: str
    prompts: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


class Attribute(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something about an image that a person names, with a finite list of values.

    `templates` as in Value, for all values that have none of their own.
    """

    name: str
    title: str
    values: tuple[Value, ...]
    templates: tuple[str, ...] = ()

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


def prompts_of(attribute: Attribute, value: Value) -> tuple[str, ...]:
    """The texts that CLIP reads for a value: each prompt in each template, each text once, none empty."""
    templates = value.templates or attribute.templates or (SLOT,)
    texts = (t.replace(SLOT, p.strip()) for p in value.prompts if p.strip() for t in templates)
    return tuple(dict.fromkeys(texts))


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
        templates = attribute.templates + tuple(t for value in attribute.values for t in value.templates)
        for template in templates:
            if SLOT not in template:
                raise StudioError(
                    f"The template “{template}” of {attribute.title} in {path.name} has no {SLOT}.",
                    f"Put {SLOT} where the prompt goes.",
                )
    return found
