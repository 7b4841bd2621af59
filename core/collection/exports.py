"""Labels written out: CSV, JSON, image labels as COCO has them, and folders by value.

csv      a line an image: file, then a column an attribute; with details also its source and score,
         without which "none of them" can't be told from no label
json     the attribute set, and for each image its labels with source, time and reason
coco     images, categories (attribute/value) and one annotation a label, without boxes
folders  one folder a value, of one attribute, with copies of or links to the images
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.attributes import Attribute, AttributeSet
from core.collection.tables import NONE, SOURCES, LabelTable
from core.errors import StudioError
from core.files import atomic_write

if TYPE_CHECKING:
    from core.collection.collection import Collection

KINDS = ("csv", "json", "coco", "folders")
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # in names of folders, on some system


@dataclass(frozen=True)
class ExportReport:
    """`images` written, with `labels` in all; `problems` are sentences about what couldn't be copied."""

    images: int
    labels: int
    problems: list[str] = field(default_factory=list)


def export_labels(
    collection: Collection,
    target: Path,
    kind: str,
    attributes: Sequence[str] | None = None,
    details: bool = False,
    link: bool = False,
    overwrite: bool = False,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportReport:
    """Write the labels of `attributes` (all without) of the present images to `target`.

    A file is replaced only with `overwrite`; "folders" never replaces anything: its target must be new or
    empty, and outside the collection. StudioError where it can't be written, or a name is wrong.
    """
    if kind not in KINDS:
        raise StudioError(f"There is no export as “{kind}”.", f"Choose one of {', '.join(KINDS)}.")
    whole = collection.attributes
    chosen = [whole[name] for name in attributes] if attributes is not None else list(whole)
    if not chosen:
        raise StudioError("There is no attribute to export.", "Choose at least one.")
    tables = [collection.labels(attribute.name) for attribute in chosen]
    if kind == "folders":
        return _folders(collection, target, tables, link, progress, cancelled)
    if kind == "csv":
        data = _csv(collection, tables, details)
    else:
        content = (_json if kind == "json" else _coco)(collection, tables)
        data = msgspec.json.format(msgspec.json.encode(content), indent=1)
    with atomic_write(target, overwrite=overwrite) as file:
        file.write(data)
    labels = sum(int((table.value >= 0).sum()) for table in tables)
    return ExportReport(len(tables[0]), labels)


def _csv(collection: Collection, tables: list[LabelTable], details: bool) -> bytes:
    images = collection.images()
    header = ["file"]
    columns: list[list[str]] = [list(images.paths)]
    for table in tables:
        name = table.attribute.name
        names = np.array([*(value.name for value in table.attribute.values), ""], object)
        header.append(name)
        columns.append(names[table.value].tolist())
        if details:
            sources = np.array(["", *SOURCES[1:]], object)[table.source]
            reasons = collection.reasons(name, images.ids)
            header += [f"{name}_source", f"{name}_score"]
            columns += [sources.tolist(), [_score(reason) for reason in reasons]]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    # a mark of UTF-8, without which spreadsheets take names for another encoding
    return text.getvalue().encode("utf-8-sig")


def _score(reason: dict | None) -> str:
    score = None if reason is None else reason.get("score")
    return f"{score:.6g}" if isinstance(score, int | float) else ""


def _json(collection: Collection, tables: list[LabelTable]) -> dict[str, Any]:
    images, whole = collection.images(), collection.attributes
    labels: list[dict[str, Any]] = [{} for _ in images.paths]
    for table in tables:
        attribute = table.attribute
        at = np.flatnonzero(table.source != NONE)
        reasons = collection.reasons(attribute.name, images.ids[at])
        for i, reason in zip(at.tolist(), reasons, strict=True):
            value = int(table.value[i])
            label = {
                "value": attribute.values[value].name if value >= 0 else None,
                "source": SOURCES[table.source[i]],
                "time": round(float(table.time[i]), 3),
            }
            labels[i][attribute.name] = label | ({} if reason is None else {"reason": reason})
    chosen = tuple(table.attribute for table in tables)
    return {
        "schema": 1,
        "attributes": AttributeSet(whole.name, whole.title, chosen),
        "images": [{"file": path, "labels": own} for path, own in zip(images.paths, labels, strict=True)],
    }


def _coco(collection: Collection, tables: list[LabelTable]) -> dict[str, Any]:
    images = collection.images()
    categories: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for table in tables:
        first = len(categories) + 1
        for value in table.attribute.values:
            number = len(categories) + 1
            categories.append({"id": number, "name": value.name, "supercategory": table.attribute.name})
        for i in np.flatnonzero(table.value >= 0).tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(images.ids[i]),
                    "category_id": first + int(table.value[i]),
                    "attributes": {"source": SOURCES[table.source[i]]},
                }
            )
    rows = zip(images.ids.tolist(), images.paths, images.width.tolist(), images.height.tolist(), strict=True)
    return {
        "info": {"description": f"Image labels of {collection.folder.name}"},
        "images": [{"id": n, "file_name": path, "width": w, "height": h} for n, path, w, h in rows],
        "categories": categories,
        "annotations": annotations,
    }


# ---------------------------------------------------------------------------------------------- folders


def _folders(
    collection: Collection,
    target: Path,
    tables: list[LabelTable],
    link: bool,
    progress: Callable[[float, str], None] | None,
    cancelled: Callable[[], bool] | None,
) -> ExportReport:
    if len(tables) != 1:
        raise StudioError("Folders by value are of one attribute.", "Choose which.")
    table = tables[0]
    try:
        inside = target.resolve().is_relative_to(collection.folder.resolve())
        used = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise StudioError(f"{target} can't be used: {error.strerror or error}.", "Choose another.") from error
    if inside:
        raise StudioError(
            f"{target} lies among the images themselves.", "Choose a folder outside the collection."
        )
    if used:
        raise StudioError(f"{target} is not an empty folder.", "Choose a new one: nothing is overwritten.")
    paths, taken, problems, count = collection.images().paths, set[str](), [], 0
    names = _folder_names(table.attribute)
    chosen = np.flatnonzero(table.value >= 0).tolist()
    for done, i in enumerate(chosen):
        if cancelled is not None and cancelled():
            problems.append(f"Stopped after {count:,} of {len(chosen):,} images.")
            break
        folder = target / names[table.value[i]]
        place = folder / _free_name(folder.name, Path(paths[i]).name, taken)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _put(collection.folder / paths[i], place, link)
            count += 1
        except OSError as error:
            problems.append(f"{paths[i]}: {error.strerror or error}.")
        if progress is not None and done % 50 == 0:
            progress(done / len(chosen), f"{'Linking' if link else 'Copying'}: {done:,} of {len(chosen):,}")
    return ExportReport(count, count, problems)


def _folder_names(attribute: Attribute) -> list[str]:
    """A folder's name for each value, different also where a system doesn't tell capitals apart."""
    names: list[str] = []
    for value in attribute.values:
        name = _FORBIDDEN.sub("_", value.name).strip(" .") or "value"
        while name.lower() in (other.lower() for other in names):
            name += "_"
        names.append(name)
    return names


def _free_name(folder: str, name: str, taken: set[str]) -> str:
    """`name`, or with a number where the folder has it from another folder of images."""
    stem, dot, suffix = name.rpartition(".")
    candidate, number = name, 1
    while f"{folder}/{candidate.lower()}" in taken:
        number += 1
        candidate = f"{stem} ({number}){dot}{suffix}"
    taken.add(f"{folder}/{candidate.lower()}")
    return candidate


def _put(source: Path, place: Path, link: bool) -> None:
    if link:
        place.symlink_to(source.resolve(strict=True))
        return
    with source.open("rb") as original, place.open("xb") as copy:
        shutil.copyfileobj(original, copy)
    shutil.copystat(source, place)
