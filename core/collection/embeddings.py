"""Embeddings of a collection's images by one CLIP model, in memory-mapped files beside the labels.

    <key>.rows   row i: the image with the id i, float16
    <key>.tags   row i: the first 8 bytes of the digest of the file that was embedded, 0 for none

A row counts only where its tag is the digest that the image has now: a file changed on disk loses its row,
and one that comes back gets it back, without anything being written. Tags are written after the rows are on
disk, so that a crash in between leaves rows missing, never wrong. float16 halves disk and memory; a row comes
back with a cosine of at least 0.999999 to what was written, far less than what scores differ by.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from core.collection.tables import ImageTable
from core.errors import StudioError
from core.files import atomic_write

ROW = np.dtype("<f2")
TAG = np.dtype("<u8")
GROW = 4096  # rows by which the files grow: few growths, little waste


class _About(msgspec.Struct):
    model: str
    dim: int
    schema: int = 1


class EmbeddingStore:
    """Rows (D,) by image id. Any number of processes may read; one at a time writes."""

    def __init__(self, folder: Path, model_key: str, dim: int, images: Callable[[], ImageTable]) -> None:
        """`images` tells the present images; StudioError if the files don't fit or can't be made."""
        self.model_key, self.dim = model_key, dim
        self._images = images
        self._lock = threading.RLock()
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model_key)[:60].strip(".-")
        name = f"{plain}-{hashlib.sha256(model_key.encode()).hexdigest()[:12]}"
        self._rows, self._tags = folder / f"{name}.rows", folder / f"{name}.tags"
        self._promised: tuple[np.ndarray, np.ndarray] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            about = folder / f"{name}.json"
            if about.exists():
                found = msgspec.json.decode(about.read_bytes(), type=_About)
                if found.dim != dim:
                    raise StudioError(
                        f"The embeddings by {model_key} have {found.dim} numbers an image, not {dim}.",
                        f"Remove {about.stem}.* in {folder}, and embed again.",
                    )
            else:
                with atomic_write(about, overwrite=True) as file:
                    file.write(msgspec.json.encode(_About(model_key, dim)))
            for path in (self._rows, self._tags):
                path.touch()
        except (OSError, msgspec.MsgspecError) as error:
            raise StudioError(
                f"The embeddings in {folder} can't be used: {error}.",
                "Free some space, or remove that folder.",
            ) from error

    def close(self) -> None:
        """Nothing stays open between calls; here so that callers needn't know."""

    @property
    def have(self) -> np.ndarray:
        """(N,) bool, aligned with `images()`: whose embedding is there."""
        images = self._images()
        return self._tags_of(images.ids) == images.tags

    def missing(self) -> np.ndarray:
        """Ids of the present images without an embedding, sorted.

        What `write` gives for them counts for the files as they are now: if one changes in between, and a
        scan notices, its row is missing again.
        """
        images = self._images()
        lacking = images.ids[self._tags_of(images.ids) != images.tags]
        with self._lock:
            self._promised = (images.ids, images.tags)
        return lacking

    def write(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Keep `rows` (M, D) of the images `ids` (M,); on disk when this returns.

        Images that are no longer present are skipped. StudioError if the disk is full.
        """
        ids, rows = np.asarray(ids, np.int64), np.asarray(rows)
        if rows.shape != (len(ids), self.dim):
            raise ValueError(f"rows of shape {rows.shape} for {len(ids)} images with {self.dim} numbers each")
        if not np.isfinite(rows).all():
            raise ValueError("an embedding has numbers that are not finite")
        with self._lock:
            if self._promised is None:
                images = self._images()
                self._promised = (images.ids, images.tags)
            known, tags = self._promised
            at = np.searchsorted(known, ids).clip(max=max(0, len(known) - 1))
            there = known[at] == ids if len(known) else np.zeros(len(ids), bool)
            order = np.argsort(ids[there])
            ids, at, rows = ids[there][order], at[there][order], rows[there][order]
            if not len(ids):
                return
            try:
                self._keep(ids, rows.astype(ROW), tags[at])
            except OSError as error:
                raise StudioError(
                    f"The embeddings could not be written: {error.strerror or error}.",
                    "Free some space, then go on.",
                ) from error

    def _keep(self, ids: np.ndarray, rows: np.ndarray, tags: np.ndarray) -> None:
        size = -(-(int(ids[-1]) + 1) // GROW) * GROW
        for path, width in ((self._rows, self.dim * ROW.itemsize), (self._tags, TAG.itemsize)):
            if path.stat().st_size < size * width:
                os.truncate(path, size * width)
        # the old tags go first: a row that is half written must not count
        for path, values in (
            (self._tags, np.zeros(len(ids), TAG)),
            (self._rows, rows),
            (self._tags, tags.astype(TAG)),
        ):
            _write_rows(path, ids, values)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(M, D) float32 of the images `ids` (M,). KeyError if one has no row: see `have`."""
        ids = np.asarray(ids, np.int64)
        if not len(ids):
            return np.zeros((0, self.dim), np.float32)
        count = self._rows.stat().st_size // (self.dim * ROW.itemsize)
        if (self._tags_of(ids) == 0).any():
            raise KeyError("an image without an embedding")
        mapped = np.memmap(self._rows, ROW, "r", shape=(count, self.dim))
        first, last = int(ids[0]), int(ids[-1])
        if last - first + 1 == len(ids) and (np.diff(ids) == 1).all():
            return mapped[first : last + 1].astype(np.float32)
        return mapped[ids].astype(np.float32)

    def _tags_of(self, ids: np.ndarray) -> np.ndarray:
        tags = np.fromfile(self._tags, TAG)
        found = np.zeros(len(ids), TAG)
        inside = ids < len(tags)
        found[inside] = tags[ids[inside]]
        return found


def _write_rows(path: Path, ids: np.ndarray, values: np.ndarray) -> None:
    """Write `values` at rows `ids` (sorted) by runs, and to the disk."""
    width = values.nbytes // len(ids)
    starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 2) != 1)
    with path.open("r+b", buffering=0) as file:
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            file.seek(int(ids[start]) * width)
            file.write(np.ascontiguousarray(values[start:end]).tobytes())
        os.fsync(file.fileno())
