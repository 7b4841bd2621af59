"""The images and labels of a job, wherever they come from: prepared, a Collection, or a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from core.attributes import AttributeSet
from core.errors import StudioError
from core.jobs.spec import JobSpec

if TYPE_CHECKING:
    from core.training.dataset import Dataset

TRIAL_IMAGES = 128  # for measuring how long a step takes
Progress = Callable[[int, int], None]


def labels_of(spec: JobSpec) -> tuple[AttributeSet, np.ndarray]:
    """The attributes that a job learns, and (N, K) int64 labels of all its images, -1 unknown."""
    source = Path(spec.data)
    if spec.kind == "prepared":
        from core.training.dataset import Dataset

        dataset = Dataset.open(source)
        return _chosen(spec, dataset.attributes, dataset.label_array())
    if spec.kind == "collection":
        from core.collection import Collection

        with Collection.open(source) as collection:
            attributes = collection.attributes
            columns = [collection.labels(a.name).value.astype(np.int64) for a in attributes]
            count = len(collection.images().ids)
        labels = np.stack(columns, 1) if columns else np.empty((count, 0), np.int64)
        return _chosen(spec, attributes, labels)
    from core.training.folder_data import derive_attributes, find_images, plain_name

    paths = find_images(source)
    name = plain_name(spec.folder_names)
    if not name:
        raise StudioError(
            "A folder of images needs a name for what its sub-folders are.", "Name the attribute."
        )
    said = {p: ({name: p.split("/")[-2]} if "/" in p else {}) for p in paths}
    attributes = derive_attributes(source.resolve().name, {name: spec.folder_names}, said)
    values = {plain_name(v.title): i for i, v in enumerate(attributes.attributes[0].values)}
    rows = [[values[plain_name(s[name])] if s else -1] for s in said.values()]
    return _chosen(spec, attributes, np.array(rows, np.int64).reshape(-1, 1))


def _chosen(spec: JobSpec, attributes: AttributeSet, labels: np.ndarray) -> tuple[AttributeSet, np.ndarray]:
    """Only the attributes that the job names, in the data's order."""
    if not spec.attributes:
        return attributes, labels
    places = sorted(attributes.index(name) for name in spec.attributes)
    kept = tuple(attributes.attributes[k] for k in places)
    return msgspec.structs.replace(attributes, attributes=kept), labels[:, places]


def only(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """A dataset with some of its attributes; all of them for no names."""
    from dataclasses import replace

    if not names:
        return dataset
    places = sorted(dataset.attributes.index(name) for name in names)
    kept = tuple(dataset.attributes.attributes[k] for k in places)
    attributes = msgspec.structs.replace(dataset.attributes, attributes=kept)
    index = msgspec.structs.replace(dataset.index, attributes=attributes)
    return replace(dataset, index=index, labels=np.ascontiguousarray(dataset.labels[:, places]))


def prepare(
    spec: JobSpec, out: Path, size: int, progress: Progress | None = None, limit: int | None = None
) -> Dataset:
    """The job's images as a Dataset, made in `out` unless they are there. `limit` is for a trial.

    Prepared ones are linked into `out`, so that a run is whole wherever its folder goes; on another disk they
    are read where they are. StudioError where there are none, or the disk is too full.
    """
    from core.training.dataset import Dataset

    if spec.kind == "prepared":
        ready = (out / "index.json").exists() or (limit is None and _linked(Path(spec.data), out))
        dataset = only(Dataset.open(out if ready else Path(spec.data)), spec.attributes)
        stored = dataset.images.shape[1]
        if stored % size or (stored // size) & (stored // size - 1):
            raise StudioError(
                f"The images are prepared at {stored} px, which doesn't divide into {size} px.",
                "Choose another size, or prepare them again.",
            )
        return dataset
    if not (out / "index.json").exists():
        if spec.kind == "folder":
            from core.training.folder_data import prepare_folder

            prepare_folder(
                Path(spec.data), out, size, folder_names=spec.folder_names or None, faces=spec.faces,
                limit=limit, report=lambda _: None, progress=progress,
            )  # fmt: skip
        else:
            _prepare_collection(spec, out, size, progress, limit)
    return only(Dataset.open(out), spec.attributes)


def _linked(source: Path, out: Path) -> bool:
    """Whether a prepared folder's files could be given a second name in `out`, which takes no space."""
    from core.training.dataset import FILES, remove_files

    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_files(out)
        for name in reversed(FILES):  # the index last
            if (source / name).exists():
                os.link(source / name, out / name)
    except OSError:
        return False
    return (out / FILES[0]).exists()


def subset(spec: JobSpec, out: Path) -> Dataset:
    """A few of the job's images of its split for training, for measuring steps."""
    from core.jobs.settings import make_config

    config = make_config(spec, labels_of(spec)[0])
    dataset = prepare(spec, out, config.network.image_size, limit=TRIAL_IMAGES)
    part = dataset.part("train")
    return part.take(np.arange(min(len(part), TRIAL_IMAGES)))


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 of what a model was trained on: the images' bytes (at most 4096, spread) and all labels."""
    digest = hashlib.sha256()
    digest.update(msgspec.json.encode(dataset.attributes))
    digest.update(np.ascontiguousarray(dataset.label_array()).tobytes())
    rows = dataset.rows[:: max(1, -(-len(dataset) // 4096))]
    for row in rows:
        digest.update(np.ascontiguousarray(dataset.images[row]).tobytes())
    return digest.hexdigest()


def _prepare_collection(
    spec: JobSpec, out: Path, size: int, progress: Progress | None, limit: int | None
) -> None:
    from core.collection import Collection
    from core.training.collection_data import prepare_collection

    with Collection.open(Path(spec.data)) as collection:
        prepare_collection(
            collection, out, size, spec.faces, limit=limit, report=lambda _: None, progress=progress
        )


def label_sources(dataset: Dataset) -> dict[str, dict[str, int]]:
    """How many labels came from where (clip, probe, import, person), by attribute; empty if nobody knows."""
    from core.collection.tables import SOURCES

    if not dataset.index.label_sources:
        return {}
    digits = np.array([[int(c) for c in row] for row in dataset.index.label_sources])[dataset.rows]
    found = {}
    for k, attribute in enumerate(dataset.attributes):
        counts = np.bincount(digits[:, k], minlength=len(SOURCES))
        found[attribute.name] = {SOURCES[s]: int(n) for s, n in enumerate(counts) if s and n}
    return found
