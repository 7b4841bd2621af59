"""Prepare a Collection for training: its images and what is known of them, by whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from core.collection.tables import SOURCES
from core.errors import StudioError
from core.training.dataset import Index, label_type, write_index
from core.training.folder_data import SIZES, write_images

if TYPE_CHECKING:
    from core.collection import Collection


def prepare_collection(
    collection: Collection,
    out: Path,
    size: int = 128,
    faces: bool = False,
    attributes: Sequence[str] | None = None,
    sources: Sequence[str] = SOURCES,
    limit: int | None = None,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Write a prepared folder of the collection's present images, with their labels, to `out`.

    Of `attributes` (all without), labels whose source is among `sources` count; the others, and images that a
    person called none of the values, are unknown. The index records each image's id, path and the sources of
    its labels. `faces`, `limit` and splits as in `prepare_folder`. StudioError where nothing is left.
    """
    if size not in SIZES:
        raise StudioError(f"{size} is no size for a model's images.", f"Choose one of {SIZES}.")
    images, whole = collection.images(), collection.attributes
    names = [a.name for a in whole] if attributes is None else list(attributes)
    chosen = msgspec.structs.replace(whole, attributes=tuple(whole[name] for name in names))
    if not len(images):
        raise StudioError(f"There are no images in {collection.folder}.", "Look through the folder first.")
    tables = [collection.labels(name) for name in names]
    allowed = np.array([source in sources for source in SOURCES])
    labels = np.full((len(images), len(names)), -1, label_type(chosen))
    origins = np.zeros((len(images), len(names)), np.uint8)
    for k, table in enumerate(tables):
        counts = (table.value >= 0) & allowed[table.source]
        labels[counts, k] = table.value[counts]
        origins[counts, k] = table.source[counts]
    rows = np.arange(0, len(images), max(1, len(images) // limit) if limit else 1)
    if not (labels >= 0).any():
        raise StudioError("None of the images has a label.", "Label some first.")
    paths = [images.paths[row] for row in rows]
    places, split = write_images(collection.folder, paths, out, size, faces, report, progress)
    kept = rows[places]
    np.save(out / "labels.npy", labels[kept])
    index = Index(
        chosen,
        [collection.folder.resolve().name],
        [0] * len(kept),
        split,
        [images.paths[row] for row in kept],
        ids=images.ids[kept].tolist(),
        label_sources=["".join(map(str, row)) for row in origins[kept].tolist()],
    )
    write_index(out, index)
    report(f"{len(kept)} images in {out}")
    return index
