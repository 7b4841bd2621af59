"""Edits of a collection's attributes that keep its labels: pure functions from one StoredSet to the next.

Labels go by ids, so renaming, moving and prompts touch none; a merged value takes over the ids of the others;
what is deleted leaves its labels unseen in the file until the deletion is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from core.attributes import Attribute, AttributeSet, Value
from core.collection.stored import StoredSet, check
from core.errors import StudioError

T = TypeVar("T")
ValueIds = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AddAttribute:
    """Put a new attribute at `place`, the end without one."""

    attribute: Attribute
    place: int | None = None


@dataclass(frozen=True)
class RenameAttribute:
    """Change the name, the title, or both."""

    attribute: str
    name: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class MoveAttribute:
    """Move an attribute to `place`, counted without it."""

    attribute: str
    place: int


@dataclass(frozen=True)
class DeleteAttribute:
    """Delete an attribute; undo brings its labels back."""

    attribute: str


@dataclass(frozen=True)
class MergeAttributes:
    """Merge `other` into `attribute`: values of the same name become one, the rest are added; an image
    without a label in `attribute` gets the one it has in `other`."""

    attribute: str
    other: str


@dataclass(frozen=True)
class AddValue:
    """Put a new value at `place`, the end without one."""

    attribute: str
    value: Value
    place: int | None = None


@dataclass(frozen=True)
class RenameValue:
    """Change the name, the title, or both."""

    attribute: str
    value: str
    name: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class MoveValue:
    """Move a value to `place`, counted without it."""

    attribute: str
    value: str
    place: int


@dataclass(frozen=True)
class DeleteValue:
    """Delete a value; its images become unlabelled, until undo."""

    attribute: str
    value: str


@dataclass(frozen=True)
class MergeValues:
    """Merge `others` into `value`: their images are its images, their prompts its prompts."""

    attribute: str
    value: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class SetPrompts:
    """Replace a value's prompts and, unless None, its templates."""

    attribute: str
    value: str
    prompts: tuple[str, ...]
    templates: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ReplaceSet:
    """Take over another set, such as a file's: attributes and values of the same name keep their labels."""

    attributes: AttributeSet


Edit = (
    AddAttribute | RenameAttribute | MoveAttribute | DeleteAttribute | MergeAttributes
    | AddValue | RenameValue | MoveValue | DeleteValue | MergeValues | SetPrompts | ReplaceSet
)  # fmt: skip


def apply_edits(stored: StoredSet, edits: Sequence[Edit], whole: bool = True) -> StoredSet:
    """The set after `edits`, in order; StudioError where a name is unknown or the result is not valid.

    Without `whole` more edits follow, and the result isn't checked.
    """
    for edit in edits:
        stored = _Editor(stored).apply(edit)
    if whole:
        check(stored.attributes)
    return stored


def edit_title(stored: StoredSet, edit: Edit) -> str:
    """What an edit of `stored` is called in menus."""
    match edit:
        case AddAttribute():
            return f"Add attribute {edit.attribute.title}"
        case ReplaceSet():
            return f"Load attributes {edit.attributes.title}"
    attribute = stored.attributes[edit.attribute]
    match edit:
        case RenameAttribute():
            return f"Rename {attribute.title} to {edit.title or edit.name}"
        case MoveAttribute():
            return f"Move {attribute.title}"
        case DeleteAttribute():
            return f"Delete attribute {attribute.title}"
        case MergeAttributes():
            return f"Merge {stored.attributes[edit.other].title} into {attribute.title}"
        case AddValue():
            return f"Add {edit.value.title} to {attribute.title}"
    value = attribute.values[attribute.index(edit.value)]
    match edit:
        case RenameValue():
            return f"Rename {value.title} to {edit.title or edit.name}"
        case MoveValue():
            return f"Move {value.title} in {attribute.title}"
        case DeleteValue():
            return f"Delete {value.title} from {attribute.title}"
        case MergeValues():
            titles = ", ".join(attribute.values[attribute.index(other)].title for other in edit.others)
            return f"Merge {titles} into {value.title}"
        case SetPrompts():
            return f"Change the prompts of {value.title}"


class _Editor:
    """A set as lists that can be changed."""

    def __init__(self, stored: StoredSet) -> None:
        self.set = stored.attributes
        self.attributes = list(stored.attributes)
        self.ids = list(stored.attribute_ids)
        self.values = list(stored.value_ids)
        self.next_id = stored.next_id

    def apply(self, edit: Edit) -> StoredSet:
        match edit:
            case AddAttribute():
                place = len(self.ids) if edit.place is None else edit.place
                number, values = self.new(), self.new_values(edit.attribute)
                for items, item in self.lists(edit.attribute, number, values):
                    items.insert(place, item)
            case ReplaceSet():
                self.replace(edit.attributes)
            case _:
                self.edit_one(self.set.index(edit.attribute), edit)
        attributes = msgspec.structs.replace(self.set, attributes=tuple(self.attributes))
        return StoredSet(attributes, tuple(self.ids), tuple(self.values), self.next_id)

    def edit_one(self, at: int, edit: Edit) -> None:
        attribute = self.attributes[at]
        match edit:
            case RenameAttribute():
                self.attributes[at] = _renamed(attribute, edit.name, edit.title)
            case MoveAttribute():
                for items in (self.attributes, self.ids, self.values):
                    _move(items, at, edit.place)
            case DeleteAttribute():
                for items in (self.attributes, self.ids, self.values):
                    del items[at]
            case MergeAttributes():
                other = self.set.index(edit.other)
                if other == at:
                    raise StudioError("An attribute can't be merged into itself.", "Choose another one.")
                self.merge(at, other)
                for items in (self.attributes, self.ids, self.values):
                    del items[other]
            case AddValue() | RenameValue() | MoveValue() | DeleteValue() | MergeValues() | SetPrompts():
                values, ids = list(attribute.values), list(self.values[at])
                self.edit_values(attribute, values, ids, edit)
                self.attributes[at] = msgspec.structs.replace(attribute, values=tuple(values))
                self.values[at] = tuple(ids)

    def edit_values(
        self, attribute: Attribute, values: list[Value], ids: list[tuple[int, ...]], edit: Edit
    ) -> None:
        match edit:
            case AddValue():
                place = len(values) if edit.place is None else edit.place
                values.insert(place, edit.value)
                ids.insert(place, (self.new(),))
            case RenameValue():
                at = attribute.index(edit.value)
                values[at] = _renamed(values[at], edit.name, edit.title)
            case MoveValue():
                at = attribute.index(edit.value)
                _move(values, at, edit.place)
                _move(ids, at, edit.place)
            case DeleteValue():
                at = attribute.index(edit.value)
                del values[at], ids[at]
            case SetPrompts():
                at = attribute.index(edit.value)
                templates = values[at].templates if edit.templates is None else edit.templates
                values[at] = msgspec.structs.replace(values[at], prompts=edit.prompts, templates=templates)
            case MergeValues():
                at = attribute.index(edit.value)
                others = sorted({attribute.index(name) for name in edit.others} - {at}, reverse=True)
                for other in others[::-1]:
                    values[at], ids[at] = _merged(values[at], values[other]), ids[at] + ids[other]
                for other in others:
                    del values[other], ids[other]

    def merge(self, at: int, other: int) -> None:
        """Put the values of the attribute at `other` into the one at `at`."""
        values, ids = list(self.attributes[at].values), list(self.values[at])
        names = [value.name for value in values]
        for value, theirs in zip(self.attributes[other].values, self.values[other], strict=True):
            if value.name in names:
                place = names.index(value.name)
                values[place], ids[place] = _merged(values[place], value), ids[place] + theirs
            else:
                values.append(value)
                ids.append(theirs)
        self.attributes[at] = msgspec.structs.replace(self.attributes[at], values=tuple(values))
        self.values[at] = tuple(ids)

    def replace(self, attributes: AttributeSet) -> None:
        """Take over a set; what has the same name keeps its ids."""
        known = {a.name: (n, dict(zip((v.name for v in a.values), ids, strict=True)))
                 for a, n, ids in zip(self.attributes, self.ids, self.values, strict=True)}  # fmt: skip
        ids, values = [], []
        for attribute in attributes:
            number, theirs = known.get(attribute.name, (0, {}))
            ids.append(number or self.new())
            values.append(tuple(theirs.get(value.name) or (self.new(),) for value in attribute.values))
        self.set, self.attributes, self.ids, self.values = attributes, list(attributes), ids, values

    def new(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def new_values(self, attribute: Attribute) -> ValueIds:
        return tuple((self.new(),) for _ in attribute.values)

    def lists(self, attribute: Attribute, number: int, values: ValueIds) -> list[tuple[list, object]]:
        return [(self.attributes, attribute), (self.ids, number), (self.values, values)]


def _renamed(thing: T, name: str | None, title: str | None) -> T:
    changed = {key: text.strip() for key, text in (("name", name), ("title", title)) if text is not None}
    if "" in changed.values():
        raise StudioError("A name can't be empty.", "Write at least one letter.")
    return msgspec.structs.replace(thing, **changed)  # type: ignore[type-var]


def _merged(value: Value, other: Value) -> Value:
    return msgspec.structs.replace(value, prompts=tuple(dict.fromkeys((*value.prompts, *other.prompts))))


def _move(items: list, at: int, place: int) -> None:
    items.insert(place, items.pop(at))
