"""A folder of images with attributes and labels that are kept as soon as they are set."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.attributes import AttributeSet
from core.collection import history
from core.collection.duplicates import NEAR, exact_groups, near_groups
from core.collection.edits import Edit, MergeAttributes, apply_edits, edit_title
from core.collection.embeddings import EmbeddingStore
from core.collection.exports import ExportReport, export_labels
from core.collection.fingerprint import SIGNATURE_BYTES
from core.collection.imports import ImportPreview, apply_import, preview_import
from core.collection.journal import Action, Change, LabelEdit, Part, Step
from core.collection.labelling import label_table, merged_part, shown_differently, write_edit
from core.collection.scan import Progress, ScanReport, scan
from core.collection.schema import BROKEN, FILE, PRESENT
from core.collection.store import Store, make
from core.collection.stored import first_set
from core.collection.tables import ImageTable, LabelTable
from core.errors import StudioError
from core.paths import user_data

HOME = ".zerodim"


def home_of(folder: Path) -> Path:
    """Where the collection of `folder` is, or would be made: in the folder, or where that can't be written,
    under the user's own data."""
    folder = folder.resolve()
    inside = folder / HOME
    elsewhere = user_data() / "collections"
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
    was written durably. Another process may read, embed and label at the same time.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        """Use `open` or `create`."""
        self.folder = folder
        self.home = home
        self._store = Store(home / FILE)
        self._tables: dict[str, tuple[tuple, LabelTable]] = {}
        self._embeddings: dict[str, EmbeddingStore] = {}
        try:
            history.forget_oldest(self._store)
        except BaseException:
            self._store.close()
            raise

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
        self._store.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- images

    def scan(
        self, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
    ) -> ScanReport:
        """Bring the images up to date with the folder; see `core.collection.scan`.

        `progress` gets a share from 0 to 1 and a sentence, on this thread. `images()` grows as it goes.
        """
        return scan(self.folder, self._store, progress, cancelled)

    def images(self) -> ImageTable:
        """All present images; the same object until something changes."""
        return self._store.images()

    def broken(self) -> dict[str, str]:
        """Paths of files that can't be read, and why."""
        with self._store.reading() as connection:
            return dict(
                connection.execute(
                    "SELECT path, problem FROM image WHERE state = ? ORDER BY path", (BROKEN,)
                ).fetchall()
            )

    def mark_broken(self, problems: dict[int, str]) -> None:
        """Take images out whose files turned out to be unreadable: sentences by id. A scan takes them back
        once their files change."""
        with self._store.writing() as connection:
            connection.executemany(
                "UPDATE image SET state = ?, problem = ? WHERE id = ? AND state = ?",
                [(BROKEN, problem, int(number), PRESENT) for number, problem in problems.items()],
            )
            self._store.images_changed()

    def duplicates(self) -> list[np.ndarray]:
        """Ids of each group of images whose files are equal."""
        images = self.images()
        return exact_groups(images.ids, images.digest)

    def near_duplicates(
        self, distance: int = NEAR, cancelled: Callable[[], bool] | None = None
    ) -> list[np.ndarray]:
        """Ids of each group of images that look alike, equal ones included; `distance` is 0 to 7 bits of 128.

        Some seconds for 100,000 images: not for the window's thread.
        """
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT id, signature FROM image "
                f"WHERE state = {PRESENT} AND length(signature) = {SIGNATURE_BYTES} ORDER BY id"
            ).fetchall()
        ids = np.array([number for number, _ in rows], np.int64)
        signatures = np.frombuffer(b"".join(s for _, s in rows), np.uint8).reshape(-1, SIGNATURE_BYTES)
        return near_groups(ids, signatures, distance, cancelled)

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

    @property
    def embedded(self) -> bool:
        """Whether any image ever was, by any model: told without loading one."""
        return any(path.stat().st_size for path in (self.home / "embeddings").glob("*.rows"))

    # ------------------------------------------------------------------------------------------- labels

    @property
    def attributes(self) -> AttributeSet:
        """The current attributes."""
        return self._store.attribute_set().attributes

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
            table = label_table(stored, position, columns, images.ids)
            self._tables[attribute] = (key, table)
            return table

    def reason(self, attribute: str, image_id: int) -> dict | None:
        """Why the image has its label (prompt, score, rank, rule, model), None if nothing is known."""
        return self.reasons(attribute, np.array([image_id]))[0]

    def reasons(self, attribute: str, ids: np.ndarray) -> list[dict | None]:
        """As `reason`, for many images at once."""
        ids = np.asarray(ids, np.int64)
        with self._store.reading():
            stored = self._store.attribute_set()
            columns = self._store.labels_for(stored.attribute_ids[stored.position(attribute)], ids)
            return self._store.reasons(columns["reason"][ids])

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
        given = values if isinstance(values, int) else np.asarray(values)
        return self.apply([LabelEdit(attribute, np.asarray(ids), given, source, reasons)], title)

    def apply(self, edits: Sequence[LabelEdit], title: str = "") -> Change:
        """Several label edits as one step; each attribute at most once."""
        if len({edit.attribute for edit in edits}) != len(edits):
            raise ValueError("an attribute is edited twice in one step")
        with self._store.writing():
            parts: list[Part] = []
            shown = []
            for edit in edits:
                part, changed, own_title = write_edit(self._store, self._store.attribute_set(), edit)
                parts += [] if part is None else [part]
                shown.append((edit.attribute, changed))
                title = title or own_title
            change = history.change_of("labels", title, shown)
            if parts:
                history.record(self._store, change, Step(parts))
            return change

    def edit_attributes(self, edits: Edit | Sequence[Edit], title: str = "") -> Change:
        """Edit attributes, values and prompts (see `core.collection.edits`) as one step that can be undone.

        Labels are kept, and follow merges. StudioError where a name is unknown or taken, or an attribute
        would be left with fewer than two values; then nothing is changed.
        """
        several = list(edits) if isinstance(edits, Sequence) else [edits]
        with self._store.writing():
            before = self._store.attribute_set()
            title = title or (edit_title(before, several[0]) if len(several) == 1 else "Edit attributes")
            parts: list[Part] = []
            current = before
            for edit in several:
                following = apply_edits(current, [edit], whole=False)
                if isinstance(edit, MergeAttributes):
                    part = merged_part(self._store, current, edit.attribute, edit.other)
                    parts += [] if part is None else [part]
                current = following
            current = apply_edits(current, [])
            shown = shown_differently(self._store, before, current)
            shown += [(current.by_id(part.attribute) or "", part.image_ids()) for part in parts]
            change = history.change_of("attributes", title, shown)
            if current != before:
                self._store.keep_attribute_set(current)
                history.record(self._store, change, Step(parts, before, current))
            return change

    # ------------------------------------------------------------------------------------------- journal

    @property
    def undo_title(self) -> str | None:
        """What undo would take back, None if nothing."""
        return history.next_title(self._store, forward=False)

    @property
    def redo_title(self) -> str | None:
        """What redo would do again, None if nothing."""
        return history.next_title(self._store, forward=True)

    def undo(self) -> Change | None:
        """Take back the last action, of this session or an earlier one; None if there is none."""
        return history.travel(self._store, forward=False)

    def redo(self) -> Change | None:
        """Do the action again that was undone last; None if there is none."""
        return history.travel(self._store, forward=True)

    def history(self, limit: int = 200) -> list[Action]:
        """The latest actions, the newest first."""
        return history.latest(self._store, limit)

    # ------------------------------------------------------------------------------------- in and out

    def export_labels(
        self,
        target: Path,
        kind: str,
        attributes: Sequence[str] | None = None,
        *,
        details: bool = False,
        link: bool = False,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> ExportReport:
        """Write the labels to `target` as "csv", "json", "coco" or "folders": see `exports.export_labels`."""
        return export_labels(self, target, kind, attributes, details, link, overwrite, progress, cancelled)

    def preview_import(self, file: Path) -> ImportPreview:
        """What importing a CSV or JSON would do; changes nothing. StudioError if it can't be read."""
        return preview_import(self, file)

    def import_labels(
        self,
        preview: ImportPreview,
        *,
        add_values: bool = False,
        add_attributes: bool = False,
        overwrite_person: bool = False,
        title: str = "",
    ) -> Change:
        """Do what `preview` shows as one step that can be undone, with the source import.

        Values and attributes that don't exist are added only if asked to, and labels by a person kept unless
        they are to be overwritten.
        """
        with self._store.writing():
            return apply_import(
                self._store, self.images(), preview, add_values, add_attributes, overwrite_person, title
            )

    # ------------------------------------------------------------------------------------------ settings

    def setting(self, key: str, default: Any = None) -> Any:
        """What was kept under `key` with `keep_setting`."""
        text = self._store.setting(f"user:{key}")
        return default if text is None else msgspec.json.decode(text)

    def keep_setting(self, key: str, value: Any) -> None:
        """Keep a JSON value with the collection: a rule, a choice of model. Not part of the journal."""
        self._store.keep_setting(f"user:{key}", msgspec.json.encode(value).decode())
