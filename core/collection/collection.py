"""A folder of images with attributes and labels that are kept as soon as they are set."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import platformdirs

from core.attributes import AttributeSet
from core.collection.embeddings import EmbeddingStore
from core.collection.journal import COLUMNS, Action, Change, Columns, LabelEdit, Part, Step, label_title
from core.collection.scan import Progress, ScanReport, scan
from core.collection.schema import FILE
from core.collection.store import Store, make
from core.collection.stored import StoredSet, first_set
from core.collection.tables import CLIP, IMPORT, NONE, PERSON, PROBE, SOURCES, ImageTable, LabelTable
from core.errors import StudioError

HOME = ".zerodim"


def home_of(folder: Path) -> Path:
    """Where the collection of `folder` is, or would be made: in the folder, or where that can't be written,
    under the user's own data."""
    folder = folder.resolve()
    inside = folder / HOME
    elsewhere = Path(platformdirs.user_data_dir("zerodim-studio", appauthor=False)) / "collections"
    name = hashlib.sha256(os.fsencode(str(folder))).hexdigest()[:16]
    outside = elsewhere / f"{folder.name or 'folder'}-{name}"
    for home in (inside, outside):
        if (home / FILE).exists():
            return home
    return inside if _writable(folder) else outside


def _writable(folder: Path) -> bool:
    """By trying: permissions don't tell of network drives and read-only disks."""
    trial = folder / f".{secrets.token_hex(8)}.part"
    try:
        trial.touch()
        trial.unlink()
    except OSError:
        return False
    return True


class Collection:
    """Images below `folder`, with labels in `home`. Every method may be called from any thread.

    Methods raise StudioError where the file can't be read or written, or a name is wrong; what they return
    was written durably.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        """Use `open` or `create`."""
        self.folder = folder
        self.home = home
        self._store = Store(home / FILE)
        self._tables: dict[str, tuple[Any, LabelTable]] = {}
        self._embeddings: dict[str, EmbeddingStore] = {}

    # ----------------------------------------------------------------------------------------- lifetime

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether `folder` has a collection."""
        return folder.is_dir() and (home_of(folder) / FILE).exists()

    @classmethod
    def create(cls, folder: Path, attributes: AttributeSet) -> Collection:
        """Make the collection of `folder`; StudioError where there is one. Images come with `scan`."""
        if not folder.is_dir():
            raise StudioError(f"There is no folder {folder}.", "Give a folder of images.")
        home = home_of(folder)
        if (home / FILE).exists():
            raise StudioError(f"{folder} has labels already.", "Open it instead.")
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudioError(
                f"{home} can't be made: {error.strerror or error}.", "Choose another folder."
            ) from error
        make(home / FILE, first_set(attributes))
        return cls(folder, home)

    @classmethod
    def open(cls, folder: Path) -> Collection:
        """The collection of `folder`; StudioError where there is none, or it can't be read."""
        if not folder.is_dir():
            raise StudioError(f"There is no folder {folder}.", "Give a folder of images.")
        return cls(folder, home_of(folder))

    def close(self) -> None:
        """Let go of all files. Safe to call twice."""
        for store in self._embeddings.values():
            store.close()
        self._embeddings.clear()
        self._store.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scan(
        self, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
    ) -> ScanReport:
        """Bring the images up to date with the folder; see `core.collection.scan`.

        `progress` gets a share from 0 to 1 and a sentence, on this thread. `images()` grows as it goes.
        """
        return scan(self.folder, self._store, progress, cancelled)

    # ------------------------------------------------------------------------------------------ reading

    @property
    def attributes(self) -> AttributeSet:
        """The current attributes."""
        return self._store.attribute_set().attributes

    def images(self) -> ImageTable:
        """All present images; the same object until something changes."""
        return self._store.images()

    def labels(self, attribute: str) -> LabelTable:
        """The labels of the attribute called `attribute`, aligned with `images()`; the same object until
        something changes."""
        with self._store.reading():
            stored, images = self._store.attribute_set(), self._store.images()
            position = stored.position(attribute)
            columns = self._store.labels_for(stored.attribute_ids[position], images.ids)
            key = (stored, images, columns)
            known = self._tables.get(attribute)
            if known is not None and all(a is b for a, b in zip(known[0], key, strict=True)):
                return known[1]
            table = _label_table(stored, position, columns, images.ids)
            self._tables[attribute] = (key, table)
            return table

    def reason(self, attribute: str, image_id: int) -> dict | None:
        """Why the image has its label (prompt, score, rank, rule, model), None if nothing is known."""
        with self._store.reading():
            stored = self._store.attribute_set()
            number = stored.attribute_ids[stored.position(attribute)]
            columns = self._store.labels_for(number, np.array([image_id]))
            kept = int(columns["reason"][image_id])
            return self._store.reason(kept) if kept else None

    def setting(self, key: str, default: Any = None) -> Any:
        """What was kept under `key` with `keep_setting`."""
        text = self._store.setting(f"user:{key}")
        return default if text is None else msgspec.json.decode(text)

    def keep_setting(self, key: str, value: Any) -> None:
        """Keep a JSON value with the collection: a rule, a choice of model. Not part of the journal."""
        self._store.keep_setting(f"user:{key}", msgspec.json.encode(value).decode())

    # ----------------------------------------------------------------------------------------- labelling

    def set_labels(
        self,
        attribute: str,
        ids: np.ndarray | Sequence[int],
        values: np.ndarray | Sequence[int] | int,
        source: str,
        reasons: Sequence[dict | None] | dict | None = None,
        title: str = "",
    ) -> Change:
        """Label images `ids` (M,) as one step that can be undone; durable when this returns.

        `values` are positions among the attribute's values, (M,) or one for all. What -1 means goes by
        `source`: a person (or import) says that the image has none of them, so that CLIP leaves it alone;
        "none" clears the label, and CLIP may set it again; clip and probe take back their own earlier label.
        Clip and probe skip images that a person or an import has settled. The Change tells which images
        have another label than before. ValueError for an id or a value that doesn't exist.
        """
        return self.apply([LabelEdit(attribute, np.asarray(ids), _values(values), source, reasons)], title)

    def apply(self, edits: Sequence[LabelEdit], title: str = "") -> Change:
        """Several label edits as one step; each attribute at most once."""
        with self._store.writing():
            stored = self._store.attribute_set()
            if len({edit.attribute for edit in edits}) != len(edits):
                raise ValueError("an attribute is edited twice in one step")
            parts, shown = [], []
            for edit in edits:
                part, changed, own_title = self._edited(stored, edit)
                if part is not None:
                    parts.append(part)
                shown.append((edit.attribute, changed))
                title = title or own_title
            change = _change("labels", title, shown)
            if parts:
                self._record(change, Step(parts))
            return change

    def _edited(self, stored: StoredSet, edit: LabelEdit) -> tuple[Part | None, np.ndarray, str]:
        """Write one edit; what the journal needs, the ids whose label changed, and a title."""
        position = stored.position(edit.attribute)
        attribute, number = stored.attributes.attributes[position], stored.attribute_ids[position]
        source = SOURCES.index(edit.source)
        ids = np.asarray(edit.ids, np.int64).reshape(-1)
        values = np.broadcast_to(np.asarray(edit.values, np.int64), ids.shape)
        self._known(ids)
        if len(values) and not (values.min() >= -1 and values.max() < len(attribute.values)):
            raise ValueError(f"{attribute.name} has no value at {values.min()} or {values.max()}")
        columns = self._store.labels_for(number, ids)
        old = {name: columns[name][ids] for name in COLUMNS}
        first = np.array([v[0] for v in stored.value_ids[position]] + [0], np.int32)  # [-1] is none
        wanted = first[values]
        places = stored.place_of_id(position)
        new, applied = _decided(old, wanted, source, places)
        differs = np.zeros(len(ids), bool)
        for name in ("value", "source", "machine", "machine_source"):
            differs |= new[name] != old[name]
        differs |= applied & (new["value"] != 0)  # set again: a newer time and reason
        new["time"] = np.where(applied, np.where(new["value"] == 0, 0.0, time.time()), old["time"])
        new["reason"] = np.where(applied, 0, old["reason"])
        reasoned = np.flatnonzero(applied & (new["value"] != 0))
        new["reason"][reasoned] = self._reasons(edit.reasons, reasoned)
        rows = np.flatnonzero(differs)
        changed = np.sort(ids[(new["value"] != old["value"]) | (new["source"] != old["source"])])
        name = label_title(attribute, values[applied], edit.source, int(applied.sum()))
        if not len(rows):
            return None, changed, name
        old, new = ({n: c[rows] for n, c in columns_.items()} for columns_ in (old, new))
        self._store.write_labels(number, ids[rows], new)
        return Part.of(number, ids[rows], old, new), changed, name

    def _known(self, ids: np.ndarray) -> None:
        if len(ids) and (ids.min() < 1 or ids.max() >= self._store.size() or len(np.unique(ids)) != len(ids)):
            raise ValueError("ids of images that don't exist, or one twice")

    def _reasons(self, reasons: Sequence[dict | None] | dict | None, rows: np.ndarray) -> np.ndarray:
        """Keep the reasons of `rows`; (len(rows),) int64 numbers, 0 for none."""
        if not reasons or not len(rows):
            return np.zeros(len(rows), np.int64)
        if isinstance(reasons, dict):
            return np.repeat(self._store.write_reasons([_json(reasons)]), len(rows))
        chosen = [reasons[i] for i in rows.tolist()]
        numbers = np.zeros(len(rows), np.int64)
        given = np.array([bool(reason) for reason in chosen])
        numbers[given] = self._store.write_reasons([_json(reason) for reason in chosen if reason])
        return numbers

    # ------------------------------------------------------------------------------------------- journal

    @property
    def undo_title(self) -> str | None:
        """What undo would take back, None if nothing."""
        return self._title("undone = 0", "DESC")

    @property
    def redo_title(self) -> str | None:
        """What redo would do again, None if nothing."""
        return self._title("undone = 1", "ASC")

    def undo(self) -> Change | None:
        """Take back the last action; None if there is none."""
        return self._travel("undone = 0", "DESC", forward=False)

    def redo(self) -> Change | None:
        """Do the action again that was undone last; None if there is none."""
        return self._travel("undone = 1", "ASC", forward=True)

    def history(self, limit: int = 200) -> list[Action]:
        """The latest actions, the newest first."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT id, time, kind, title, undone FROM action ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [Action(i, when, kind, title, bool(undone)) for i, when, kind, title, undone in rows]

    def _title(self, which: str, order: str) -> str | None:
        with self._store.reading() as connection:
            row = connection.execute(
                f"SELECT title FROM action WHERE {which} ORDER BY id {order} LIMIT 1"
            ).fetchone()
        return None if row is None else row[0]

    def _record(self, change: Change, step: Step) -> None:
        connection = self._store.within()
        connection.execute("DELETE FROM action WHERE undone = 1")
        connection.execute(
            "INSERT INTO action (time, kind, title, undone, step) VALUES (?, ?, ?, 0, ?)",
            (time.time(), change.kind, change.title, step.pack()),
        )

    def _travel(self, which: str, order: str, forward: bool) -> Change | None:
        with self._store.writing() as connection:
            row = connection.execute(
                f"SELECT id, kind, title, step FROM action WHERE {which} ORDER BY id {order} LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            number, kind, title, packed = row
            step = Step.unpack(packed)
            stored = step.after if forward else step.before
            if stored is not None:
                next_id = max(stored.next_id, self._store.attribute_set().next_id)
                self._store.keep_attribute_set(msgspec.structs.replace(stored, next_id=next_id))
            shown = []
            for part in step.parts:
                ids = part.image_ids()
                old, new = part.columns(new=False), part.columns(new=True)
                self._store.write_labels(part.attribute, ids, new if forward else old)
                name = self._store.attribute_set().by_id(part.attribute)
                if name is not None:
                    moved = (old["value"] != new["value"]) | (old["source"] != new["source"])
                    shown.append((name, np.sort(ids[moved])))
            connection.execute("UPDATE action SET undone = ? WHERE id = ?", (0 if forward else 1, number))
            return _change(kind, title, shown)

    # ---------------------------------------------------------------------------------------- embeddings

    def embeddings(self, model_key: str, dim: int) -> EmbeddingStore:
        """The embeddings by one CLIP model; the same object for the same model."""
        with self._store.lock:
            known = self._embeddings.get(model_key)
            if known is None:
                known = EmbeddingStore(self.home / "embeddings", model_key, dim, self.images)
                self._embeddings[model_key] = known
            elif known.dim != dim:
                raise ValueError(f"{model_key} has {known.dim} numbers an image, not {dim}")
            return known


def _values(values: np.ndarray | Sequence[int] | int) -> np.ndarray | int:
    return values if isinstance(values, int) else np.asarray(values)


def _json(reason: dict) -> str:
    return msgspec.json.encode(reason).decode()


def _change(kind: str, title: str, parts: list[tuple[str, np.ndarray]]) -> Change:
    ids = np.unique(np.concatenate([ids for _, ids in parts])) if parts else np.zeros(0, np.int64)
    return Change(kind, title, parts[0][0] if len(parts) == 1 else "", ids, tuple(parts))


def _decided(old: Columns, wanted: np.ndarray, source: int, places: np.ndarray) -> tuple[Columns, np.ndarray]:
    """The rows after a source said `wanted` (M,), ids of values or 0; and (M,) bool where it was heard."""
    new = {name: column.copy() for name, column in old.items()}
    # a label whose value was deleted counts as none
    gone = (old["value"] > 0) & (places[old["value"].clip(0)] < 0)
    labelled = (old["value"] != 0) & ~gone
    if source in (CLIP, PROBE):
        new["machine"], new["machine_source"] = wanted, np.full(len(wanted), source, np.uint8)
        new["machine_source"][wanted == 0] = 0
        settled = labelled & (old["source"] >= IMPORT)
        takes_back = (wanted == 0) & labelled & (old["source"] == source)
        applied = ~settled & ((wanted != 0) | takes_back)
    else:
        applied = np.ones(len(wanted), bool)
        wanted = np.zeros_like(wanted) if source == NONE else np.where(wanted == 0, -1, wanted)
    new["value"] = np.where(applied, wanted, old["value"])
    new["source"] = np.where(applied, np.where(wanted == 0, NONE, source), old["source"]).astype(np.uint8)
    return new, applied


def _label_table(stored: StoredSet, position: int, columns: Columns, ids: np.ndarray) -> LabelTable:
    places = stored.place_of_id(position)
    value, source = columns["value"][ids], columns["source"][ids]
    place = np.where(value > 0, places[value.clip(0)], np.int16(-1)).astype(np.int16)
    labelled = (place >= 0) | (value < 0)
    machine = columns["machine"][ids]
    opinion = np.where(machine > 0, places[machine.clip(0)], np.int16(-1)).astype(np.int16)
    arrays = (
        place,
        np.where(labelled, source, NONE).astype(np.uint8),
        np.where(labelled, columns["time"][ids], 0.0),
        opinion,
        np.where(opinion >= 0, columns["machine_source"][ids], NONE).astype(np.uint8),
    )
    for array in arrays:
        array.flags.writeable = False
    return LabelTable(stored.attributes.attributes[position], *arrays)


__all__ = ["CLIP", "IMPORT", "NONE", "PERSON", "PROBE", "SOURCES", "Collection", "home_of"]
