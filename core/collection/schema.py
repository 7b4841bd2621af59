"""The SQLite file of a collection: its tables, numbered upgrades, and what can be wrong with it.

Every upgrade runs in its own transaction and leaves its number in `user_version`, so that a crash in the
middle leaves the older file as it was. A file that isn't ours, is damaged, or was written by a newer program
is refused and never written to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import StudioError

FILE = "collection.sqlite"
APPLICATION_ID = 0x5A44494D  # "ZDIM": tells our file from any other SQLite file
BUSY_SECONDS = 30.0

# Image states. A vanished file keeps its row and labels, and gets them back when it comes back.
PRESENT, VANISHED, BROKEN = 0, 1, 2

# MIGRATIONS[n] makes version n + 1 of version n; a new file runs them all. Released ones are never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        # ids are never used twice: the rows of embedding files go by them
        """CREATE TABLE image (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            path TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            digest BLOB NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            state INTEGER NOT NULL,
            problem TEXT,
            added REAL NOT NULL)""",
        f"CREATE UNIQUE INDEX image_path ON image (path) WHERE state <> {VANISHED}",
        "CREATE INDEX image_digest ON image (digest)",
        # Labels of BLOCK images with successive ids, as an array of LABEL: a hundred thousand rows read a
        # hundred times faster this way than as rows of SQL, and a bulk action writes a few blocks.
        """CREATE TABLE label (
            attribute INTEGER NOT NULL,
            block INTEGER NOT NULL,
            rows BLOB NOT NULL,
            PRIMARY KEY (attribute, block))""",
        "CREATE TABLE reason (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)",
        """CREATE TABLE action (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            title TEXT NOT NULL,
            undone INTEGER NOT NULL,
            step BLOB NOT NULL)""",
    ),
    ("ALTER TABLE image ADD COLUMN signature BLOB",),
)
VERSION = len(MIGRATIONS)


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences for a person."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _operational(file, str(error)) from error
    except sqlite3.IntegrityError:
        raise  # a bug of ours, not a state of the file
    except sqlite3.DatabaseError as error:
        raise damaged(file, str(error)) from error


def damaged(file: Path, why: str) -> StudioError:
    """What to say of a file that can't be read as a collection."""
    return StudioError(
        f"The labels in {file} can't be read: {why}.",
        "The file was left as it is. Restore it from a backup, or move it away to begin anew.",
    )


def _operational(file: Path, why: str) -> StudioError:
    if "locked" in why or "busy" in why:
        return StudioError(
            f"Another program is writing to the labels in {file.parent}.", "Wait for it, then try again."
        )
    if "full" in why:
        return StudioError(
            f"The disk is full: the labels in {file.parent} were not changed.",
            "Free some space, then try again.",
        )
    if "readonly" in why or "unable to open" in why:
        return StudioError(f"{file} can't be written.", "Change the folder's permissions, or copy it.")
    return damaged(file, why)


def connect(file: Path, *, new: bool) -> sqlite3.Connection:
    """A connection to the collection in `file`, upgraded to VERSION; with `new` it is made.

    StudioError where it is missing, damaged, not a collection, or of a newer program.
    """
    if not new and not file.is_file():
        raise StudioError(f"There is no collection in {file.parent.parent}.", "Create one first.")
    with explained(file):
        mode = "rwc" if new else "rw"
        connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(connection, file, new)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, file: Path, new: bool) -> None:
    if new:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    elif _number(connection, "application_id") != APPLICATION_ID:
        raise damaged(file, "it is not a collection's file")
    version = _number(connection, "user_version")
    if version > VERSION:
        raise StudioError(
            f"The labels in {file.parent} were written by a newer version of this program.",
            "Update this program to open them. Nothing was changed.",
        )
    # FULL: what was acknowledged survives a power cut too, not only the end of this program
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA cache_size = -65536")
    while version < VERSION:
        _upgrade(connection, version)
        version = _number(connection, "user_version")


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # another process may have been faster
        if _number(connection, "user_version") == version:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
