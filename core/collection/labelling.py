"""What a label edit does to the rows of an attribute, and the table that views see of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np

from core.collection.journal import COLUMNS, Columns, LabelEdit, Part, label_title
from core.collection.store import Store
from core.collection.stored import StoredSet
from core.collection.tables import CLIP, IMPORT, NONE, PROBE, SOURCES, LabelTable


def write_edit(store: Store, stored: StoredSet, edit: LabelEdit) -> tuple[Part | None, np.ndarray, str]:
    """Write one edit inside a transaction; its part of the journal (None if nothing is new), the sorted ids
    whose label is another one now, and a title. ValueError for ids and values that don't exist."""
    position = stored.position(edit.attribute)
    attribute, number = stored.attributes.attributes[position], stored.attribute_ids[position]
    source = SOURCES.index(edit.source)
    ids = np.asarray(edit.ids, np.int64).reshape(-1)
    values = np.broadcast_to(np.asarray(edit.values, np.int64), ids.shape)
    if len(ids) and (ids.min() < 1 or ids.max() >= store.size() or len(np.unique(ids)) != len(ids)):
        raise ValueError("ids of images that don't exist, or one twice")
    if len(values) and not (values.min() >= -1 and values.max() < len(attribute.values)):
        raise ValueError(f"{attribute.name} has no value at {values.min()} or {values.max()}")
    columns = store.labels_for(number, ids)
    old = {name: columns[name][ids] for name in COLUMNS}
    first = np.array([*(known[0] for known in stored.value_ids[position]), 0], np.int32)  # [-1] is none
    new, applied = decided(old, first[values], source, stored.place_of_id(position))
    labelled = applied & (new["value"] != 0)
    new["time"] = np.where(applied, np.where(labelled, time.time(), 0.0), old["time"])
    new["reason"] = np.where(applied, 0, old["reason"])
    reasoned = np.flatnonzero(labelled)
    new["reason"][reasoned] = _kept_reasons(store, edit.reasons, reasoned)
    moved = (new["value"] != old["value"]) | (new["source"] != old["source"])
    # setting the same label again is new too: it has a newer time and reason
    differs = moved | labelled | (new["machine"] != old["machine"])
    differs |= new["machine_source"] != old["machine_source"]
    title = label_title(attribute, values[applied], edit.source, int(applied.sum()))
    changed = np.sort(ids[moved])
    if not differs.any():
        return None, changed, title
    before, after = ({name: rows[name][differs] for name in COLUMNS} for rows in (old, new))
    store.write_labels(number, ids[differs], after)
    return Part.of(number, ids[differs], before, after), changed, title


def _kept_reasons(store: Store, reasons: Sequence[dict | None] | dict | None, rows: np.ndarray) -> np.ndarray:
    """Keep the reasons of `rows`; (len(rows),) int64 numbers, 0 for none."""
    numbers = np.zeros(len(rows), np.int64)
    if reasons is None or not len(rows):
        return numbers
    if isinstance(reasons, dict):
        return numbers + store.write_reasons([_json(reasons)])[0] if reasons else numbers
    chosen = [reasons[i] for i in rows.tolist()]
    given = np.array([bool(reason) for reason in chosen])
    numbers[given] = store.write_reasons([_json(reason) for reason in chosen if reason])
    return numbers


def _json(reason: dict) -> str:
    return msgspec.json.encode(reason).decode()


def decided(old: Columns, wanted: np.ndarray, source: int, places: np.ndarray) -> tuple[Columns, np.ndarray]:
    """The rows after `source` said `wanted` (M,), ids of values or 0; and (M,) bool where it was heard.

    `places` tells which ids of values there still are: a label whose value was deleted counts as none.
    """
    new = {name: column.copy() for name, column in old.items()}
    gone = (old["value"] > 0) & (places[old["value"].clip(0)] < 0)
    labelled = (old["value"] != 0) & ~gone
    if source in (CLIP, PROBE):
        new["machine"] = wanted
        new["machine_source"] = np.where(wanted == 0, NONE, source).astype(np.uint8)
        takes_back = (wanted == 0) & labelled & (old["source"] == source)
        applied = ~(labelled & (old["source"] >= IMPORT)) & ((wanted != 0) | takes_back)
    else:
        applied = np.ones(len(wanted), bool)
        wanted = np.zeros_like(wanted) if source == NONE else np.where(wanted == 0, -1, wanted)
    new["value"] = np.where(applied, wanted, old["value"])
    new["source"] = np.where(applied, np.where(wanted == 0, NONE, source), old["source"]).astype(np.uint8)
    return new, applied


def label_table(stored: StoredSet, position: int, columns: Columns, ids: np.ndarray) -> LabelTable:
    """The labels of `ids` (N,) as views see them."""
    places = stored.place_of_id(position)
    value, machine = columns["value"][ids], columns["machine"][ids]
    place = np.where(value > 0, places[value.clip(0)], np.int16(-1)).astype(np.int16)
    labelled = (place >= 0) | (value < 0)
    opinion = np.where(machine > 0, places[machine.clip(0)], np.int16(-1)).astype(np.int16)
    arrays = (
        place,
        np.where(labelled, columns["source"][ids], NONE).astype(np.uint8),
        np.where(labelled, columns["time"][ids], 0.0),
        opinion,
        np.where(opinion >= 0, columns["machine_source"][ids], NONE).astype(np.uint8),
    )
    for array in arrays:
        array.flags.writeable = False
    return LabelTable(stored.attributes.attributes[position], *arrays)


def merged_part(store: Store, stored: StoredSet, attribute: str, other: str) -> Part | None:
    """Give `attribute` the labels of `other` where it has none, or only a machine's and the other a
    person's or an import's; inside a transaction, before the set is merged."""
    target, source = (stored.position(name) for name in (attribute, other))
    number = stored.attribute_ids[target]
    everyone = np.arange(1, store.size())
    mine = {name: c[everyone] for name, c in store.labels_for(number, everyone).items()}
    theirs = {
        name: c[everyone] for name, c in store.labels_for(stored.attribute_ids[source], everyone).items()
    }
    has, offers = (
        (rows["value"] < 0) | (stored.place_of_id(at)[rows["value"].clip(0)] >= 0)
        for rows, at in ((mine, target), (theirs, source))
    )
    better = offers & (~has | ((theirs["source"] >= IMPORT) & (mine["source"] < IMPORT)))
    if not better.any():
        return None
    before, after = ({name: rows[name][better] for name in COLUMNS} for rows in (mine, theirs))
    store.write_labels(number, everyone[better], after)
    return Part.of(number, everyone[better], before, after)


def shown_differently(store: Store, before: StoredSet, after: StoredSet) -> list[tuple[str, np.ndarray]]:
    """For each attribute of both sets, the ids (sorted) whose label is another value in the second."""
    found = []
    for position, number in enumerate(after.attribute_ids):
        if number not in before.attribute_ids:
            continue
        was = before.attribute_ids.index(number)
        if before.value_ids[was] == after.value_ids[position]:
            continue
        size = max(before.next_id, after.next_id)
        old, new = (_first_ids(values, size) for values in (before.value_ids[was], after.value_ids[position]))
        value = store.labels(number)["value"].clip(0)
        ids = np.flatnonzero(old[value] != new[value])
        if len(ids):
            found.append((after.attributes.attributes[position].name, ids))
    return found


def _first_ids(values: tuple[tuple[int, ...], ...], size: int) -> np.ndarray:
    first = np.zeros(size, np.int64)
    for ids in values:
        first[list(ids)] = ids[0]
    return first
