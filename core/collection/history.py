"""The journal in the file: record an action, take it back, do it again, and forget the oldest."""

from __future__ import annotations

import time

import msgspec
import numpy as np

from core.collection.journal import Action, Change, Columns, Step
from core.collection.labelling import shown_differently
from core.collection.store import Store

JOURNAL_BYTES = 256 * 2**20  # the oldest actions beyond are forgotten when a collection is opened
Parts = list[tuple[str, np.ndarray]]
_LAST_DONE = "undone = 0 ORDER BY id DESC"
_FIRST_UNDONE = "undone = 1 ORDER BY id"


def change_of(kind: str, title: str, parts: Parts) -> Change:
    """A Change from each attribute's ids."""
    merged: dict[str, np.ndarray] = {}
    for name, ids in parts:
        merged[name] = np.union1d(merged[name], ids) if name in merged else ids
    everyone = np.unique(np.concatenate(list(merged.values()))) if merged else np.zeros(0, np.int64)
    only = next(iter(merged)) if len(merged) == 1 else ""
    return Change(kind, title, only, everyone, tuple(merged.items()))


def record(store: Store, change: Change, step: Step) -> None:
    """Add an action as part of the running transaction; what was undone can't be done again after it."""
    connection = store.within()
    connection.execute("DELETE FROM action WHERE undone = 1")
    connection.execute(
        "INSERT INTO action (time, kind, title, undone, step) VALUES (?, ?, ?, 0, ?)",
        (time.time(), change.kind, change.title, step.pack()),
    )


def next_title(store: Store, forward: bool) -> str | None:
    """What `travel` would do, None if nothing."""
    which = _FIRST_UNDONE if forward else _LAST_DONE
    with store.reading() as connection:
        row = connection.execute(f"SELECT title FROM action WHERE {which} LIMIT 1").fetchone()
    return None if row is None else row[0]


def travel(store: Store, forward: bool) -> Change | None:
    """Redo (`forward`) or undo one action; None if there is none."""
    which = _FIRST_UNDONE if forward else _LAST_DONE
    with store.writing() as connection:
        row = connection.execute(f"SELECT id, kind, title, step FROM action WHERE {which} LIMIT 1").fetchone()
        if row is None:
            return None
        number, kind, title, packed = row
        step = Step.unpack(packed)
        parts: Parts = []
        wanted = step.after if forward else step.before
        if wanted is not None:
            present = store.attribute_set()
            # ids are never given twice, also not after an undo
            wanted = msgspec.structs.replace(wanted, next_id=max(wanted.next_id, present.next_id))
            store.keep_attribute_set(wanted)
            parts += shown_differently(store, present, wanted)
        for part in step.parts:
            ids = part.image_ids()
            old, new = part.columns(new=False), part.columns(new=True)
            store.write_labels(part.attribute, ids, new if forward else old)
            name = store.attribute_set().by_id(part.attribute)
            if name is not None:
                parts.append((name, np.sort(ids[_moved(old, new)])))
        connection.execute("UPDATE action SET undone = ? WHERE id = ?", (0 if forward else 1, number))
        return change_of(kind, title, parts)


def _moved(old: Columns, new: Columns) -> np.ndarray:
    return (old["value"] != new["value"]) | (old["source"] != new["source"])


def latest(store: Store, limit: int) -> list[Action]:
    """The latest actions, the newest first."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT id, time, kind, title, undone FROM action ORDER BY id DESC LIMIT ?", (limit,)
        ).fetchall()
    return [Action(number, when, kind, title, bool(undone)) for number, when, kind, title, undone in rows]


def forget_oldest(store: Store, limit: int = JOURNAL_BYTES) -> int:
    """Forget the oldest actions so that the journal has at most `limit` bytes, and reasons that nothing
    needs any more; how many actions were forgotten."""
    with store.reading() as connection:
        total = connection.execute("SELECT ifnull(sum(length(step)), 0) FROM action").fetchone()[0]
    if total <= limit:
        return 0
    with store.writing() as connection:
        sizes = connection.execute("SELECT id, length(step) FROM action ORDER BY id DESC").fetchall()
        kept = np.cumsum([size for _, size in sizes]) <= limit
        kept[0] = True  # the last action can always be taken back
        oldest = sizes[int(kept.sum()) - 1][0]
        connection.execute("DELETE FROM action WHERE id < ?", (oldest,))
        needed = [np.zeros(0, np.int64)]
        for (attribute,) in connection.execute("SELECT DISTINCT attribute FROM label").fetchall():
            needed.append(store.labels(attribute)["reason"])
        for (packed,) in connection.execute("SELECT step FROM action"):
            for part in Step.unpack(packed).parts:
                needed += [part.columns(new=False)["reason"], part.columns(new=True)["reason"]]
        known = np.array([number for (number,) in connection.execute("SELECT id FROM reason")], np.int64)
        unneeded = np.setdiff1d(known, np.concatenate(needed))
        connection.executemany("DELETE FROM reason WHERE id = ?", [(n,) for n in unneeded.tolist()])
        return int((~kept).sum())
