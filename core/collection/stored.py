"""A collection's attribute set with ids that stay: labels go by them, so that renaming or moving keeps them.

A value can hold several ids: those of the values that were merged into it. A deleted value's or attribute's
labels stay in the file, unseen, and are there again when the deletion is undone.
"""

from __future__ import annotations

import msgspec
import numpy as np

from core.attributes import Attribute, AttributeSet
from core.errors import StudioError


class StoredSet(msgspec.Struct, frozen=True):
    """The set, each attribute's id and each value's ids, the first of which new labels get.

    `next_id` was never given to an attribute or a value.
    """

    attributes: AttributeSet
    attribute_ids: tuple[int, ...]
    value_ids: tuple[tuple[tuple[int, ...], ...], ...]
    next_id: int = 1

    def position(self, name: str) -> int:
        """Position of the attribute called `name`; StudioError if there is none."""
        return self.attributes.index(name)

    def by_id(self, attribute_id: int) -> str | None:
        """Name of the attribute with this id, None if it was deleted."""
        for known, attribute in zip(self.attribute_ids, self.attributes, strict=True):
            if known == attribute_id:
                return attribute.name
        return None

    def place_of_id(self, position: int) -> np.ndarray:
        """(next_id,) int16: each value id's place in the attribute at `position`, -1 for ids not in it."""
        places = np.full(max(1, self.next_id), -1, np.int16)
        for place, ids in enumerate(self.value_ids[position]):
            places[list(ids)] = place
        return places


def first_set(attributes: AttributeSet) -> StoredSet:
    """A set with new ids for everything; StudioError if it isn't a valid set."""
    check(attributes)
    ids: list[int] = []
    values: list[tuple[tuple[int, ...], ...]] = []
    number = 1
    for attribute in attributes:
        ids.append(number)
        number += 1
        values.append(tuple((number + i,) for i in range(len(attribute.values))))
        number += len(attribute.values)
    return StoredSet(attributes, tuple(ids), tuple(values), number)


def check(attributes: AttributeSet) -> None:
    """StudioError where names are missing or used twice, or an attribute has fewer than two values."""
    names = [a.name for a in attributes]
    if not all(names) or len(set(names)) != len(names):
        raise StudioError("Each attribute needs a name of its own.", "Give it another name.")
    for attribute in attributes:
        _check_values(attribute)


def _check_values(attribute: Attribute) -> None:
    values = [v.name for v in attribute.values]
    if len(values) < 2 or not all(values) or len(set(values)) != len(values):
        raise StudioError(
            f"{attribute.title} needs at least two values, each with a name of its own.",
            "Add a value, or give it another name.",
        )
