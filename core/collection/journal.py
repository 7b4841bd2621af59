"""The journal: what each action changed, with enough to take it back and to do it again."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from core.attributes import Attribute
from core.collection.stored import StoredSet
from core.collection.tables import SOURCES

# The columns of a label as stored, by name: their types in memory and in the journal.
COLUMNS: dict[str, np.dtype] = {
    "value": np.dtype("<i4"),
    "source": np.dtype("u1"),
    "time": np.dtype("<f8"),
    "reason": np.dtype("<i8"),
    "machine": np.dtype("<i4"),
    "machine_source": np.dtype("u1"),
}
Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Change:
    """What an action, its undo or its redo changed; enough for a view to repaint.

    `kind` is "labels" or "attributes"; `attribute` is empty where several are concerned (see `parts`: each
    attribute's name and (M,) int64 ids). `ids` (M,) int64 are the images whose label changed, sorted.
    """

    kind: str
    title: str
    attribute: str
    ids: np.ndarray
    parts: tuple[tuple[str, np.ndarray], ...] = ()


@dataclass(frozen=True)
class Action:
    """A line of the journal, for people: `time` in seconds since 1970; `undone` if redo would do it again."""

    id: int
    time: float
    kind: str
    title: str
    undone: bool = False


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """Labels to set on one attribute: `ids` (M,) and `values`, positions (M,) or one for all, -1 none.

    `reasons` is why: one mapping for all, or one for each image; it is stored as JSON.
    """

    attribute: str
    ids: np.ndarray
    values: np.ndarray | int
    source: str
    reasons: Sequence[dict | None] | dict | None = field(default=None, repr=False)


class Part(msgspec.Struct, array_like=True):
    """Label rows of one attribute before and after: arrays as bytes, in the order of COLUMNS."""

    attribute: int
    ids: bytes
    old: list[bytes]
    new: list[bytes]

    @classmethod
    def of(cls, attribute: int, ids: np.ndarray, old: Columns, new: Columns) -> Part:
        """A part from arrays."""
        return cls(attribute, ids.astype("<i8").tobytes(), _pack(old), _pack(new))

    def image_ids(self) -> np.ndarray:
        """(M,) int64 ids of the images."""
        return np.frombuffer(self.ids, "<i8")

    def columns(self, new: bool) -> Columns:
        """The rows after (`new`) or before."""
        packed = self.new if new else self.old
        return {name: np.frombuffer(p, t) for (name, t), p in zip(COLUMNS.items(), packed, strict=True)}


class Step(msgspec.Struct, array_like=True):
    """All that an action changed: label rows, and the attribute set before and after if that changed."""

    parts: list[Part]
    before: StoredSet | None = None
    after: StoredSet | None = None

    def pack(self) -> bytes:
        """As bytes for the journal."""
        return zlib.compress(msgspec.msgpack.encode(self), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> Step:
        """From the journal."""
        return msgspec.msgpack.decode(zlib.decompress(packed), type=cls)


def _pack(columns: Columns) -> list[bytes]:
    return [np.ascontiguousarray(columns[name], t).tobytes() for name, t in COLUMNS.items()]


def images_in_words(count: int) -> str:
    """“1 image”, “1,200 images”."""
    return "1 image" if count == 1 else f"{count:,} images"


def label_title(attribute: Attribute, values: np.ndarray, source: str, labelled: int) -> str:
    """What setting `values` (M,) on `labelled` images is called in menus."""
    images = images_in_words(labelled)
    distinct = np.unique(values)
    if source == SOURCES[0]:
        return f"Clear {attribute.title} on {images}"
    who = {"clip": "CLIP: set", "probe": "Learned: set", "import": "Import: set"}.get(source, "Set")
    if len(distinct) != 1:
        return f"{who} {attribute.title} on {images}"
    if distinct[0] < 0 and source in ("clip", "probe"):
        return f"{who.split(':')[0]}: clear {attribute.title} on {images}"
    if distinct[0] < 0:
        return f"{who} {attribute.title} to none of its values on {images}"
    return f"{who} {attribute.title} to {attribute.values[distinct[0]].title} on {images}"
