"""What views and rules read: columns of images and labels as arrays, one row per present image."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from core.attributes import Attribute

# A label's source is stored as its place here. person and import beat clip and probe.
SOURCES = ("none", "clip", "probe", "import", "person")
NONE, CLIP, PROBE, IMPORT, PERSON = range(5)


@dataclass(frozen=True, eq=False)
class ImageTable:
    """All present, readable images in the order of their ids; position i is row i of every array.

    `ids` (N,) int64, rising; `paths` relative to the folder, with slashes; `bytes` (N,) int64; `modified`
    (N,) float64, seconds since 1970; `digest` (N, 32) uint8, SHA-256 of the file; `width` and `height`
    (N,) int32 of the upright image, 0 where unknown. Read-only.
    """

    ids: np.ndarray
    paths: tuple[str, ...] = field(repr=False)
    bytes: np.ndarray = field(repr=False)
    modified: np.ndarray = field(repr=False)
    digest: np.ndarray = field(repr=False)
    width: np.ndarray = field(repr=False)
    height: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """(M,) int64 positions of `ids`, -1 for those that are not (or no longer) present."""
        ids = np.asarray(ids, np.int64)
        if not len(self.ids):
            return np.full(ids.shape, -1, np.int64)
        found = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[found] == ids, found, -1)

    @cached_property
    def tags(self) -> np.ndarray:
        """(N,) uint64: the first 8 bytes of each digest, never 0; what embeddings are checked against."""
        first = np.ascontiguousarray(self.digest[:, :8]).view("<u8").reshape(-1)
        return np.maximum(first, 1)


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels of one attribute, aligned with `Collection.images()`. Read-only.

    `value` (N,) int16: position among the attribute's values, -1 for none. `source` (N,) uint8: place in
    SOURCES; 0 where there is no label. A value of -1 with source person (or import) says "none of them".
    `time` (N,) float64: when the label was set, seconds since 1970, 0 without one. `machine` (N,) int16 and
    `machine_source` (N,) uint8: what CLIP or the probe said last, also where a person has said otherwise.
    """

    attribute: Attribute
    value: np.ndarray = field(repr=False)
    source: np.ndarray = field(repr=False)
    time: np.ndarray = field(repr=False)
    machine: np.ndarray = field(repr=False)
    machine_source: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.value)

    @property
    def settled(self) -> np.ndarray:
        """(N,) bool: labelled, or said to be none of them, by a person or an import."""
        return self.source >= IMPORT

    def counts(self) -> np.ndarray:
        """(V,) int64: images of each value."""
        return np.bincount(self.value[self.value >= 0], minlength=len(self.attribute.values))
