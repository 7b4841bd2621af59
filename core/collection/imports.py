"""Labels read in from a CSV or JSON: first a preview of what would happen, then one action."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.attributes import Attribute, Value
from core.collection import history
from core.collection.edits import AddAttribute, AddValue, Edit, apply_edits
from core.collection.journal import Change, LabelEdit, Step, images_in_words
from core.collection.labelling import write_edit
from core.collection.store import Store
from core.collection.tables import PERSON, ImageTable
from core.csv_table import MOST_VALUES, plain_name, read_csv
from core.errors import StudioError

if TYPE_CHECKING:
    from core.collection.collection import Collection

Said = dict[str, dict[int, str | None]]  # by attribute, by image id: a value's text, None for none of them


@dataclass(frozen=True)
class Conflict:
    """A person has said `yours` (empty: none of them) where the file says `theirs`."""

    image: int
    path: str
    attribute: str
    yours: str
    theirs: str


@dataclass(frozen=True, eq=False)
class ImportPreview:
    """What a file of labels says about a collection.

    `images` that it names, `labels` it would set, and `same` that are so already; `unknown_files` it names
    that aren't here, `ambiguous` names that could be several images; `new_values` by attribute and
    `new_attributes` (title by name) that could be added; `conflicts` with labels by a person.
    """

    file: Path
    images: int
    labels: int
    same: int
    unknown_files: list[str]
    ambiguous: list[str]
    new_values: dict[str, list[str]]
    new_attributes: dict[str, str]
    conflicts: list[Conflict]
    said: Said = field(repr=False)


def preview_import(collection: Collection, file: Path) -> ImportPreview:
    """Read `file` and compare; see `Collection.preview_import`."""
    titles, lines = _read_json(file) if file.suffix.lower() == ".json" else _read_csv(file)
    images, attributes = collection.images(), collection.attributes
    at_path = dict(zip(images.paths, images.ids.tolist(), strict=True))
    by_name: dict[str, list[int]] = {}
    for path, number in at_path.items():
        by_name.setdefault(path.rsplit("/", 1)[-1], []).append(number)
    known = {title: _known_attribute(attributes.attributes, name, title) for name, title in titles.items()}
    names = {title: name if (a := known[title]) is None else a.name for name, title in titles.items()}
    said: Said = {}
    unknown: list[str] = []
    ambiguous: list[str] = []
    matched: set[int] = set()
    root = collection.folder.resolve().as_posix().rstrip("/") + "/"
    for name, row in lines:
        number = at_path.get(_relative(name, root))
        if number is None:
            candidates = by_name.get(name.replace("\\", "/"), [])
            if len(candidates) != 1:
                (ambiguous if candidates else unknown).append(name)
                continue
            number = candidates[0]
        matched.add(number)
        for title, text in row.items():
            key = names[title]
            earlier = said.setdefault(key, {}).setdefault(number, text)
            if earlier != text:
                raise StudioError(
                    f"{file.name} says both “{earlier}” and “{text}” of {name}.", "Correct the file."
                )
    new_attributes = {
        n: t for n, t in titles.items() if known[t] is None and n in said and _is_attribute(said[n])
    }
    new_values: dict[str, list[str]] = {}
    conflicts: list[Conflict] = []
    labels = same = 0
    for attribute in attributes:
        wanted = said.get(attribute.name, {})
        table, known_places = collection.labels(attribute.name), _Places(attribute)
        positions = images.positions(np.fromiter(wanted, np.int64, len(wanted)))
        for (number, text), i in zip(wanted.items(), positions.tolist(), strict=True):
            place = -1 if text is None else known_places[text]
            if place is None:
                assert text is not None
                new_values.setdefault(attribute.name, [])
                if plain_name(text) not in map(plain_name, new_values[attribute.name]):
                    new_values[attribute.name].append(text)
            labels += 1
            has = int(table.value[i])
            if place == has and table.source[i]:
                same += 1
            elif table.source[i] == PERSON:
                yours = attribute.values[has].name if has >= 0 else ""
                conflicts.append(Conflict(number, images.paths[i], attribute.name, yours, text or ""))
    return ImportPreview(
        file, len(matched), labels, same, unknown, ambiguous, new_values, new_attributes, conflicts, said
    )


def apply_import(
    store: Store,
    images: ImageTable,
    preview: ImportPreview,
    add_values: bool,
    add_attributes: bool,
    overwrite_person: bool,
    title: str,
) -> Change:
    """Do what the preview shows, inside a transaction; see `Collection.import_labels`."""
    before = store.attribute_set()
    edits: list[Edit] = []
    if add_values:
        for name, texts in preview.new_values.items():
            edits += [AddValue(name, Value(plain_name(text), text)) for text in texts]
    if add_attributes:
        for name, attribute_title in preview.new_attributes.items():
            texts = _distinct(preview.said[name])
            values = tuple(Value(plain_name(text), text) for text in texts)
            edits.append(AddAttribute(Attribute(name, attribute_title, values)))
    after = apply_edits(before, edits)
    if edits:
        store.keep_attribute_set(after)
    parts, shown = [], []
    for position, attribute in enumerate(after.attributes):
        wanted = preview.said.get(attribute.name, {})
        ids = np.fromiter(wanted, np.int64, len(wanted))
        ids = ids[images.positions(ids) >= 0]
        columns = store.labels_for(after.attribute_ids[position], ids)
        places, known_places = after.place_of_id(position), _Places(attribute)
        chosen: list[int] = []
        chosen_values: list[int] = []
        for number in ids.tolist():
            text = wanted[number]
            place = -1 if text is None else known_places[text]
            value = int(columns["value"][number])
            theirs = value < 0 or (value > 0 and places[value] >= 0)
            kept = theirs and columns["source"][number] == PERSON and not overwrite_person
            if place is not None and not kept:
                chosen.append(number)
                chosen_values.append(place)
        if chosen:
            reason = {"file": preview.file.name}
            edit = LabelEdit(attribute.name, np.array(chosen), np.array(chosen_values), "import", reason)
            part, changed, _ = write_edit(store, after, edit)
            parts += [] if part is None else [part]
            shown.append((attribute.name, changed))
    everyone = np.unique(np.concatenate([ids for _, ids in shown])) if shown else np.zeros(0, np.int64)
    title = title or f"Import {preview.file.name}: labels of {images_in_words(len(everyone))}"
    change = history.change_of("import", title, shown)
    if parts or edits:
        step = Step(parts, before, after) if edits else Step(parts)
        history.record(store, change, step)
    return change


def _known_attribute(attributes: tuple[Attribute, ...], name: str, title: str) -> Attribute | None:
    for attribute in attributes:
        if title == attribute.name or name in (plain_name(attribute.name), plain_name(attribute.title)):
            return attribute
    return None


class _Places(dict[str, int | None]):
    """Each text's place among an attribute's values, by name or title; None if it is not among them."""

    def __init__(self, attribute: Attribute) -> None:
        self.known: dict[str, int] = {}
        for place, value in enumerate(attribute.values):
            for text in (value.name, plain_name(value.name), plain_name(value.title)):
                self.known.setdefault(text, place)

    def __missing__(self, text: str) -> int | None:
        self[text] = self.known.get(text, self.known.get(plain_name(text)))
        return self[text]


def _distinct(labels: dict[int, str | None]) -> list[str]:
    texts: dict[str, str] = {}
    for text in labels.values():
        if text is not None and plain_name(text):
            texts.setdefault(plain_name(text), text)
    return [texts[key] for key in sorted(texts)]


def _is_attribute(labels: dict[int, str | None]) -> bool:
    return 2 <= len(_distinct(labels)) <= MOST_VALUES


def _relative(name: str, root: str) -> str:
    """A file's name as images have it; `root` is their folder with a slash at the end."""
    return name.replace("\\", "/").removeprefix("./").removeprefix(root)


# ---------------------------------------------------------------------------------------------- reading

Lines = list[tuple[str, dict[str, str | None]]]


def _read_csv(file: Path) -> tuple[dict[str, str], Lines]:
    """Titles of the columns by name, and each line's file and labels by title.

    Columns that our own export adds (glasses_source, glasses_score) are not attributes; where a source says
    person or import and the label is empty, that is none of the values.
    """
    titles, lines = read_csv(file)
    names = list(titles)
    extra = {
        n for n in names for end in ("_source", "_score") if n.endswith(end) and n.removesuffix(end) in names
    }
    found: Lines = []
    for _, name, cells in lines:
        row = dict(zip(names, cells, strict=True))
        labels: dict[str, str | None] = {}
        for key in names:
            if key in extra:
                continue
            if row[key] and plain_name(row[key]):
                labels[titles[key]] = row[key]
            elif row.get(f"{key}_source") in ("person", "import"):
                labels[titles[key]] = None
        found.append((name, labels))
    return {n: t for n, t in titles.items() if n not in extra}, found


def _read_json(file: Path) -> tuple[dict[str, str], Lines]:
    """As `_read_csv`, of our own export; of a list of {"file": name, attribute: value}, or of {file: {}}."""
    try:
        content = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise StudioError(
            f"The labels in {file} can't be read: {error}.", "Give a CSV or JSON file."
        ) from error
    found: Lines = []
    try:
        for name, labels in _json_rows(content):
            row: dict[str, str | None] = {}
            for title, label in labels.items():
                value = label["value"] if isinstance(label, dict) else label
                if isinstance(value, bool | int | float):
                    value = str(value).lower()
                if isinstance(value, str) and not plain_name(value):
                    continue
                if value is None and not (
                    isinstance(label, dict) and label.get("source") in ("person", "import")
                ):
                    continue
                if not (value is None or isinstance(value, str)) or not plain_name(title):
                    raise TypeError(f"“{title}” of {name}")
                row[title] = value
            found.append((name, row))
    except (KeyError, TypeError, AttributeError) as error:
        raise StudioError(
            f"{file.name} is not a file of labels: {error}.",
            'Give a list of {"file": name, attribute: value}, or a file that was exported here.',
        ) from error
    titles: dict[str, str] = {}
    for _, row in found:
        for title in row:
            if titles.setdefault(plain_name(title), title) != title:
                raise StudioError(f"{file.name} names “{title}” in two ways.", "Correct the file.")
    return titles, found


def _json_rows(content: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return [(_text(image["file"]), image["labels"]) for image in content["images"]]
    if isinstance(content, dict):
        return [(_text(name), labels) for name, labels in content.items()]
    return [(_text(row["file"]), {k: v for k, v in row.items() if k != "file"}) for row in content]


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name} is no file name")
    return name
