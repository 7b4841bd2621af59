"""Bring a collection's images up to date with its folder.

Files whose size and time are as known aren't read. New ones are read once: digest, size, signature. A file
whose content is that of a vanished image is that image, moved, and keeps its id, labels and embeddings. What
is done is committed about once a second, so that a scan that is stopped goes on where it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection, IntegrityError

from core.collection.fingerprint import Fingerprint, fingerprint
from core.collection.listing import Found, list_images
from core.collection.schema import BROKEN, PRESENT, VANISHED
from core.collection.store import Store
from core.errors import StudioError

Progress = Callable[[float, str], None]
COMMIT_SECONDS = 1.0
NO_DIGEST = b"\0" * 32  # of a file that couldn't be read
BATCH = 64  # files read between looks at `cancelled`


@dataclass(eq=False)
class ScanReport:
    """What a scan found. Ids of `new`, `changed` (other content, same name: labels stay, embeddings don't),
    `vanished` (labels are kept), `returned` and `moved` images; `broken` paths with the reason; `skipped`
    sentences about what couldn't be looked at. `complete` is false if it was cancelled."""

    images: int = 0
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    vanished: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    moved: dict[int, tuple[str, str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    complete: bool = True

    def sentence(self) -> str:
        """The report in one line."""
        names = ("new", "changed", "vanished", "returned", "moved", "broken")
        counts = [(len(getattr(self, name)), name) for name in names]
        parts = [f"{self.images:,} images", *(f"{count:,} {name}" for count, name in counts if count)]
        return ", ".join(parts) + ("." if self.complete else "; stopped early.")


@dataclass(eq=False)
class _Row:
    id: int
    path: str
    digest: bytes
    state: int
    size: int = 0
    modified: int = 0
    unread: int = 0  # by this version: it was upgraded from one that knew less


def scan(
    folder: Path,
    store: Store,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ScanReport:
    """Look through `folder` and note what changed in `store`. StudioError if the folder is gone."""
    stop = cancelled or (lambda: False)
    if progress is not None:
        progress(0.0, "Looking for images")
    listing, skipped = list_images(folder, stop)
    work = _Scan(folder, store, listing, progress, stop)
    complete = not stop()
    if complete:
        try:
            complete = work.run()
        except IntegrityError as error:  # two rows with one name
            raise StudioError(
                f"Another program is looking through {folder} too.", "Wait for it, then look again."
            ) from error
    return work.report(skipped, complete)


class _Scan:
    def __init__(
        self,
        folder: Path,
        store: Store,
        listing: dict[str, Found],
        progress: Progress | None,
        stop: Callable[[], bool],
    ) -> None:
        self.folder, self.store, self.listing = folder, store, listing
        self.progress, self.stop = progress, stop
        with store.reading() as connection:
            found = connection.execute(
                "SELECT id, path, digest, state, bytes, modified, signature IS NULL FROM image ORDER BY id"
            )
            self.rows = [_Row(*row) for row in found]
        self.before = {row.id: replace(row) for row in self.rows}
        self.holders = {row.path: row for row in self.rows if row.state != VANISHED}
        self.free: dict[bytes, list[_Row]] = {}  # rows whose content isn't where it was, by that content
        self.total = self.done = 0

    def run(self) -> bool:
        """Vanished rows first, so that files that moved find them; then known names; then new ones.

        False if it was stopped.
        """
        self._note_vanished()
        known = {row.path: row for row in self.rows if row.path in self.listing}
        known |= self.holders
        suspicious = sorted(path for path, row in known.items() if self._suspicious(row))
        new = [path for path in self.listing if path not in known]
        self.total = len(suspicious) + len(new)
        other: list[tuple[str, Fingerprint]] = []
        for lot in self._read(suspicious):
            same = [(path, found) for path, found in lot if self._same(known[path], found)]
            other += [(path, found) for path, found in lot if not self._same(known[path], found)]
            with self._writing() as connection:
                for path, found in same:
                    self._take(known[path])
                    self._assign(connection, known[path], path, found)
        if self.stop():
            return False
        for path, _ in other:  # that content may be found under another name
            if known[path].state != VANISHED:
                self._set_free(known[path])
        with self._writing() as connection:
            stay = [(path, found) for path, found in other if not self._moved(connection, path, found)]
        for lot in self._read(new):
            with self._writing() as connection:
                for path, found in lot:
                    if not self._moved(connection, path, found):
                        self._add(connection, path, found)
        if self.stop():
            return False
        with self._writing() as connection:
            for path, found in stay:
                holder = self.holders.get(path)
                if holder is None:
                    self._add(connection, path, found)
                else:
                    self._take(holder)
                    self._assign(connection, holder, path, found)
        return True

    def report(self, skipped: list[str], complete: bool) -> ScanReport:
        """What is different from before."""
        report = ScanReport(skipped=skipped, complete=complete, images=len(self.store.images()))
        for row in self.rows:
            was = self.before.get(row.id)
            if row.state == PRESENT and (was is None or was.state == BROKEN):
                report.new.append(row.id)
            elif was is None:
                continue
            elif row.state == PRESENT and row.path != was.path:
                report.moved[row.id] = (was.path, row.path)
            elif row.state == PRESENT and was.state == VANISHED:
                report.returned.append(row.id)
            elif row.state == PRESENT and row.digest != was.digest:
                report.changed.append(row.id)
            elif row.state == VANISHED and was.state == PRESENT:
                report.vanished.append(row.id)
        with self.store.reading() as connection:
            report.broken = dict(
                connection.execute(
                    "SELECT path, problem FROM image WHERE state = ? ORDER BY path", (BROKEN,)
                ).fetchall()
            )
        return report

    def _suspicious(self, row: _Row) -> bool:
        file = self.listing[row.path]
        if row.state == VANISHED or row.unread:
            return True
        return (file.bytes, file.modified) != (row.size, row.modified)

    @staticmethod
    def _same(row: _Row, found: Fingerprint) -> bool:
        return not found.looked or row.digest == found.digest

    # ------------------------------------------------------------------------------------------- reading

    def _read(self, paths: Sequence[str]) -> Iterator[list[tuple[str, Fingerprint]]]:
        """Fingerprints in order, in lots of about a second; ends early if stopped."""
        lot: list[tuple[str, Fingerprint]] = []
        due = time.monotonic() + COMMIT_SECONDS
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "scan") as pool:
            for start in range(0, len(paths), BATCH):
                if self.stop():
                    break
                names = paths[start : start + BATCH]
                for path, found in zip(names, pool.map(self._one, names), strict=True):
                    if found is not None:
                        lot.append((path, found))
                self.done += len(names)
                if self.progress is not None:
                    self.progress(self.done / self.total, f"Reading images: {self.done:,} of {self.total:,}")
                if time.monotonic() >= due:
                    yield lot
                    lot, due = [], time.monotonic() + COMMIT_SECONDS
        if lot:
            yield lot

    def _one(self, path: str) -> Fingerprint | None:
        try:
            return fingerprint(self.folder / path)
        except FileNotFoundError:
            return None  # gone since it was listed: the next scan says so
        except OSError as error:
            return Fingerprint(
                NO_DIGEST, problem=f"It can't be read: {error.strerror or error}.", looked=False
            )

    # ------------------------------------------------------------------------------------------- writing

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.store.writing() as connection:
            changes = connection.total_changes
            yield connection
            if connection.total_changes != changes:
                self.store.images_changed()

    def _note_vanished(self) -> None:
        gone = [row for row in self.holders.values() if row.path not in self.listing]
        with self._writing() as connection:
            for row in gone:
                self._evict(connection, row)
        for row in self.rows:
            if row.state == VANISHED:
                self._set_free(row)

    def _set_free(self, row: _Row) -> None:
        if row.digest != NO_DIGEST:
            self.free.setdefault(row.digest, []).append(row)

    def _take(self, row: _Row) -> None:
        rows = self.free.get(row.digest, [])
        if row in rows:
            rows.remove(row)

    def _evict(self, connection: Connection, row: _Row) -> None:
        """The row has no file any more."""
        connection.execute("UPDATE image SET state = ? WHERE id = ?", (VANISHED, row.id))
        row.state = VANISHED
        if self.holders.get(row.path) is row:
            del self.holders[row.path]

    def _moved(self, connection: Connection, path: str, found: Fingerprint) -> bool:
        """Give the file at `path` the free row with its content, if there is one."""
        rows = self.free.get(found.digest) if found.looked else None
        if not rows:
            return False
        name = path.rsplit("/", 1)[-1]
        row = min(rows, key=lambda r: (r.path != path, r.path.rsplit("/", 1)[-1] != name, r.id))
        self._take(row)
        holder = self.holders.get(path)
        if holder is not None and holder is not row:
            self._evict(connection, holder)
        self._assign(connection, row, path, found)
        return True

    def _assign(self, connection: Connection, row: _Row, path: str, found: Fingerprint) -> None:
        if self.holders.get(row.path) is row:
            del self.holders[row.path]
        row.path, row.state = path, BROKEN if found.problem else PRESENT
        row.digest = found.digest if found.looked else row.digest
        self.holders[path] = row
        columns = self._columns(path, found) | {"digest": row.digest}
        names = ", ".join(f"{name} = ?" for name in columns)
        connection.execute(f"UPDATE image SET {names} WHERE id = ?", (*columns.values(), row.id))

    def _add(self, connection: Connection, path: str, found: Fingerprint) -> None:
        columns = self._columns(path, found) | {"added": time.time()}
        marks = ", ".join("?" * len(columns))
        cursor = connection.execute(
            f"INSERT INTO image ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
        )
        assert cursor.lastrowid is not None
        row = _Row(cursor.lastrowid, path, found.digest, BROKEN if found.problem else PRESENT)
        self.rows.append(row)
        self.holders[path] = row

    def _columns(self, path: str, found: Fingerprint) -> dict[str, str | bytes | int | float | None]:
        file = self.listing[path]
        return {
            "path": path,
            "bytes": file.bytes,
            "modified": file.modified if found.looked else 0,  # 0: to be tried again next time
            "digest": found.digest,
            "width": found.width,
            "height": found.height,
            "state": BROKEN if found.problem else PRESENT,
            "problem": found.problem or None,
            "signature": found.signature,
        }
