"""The open file behind a Collection: one connection, its lock, and columns kept in memory.

Arrays are never changed once handed out: a change makes new ones. Another process's commits are noticed by
SQLite's `data_version`, and then everything is read again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from core.collection.journal import COLUMNS, Columns
from core.collection.schema import PRESENT, connect, damaged, explained
from core.collection.stored import StoredSet
from core.collection.tables import ImageTable
from core.errors import StudioError


class Store:
    """Rows in, columns out. Every method may be called from any thread."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = connect(file, new=False)
        self._seen = -1
        self._forget()
        with self.reading():
            pass

    def _forget(self) -> None:
        self._set: StoredSet | None = None
        self._images: ImageTable | None = None
        self._labels: dict[int, Columns] = {}

    def close(self) -> None:
        """Close the file; further calls raise StudioError."""
        with self.lock, explained(self.file):
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    # ------------------------------------------------------------------------------------ transactions

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, with what is in memory up to date."""
        with self.lock, explained(self.file):
            if self._connection is None:
                raise StudioError("This collection was closed.", "Open it again.")
            seen = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if seen != self._seen:
                self._forget()
                self._seen = seen
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction; an error takes all of it back."""
        with self.lock, explained(self.file):
            if self._connection is None:
                raise StudioError("This collection was closed.", "Open it again.")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                with self.reading() as connection:  # nobody else writes from here on
                    yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._forget()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def within(self) -> sqlite3.Connection:
        """The connection of the running `writing`, for what is part of it."""
        assert self._connection is not None and self._connection.in_transaction
        return self._connection

    # ------------------------------------------------------------------------------------------ settings

    def setting(self, key: str) -> str | None:
        """The text kept under `key`."""
        with self.reading() as connection:
            found = connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def keep_setting(self, key: str, value: str) -> None:
        """Keep a text under `key`."""
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))

    def attribute_set(self) -> StoredSet:
        """The current attributes and their ids."""
        with self.reading():
            if self._set is None:
                text = self.setting("attributes")
                try:
                    self._set = msgspec.json.decode(text or "", type=StoredSet)
                except msgspec.MsgspecError as error:
                    raise damaged(self.file, f"its attributes: {error}") from error
            return self._set

    def keep_attribute_set(self, stored: StoredSet) -> None:
        """Replace the attributes. Only inside `writing`."""
        text = msgspec.json.encode(stored).decode()
        self.within().execute("INSERT OR REPLACE INTO setting VALUES ('attributes', ?)", (text,))
        self._set = stored

    # -------------------------------------------------------------------------------------------- images

    def images(self) -> ImageTable:
        """All present images."""
        with self.reading() as connection:
            if self._images is None:
                rows = connection.execute(
                    "SELECT id, path, bytes, modified, digest, width, height FROM image "
                    f"WHERE state = {PRESENT} ORDER BY id"
                ).fetchall()
                self._images = _image_table(rows)
            return self._images

    def images_changed(self) -> None:
        """Read the images again next time: rows were written."""
        with self.lock:
            self._images = None

    def size(self) -> int:
        """One more than the largest id an image has, present or not."""
        with self.reading() as connection:
            return int(connection.execute("SELECT ifnull(max(id), 0) + 1 FROM image").fetchone()[0])

    # -------------------------------------------------------------------------------------------- labels

    def labels(self, attribute: int) -> Columns:
        """The label rows of an attribute by its id, as columns: row i is the image with the id i."""
        with self.reading() as connection:
            columns = self._labels.get(attribute)
            if columns is None:
                names = ", ".join(COLUMNS)
                rows = connection.execute(
                    f"SELECT image, {names} FROM label WHERE attribute = ?", (attribute,)
                ).fetchall()
                size = self.size()
                columns = {name: np.zeros(size, kind) for name, kind in COLUMNS.items()}
                if rows:
                    found = list(zip(*rows, strict=True))
                    at = np.array(found[0], np.int64)
                    for name, values in zip(COLUMNS, found[1:], strict=True):
                        columns[name][at] = values
                self._labels[attribute] = columns
            return columns

    def labels_for(self, attribute: int, ids: np.ndarray) -> Columns:
        """As `labels`, with room for all of `ids`."""
        columns = self.labels(attribute)
        need = int(ids.max(initial=-1)) + 1
        if len(columns["value"]) < need:
            need = max(need, self.size())
            columns = {n: np.concatenate([c, np.zeros(need - len(c), c.dtype)]) for n, c in columns.items()}
            self._labels[attribute] = columns
        return columns

    def write_labels(self, attribute: int, ids: np.ndarray, rows: Columns) -> None:
        """Replace the rows of `ids` (M,) by `rows`, columns (M,). Only inside `writing`."""
        current = self.labels_for(attribute, ids)
        self.within().executemany(
            f"INSERT OR REPLACE INTO label (attribute, image, {', '.join(COLUMNS)}) "
            f"VALUES ({attribute}, ?, ?, ?, ?, ?, ?, ?)",
            zip(ids.tolist(), *(rows[name].tolist() for name in COLUMNS), strict=True),
        )
        changed = {name: column.copy() for name, column in current.items()}
        for name in COLUMNS:
            changed[name][ids] = rows[name]
        self._labels[attribute] = changed

    def write_reasons(self, texts: Sequence[str]) -> np.ndarray:
        """(M,) int64 numbers of newly kept reasons. Only inside `writing`."""
        connection = self.within()
        last = connection.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'reason'")
        numbers = int(last.fetchone()[0]) + 1 + np.arange(len(texts), dtype=np.int64)
        connection.executemany(
            "INSERT INTO reason (id, text) VALUES (?, ?)", zip(numbers.tolist(), texts, strict=True)
        )
        return numbers

    def reason(self, number: int) -> dict | None:
        """The reason kept under `number`."""
        with self.reading() as connection:
            row = connection.execute("SELECT text FROM reason WHERE id = ?", (number,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0])


def make(file: Path, stored: StoredSet) -> None:
    """Make a collection's file; it takes its name only when it is whole."""
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    connection = connect(part, new=True)
    try:
        with explained(part):
            text = msgspec.json.encode(stored).decode()
            connection.execute("INSERT INTO setting VALUES ('attributes', ?)", (text,))
            # back to one file without a log beside it, so that renaming it takes all
            connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
    part.rename(file)


def _image_table(rows: list[tuple]) -> ImageTable:
    ids, paths, sizes, modified, digests, widths, heights = zip(*rows, strict=True) if rows else ((),) * 7
    table = ImageTable(
        np.array(ids, np.int64),
        tuple(paths),
        np.array(sizes, np.int64),
        np.array(modified, np.float64) / 1e9,
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        np.array(widths, np.int32),
        np.array(heights, np.int32),
    )
    for array in (table.ids, table.bytes, table.modified, table.width, table.height):
        array.flags.writeable = False
    return table
