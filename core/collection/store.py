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

BLOCK = 512  # images whose labels are stored together
LABEL = np.dtype(list(COLUMNS.items()))
CHUNK = 100_000  # images read at once


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
                self._images = _image_table(connection, self.size())
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
                blocks = connection.execute(
                    "SELECT block, rows FROM label WHERE attribute = ? ORDER BY block", (attribute,)
                ).fetchall()
                count = max(self.size(), (blocks[-1][0] + 1) * BLOCK if blocks else 0)
                table = np.zeros((-(-count // BLOCK), BLOCK), LABEL)
                for block, rows in blocks:
                    table[block] = np.frombuffer(rows, LABEL)
                columns = {name: np.ascontiguousarray(table.reshape(-1)[name]) for name in COLUMNS}
                self._labels[attribute] = columns
            return columns

    def labels_for(self, attribute: int, ids: np.ndarray) -> Columns:
        """As `labels`, with room for all of `ids`."""
        columns = self.labels(attribute)
        lacking = int(ids.max(initial=0)) + 1 - len(columns["value"])
        if lacking > 0:
            lacking = -(-lacking // BLOCK) * BLOCK
            columns = {n: np.concatenate([c, np.zeros(lacking, c.dtype)]) for n, c in columns.items()}
            self._labels[attribute] = columns
        return columns

    def write_labels(self, attribute: int, ids: np.ndarray, rows: Columns) -> None:
        """Replace the rows of `ids` (M,) by `rows`, columns (M,). Only inside `writing`."""
        changed = {name: column.copy() for name, column in self.labels_for(attribute, ids).items()}
        for name in COLUMNS:
            changed[name][ids] = rows[name]
        blocks = np.unique(ids // BLOCK)
        table = np.empty((len(blocks), BLOCK), LABEL)
        for name in COLUMNS:
            table[name] = changed[name].reshape(-1, BLOCK)[blocks]
        self.within().executemany(
            "INSERT OR REPLACE INTO label (attribute, block, rows) VALUES (?, ?, ?)",
            [(attribute, block, row.tobytes()) for block, row in zip(blocks.tolist(), table, strict=True)],
        )
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

    def reasons(self, numbers: np.ndarray) -> list[dict | None]:
        """The reasons kept under `numbers` (M,), None for 0."""
        wanted = np.unique(numbers[numbers > 0])
        found: dict[int, dict] = {}
        with self.reading() as connection:
            for start in range(0, len(wanted), 500):  # SQLite allows no more than 999 marks everywhere
                some = wanted[start : start + 500].tolist()
                marks = ", ".join("?" * len(some))
                for number, text in connection.execute(
                    f"SELECT id, text FROM reason WHERE id IN ({marks})", some
                ):
                    found[number] = msgspec.json.decode(text)
        return [found.get(number) for number in numbers.tolist()]


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


def _image_table(connection: sqlite3.Connection, size: int) -> ImageTable:
    """Columns joined by SQLite: half a million fewer Python objects, three times as fast as rows."""
    joined: list[list[str]] = [[] for _ in range(7)]
    numbers = ", ".join(f"group_concat({name})" for name in ("id", "bytes", "modified", "width", "height"))
    for start in range(0, size, CHUNK):
        found = connection.execute(
            # two slashes occur in no path
            f"SELECT group_concat(path, '//'), group_concat(hex(digest), ''), {numbers} FROM ("
            f"SELECT * FROM image WHERE id >= ? AND id < ? AND state = {PRESENT} ORDER BY id)",
            (start, start + CHUNK),
        ).fetchone()
        if found[0] is not None:
            for column, text in zip(joined, found, strict=True):
                column.append(text)
    paths, digests, ids, sizes, modified, widths, heights = joined
    table = ImageTable(
        _numbers(ids),
        tuple(path for text in paths for path in text.split("//")),
        _numbers(sizes),
        _numbers(modified).astype(np.float64) / 1e9,
        np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32),
        _numbers(widths).astype(np.int32),
        _numbers(heights).astype(np.int32),
    )
    for array in (table.ids, table.bytes, table.modified, table.width, table.height):
        array.flags.writeable = False
    return table


def _numbers(texts: list[str]) -> np.ndarray:
    return np.fromstring(",".join(texts), np.int64, sep=",") if texts else np.zeros(0, np.int64)
