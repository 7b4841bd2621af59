"""Prepare a folder of images of one's own: any images, with labels from a CSV, from folder names, or none.

Images become squares of one size: the middle of each, or the largest face in it, aligned. Labels are values
by attribute; what a file doesn't say stays unknown. The split goes by a hash of each file's content, so that
it is the same every time, wherever the folder is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from core.attributes import Attribute, AttributeSet, Value
from core.collection.listing import list_images
from core.csv_table import MOST_VALUES, plain_name, read_csv
from core.errors import StudioError
from core.faces.finder import FaceFinder
from core.faces.frame import align
from core.images import PHOTO_SUFFIXES, open_photo
from core.training.dataset import SPLITS, Index, RowFile, label_type, need_space, remove_files, write_index

SIZES = (32, 64, 128, 256, 512)
# Shares of the files for training and for the judge of swaps; the rest is held out for measuring.
TRAIN_SHARE, JUDGE_SHARE = 0.70, 0.20
FEW = 64  # so many images are read by this process: others take longer to start
Labels = dict[str, dict[str, str]]


def prepare_folder(
    folder: Path,
    out: Path,
    size: int = 128,
    labels: Path | None = None,
    folder_names: str | None = None,
    attributes: AttributeSet | None = None,
    faces: bool = False,
    limit: int | None = None,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Write a prepared folder of the images anywhere below `folder` to `out`.

    `labels` is a CSV: file name, then a column an attribute, empty where unknown. `folder_names` is the name
    of an attribute whose values are the folders that the images lie in. Without `attributes` they are made of
    these labels; with them, labels must be among their values, and there may be none. `limit` takes about so
    many images, for a try. Broken and repeated files and, with `faces`, images without a face are left
    out, counted and reported. `progress` gets how many are done, of how many. StudioError where nothing is
    left, or labels are wrong.
    """
    if size not in SIZES:
        raise StudioError(f"{size} is no size for a model's images.", f"Choose one of {SIZES}.")
    paths = find_images(folder, out)
    if not paths:
        raise StudioError(f"There are no images in {folder}.", f"It reads {', '.join(PHOTO_SUFFIXES)}.")
    if limit:
        paths = paths[:: max(1, len(paths) // limit)]
    said: Labels = {path: {} for path in paths}
    titles: dict[str, str] = {}
    if labels is not None:
        titles |= _add_csv(labels, said, report)
    if folder_names is not None:
        named = _add_folders(folder_names, said)
        if named.keys() & titles.keys():
            raise StudioError(
                f"“{folder_names}” is a column of {labels} too.", "Give the folders' attribute another name."
            )
        titles |= named
    chosen = attributes or derive_attributes(folder.resolve().name, titles, said)
    if attributes is not None:
        ignored = [title for name, title in titles.items() if _find(attributes, name) is None]
        if ignored:
            report(f"not in the attribute set, ignored: {', '.join(ignored)}")
    rows = {path: _label_row(path, values, chosen) for path, values in said.items()}

    places, split = write_images(folder, paths, out, size, faces, report, progress)
    kept = [paths[place] for place in places]
    np.save(out / "labels.npy", np.stack([rows[path] for path in kept]).astype(label_type(chosen)))
    index = Index(chosen, [folder.resolve().name], [0] * len(kept), split, kept)
    write_index(out, index)
    report(f"{len(kept)} images in {out}")
    return index


def write_images(
    folder: Path,
    paths: Sequence[str],
    out: Path,
    size: int,
    faces: bool,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[int], list[int]]:
    """Write the images at `paths` in `folder` to images.npy (and inside.npy, with `faces`) in `out`, which is
    no prepared folder until its labels and index follow.

    The places in `paths` of those that are no use are left out, and reported: (M,) places of the rest, and
    their splits. `progress` gets how many are done, of how many. StudioError where none is for training.
    """
    out.mkdir(parents=True, exist_ok=True)
    need_space(out, len(paths) * size**2 * (4 if faces else 3))
    remove_files(out)
    kept: list[int] = []
    split: list[int] = []
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    with ExitStack() as stack:
        images = stack.enter_context(RowFile(out / "images.npy", (size, size, 3), np.uint8))
        inside = stack.enter_context(RowFile(out / "inside.npy", (size, size), np.bool_)) if faces else None
        tasks = [(str(folder / path), size, faces) for path in paths]
        bar = tqdm(_in_order(tasks), total=len(tasks), unit="img", disable=None)
        for place, result in enumerate(bar):
            if progress is not None:
                progress(place, len(tasks))
            if isinstance(result, str):
                dropped[result] += 1
                continue
            pixels, mask, digest = result
            if digest in seen:
                dropped["copy of another file"] += 1
                continue
            seen.add(digest)
            images.append(pixels)
            if inside is not None:
                inside.append(mask)
            kept.append(place)
            split.append(split_of(digest))
    for why, count in sorted(dropped.items()):
        report(f"dropped {count}: {why}")
    if SPLITS.index("train") not in split:
        raise StudioError(
            f"Of {len(paths)} images in {folder}, {len(kept)} are left, none of them for training.",
            "Add more images; what was left out, and why, is said above.",
        )
    return kept, split


def find_images(folder: Path, out: Path | None = None) -> list[str]:
    """Paths relative to `folder`, with slashes, in order, of all images below it; hidden ones and `out`
    are left out."""
    found, _ = list_images(folder)
    if out is None:
        return list(found)
    skipped = out.resolve()
    return [path for path in found if skipped not in (folder / path).resolve().parents]


def split_of(digest: str) -> int:
    """Place in SPLITS by a file's SHA-256."""
    share = int(digest[:8], 16) / 2**32
    names = ("train", "judge", "held_out")
    return SPLITS.index(names[(share >= TRAIN_SHARE) + (share >= TRAIN_SHARE + JUDGE_SHARE)])


# ---------------------------------------------------------------------------------------------- labels


def derive_attributes(name: str, titles: dict[str, str], said: Labels) -> AttributeSet:
    """The attributes whose titles are given by name, with all values that occur; StudioError if there is
    none, or one with fewer than two values, or with so many that it can't be one."""
    if not titles:
        raise StudioError(
            "The images have no labels.",
            "Give a CSV or folder names to take labels from, or an attribute set without labels.",
        )
    found = []
    for attribute, title in titles.items():
        texts: dict[str, str] = {}
        for values in said.values():
            if attribute in values:
                texts.setdefault(plain_name(values[attribute]), values[attribute])
        if not 2 <= len(texts) <= MOST_VALUES:
            raise StudioError(
                f"“{title}” has {len(texts)} values; an attribute has from 2 to {MOST_VALUES}.",
                "Correct the labels, or take that column out.",
            )
        found.append(
            Attribute(attribute, title, tuple(Value(v, texts[v]) for v in sorted(texts, key=_natural)))
        )
    return AttributeSet(plain_name(name) or "images", name or "Images", tuple(found))


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts 2 before 10."""
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", text) if p)


def _add_folders(attribute: str, said: Labels) -> dict[str, str]:
    """Each image's value is its own folder's name; images in no folder stay unknown."""
    name = plain_name(attribute)
    if not name:
        raise StudioError(f"“{attribute}” is no name of an attribute.", "Use letters or digits.")
    for path, values in said.items():
        parts = path.split("/")
        if len(parts) > 1:
            values[name] = parts[-2]
    return {name: attribute}


def _add_csv(file: Path, said: Labels, report: Callable[[str], None]) -> dict[str, str]:
    """Put the labels of a CSV into `said`; titles of its columns by name. StudioError if it is wrong."""
    titles, lines = read_csv(file)
    by_name: dict[str, list[str]] = {}
    for path in said:
        by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)
    unknown, used = 0, 0
    for number, image, cells in lines:
        matched = _matching(image, said, by_name, f"line {number} of {file.name}")
        if matched is None:
            unknown += 1
            continue
        path = matched
        used += 1
        for name, value in zip(titles, cells, strict=True):
            if value and plain_name(said[path].get(name, value)) != plain_name(value):
                raise StudioError(
                    f"Line {number} of {file.name} says another {titles[name]} of {path} than a line before.",
                    "Correct the file.",
                )
            if value:
                if not plain_name(value):
                    raise StudioError(
                        f"“{value}” in line {number} of {file.name} is no name of a value.",
                        "Use letters or digits.",
                    )
                said[path][name] = value
    if not used:
        raise StudioError(f"{file.name} names none of the images.", "Its first column holds file names.")
    if unknown:
        report(f"{unknown} lines of {file.name} name no image here")
    return titles


def _matching(name: str, said: Labels, by_name: dict[str, list[str]], where: str) -> str | None:
    """The image that a CSV means, by its path from the folder or by its name alone."""
    path = name.replace("\\", "/").removeprefix("./")
    if path in said:
        return path
    found = by_name.get(path, [])
    if len(found) > 1:
        raise StudioError(f"“{name}” in {where} could be {found[0]} or {found[1]}.", "Write the whole path.")
    return found[0] if found else None


def _find(attributes: AttributeSet, name: str) -> Attribute | None:
    return next((a for a in attributes if name in (a.name, plain_name(a.name), plain_name(a.title))), None)


def _label_row(path: str, said: dict[str, str], attributes: AttributeSet) -> np.ndarray:
    """(K,) int64, -1 unknown."""
    row = np.full(len(attributes), -1, np.int64)
    for name, text in said.items():
        attribute = _find(attributes, name)
        if attribute is None:
            continue
        wanted = plain_name(text)
        names = [(v.name, plain_name(v.name), plain_name(v.title)) for v in attribute.values]
        place = next((v for v, known in enumerate(names) if text in known or wanted in known), None)
        if place is None:
            raise StudioError(
                f"{attribute.title} of {path} is “{text}”, which the attribute set doesn't have.",
                "It has: " + ", ".join(v.name for v in attribute.values) + ".",
            )
        row[[a.name for a in attributes].index(attribute.name)] = place
    return row


# ---------------------------------------------------------------------------------------------- images

Prepared = tuple[np.ndarray, np.ndarray, str]


def _in_order(tasks: Sequence[tuple[str, int, bool]]) -> Iterator[Prepared | str]:
    if len(tasks) <= FEW:
        yield from map(prepare_one, tasks)
        return
    with get_context("spawn").Pool(os.cpu_count(), torch.set_num_threads, (1,)) as pool:
        yield from pool.imap(prepare_one, tasks, chunksize=16)


@cache
def _own_finder() -> FaceFinder:
    return FaceFinder()


def prepare_one(task: tuple[str, int, bool]) -> Prepared | str:
    """(S, S, 3) uint8, the mask of what is inside the photo, and the file's digest; or why it is left out."""
    path, size, faces = task
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        pixels = open_photo(Path(path)).srgb()
    except (StudioError, OSError):
        return "broken file"
    if not faces:
        return square(pixels, size), np.ones((size, size), bool), digest
    found = _own_finder().find(pixels)
    if not found:
        return "no face found"
    return *align(pixels, found[0].frame, size), digest


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) uint8: the middle of an (H, W, 3) image, by the mean of areas where it shrinks."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    middle = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    how = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    return np.asarray(middle.resize((size, size), how))
