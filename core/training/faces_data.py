"""Prepare the shared faces (CelebA, UTKFace, LFW) for the starter model.

Every image goes through the program's own face finder into the canonical frame; images without a face,
with black corners, and copies are dropped; labels are mapped to the attribute set and left unknown where a
source doesn't say. Split by person (LFW) or by file, never by chance, so that it is the same every time.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from core.attributes import AttributeSet, load_attribute_set
from core.csv_table import read_csv
from core.errors import StudioError
from core.faces.finder import FaceFinder
from core.faces.frame import Frame, align
from core.paths import resources
from core.training.dataset import Index, remove_files, write_index

SOURCES = ("celeba", "utkface", "lfw")
PREPARED_SIZE = 128
# Border repeated before the search, in longer sides: tight crops hide the head from the detector.
PADDING = {"celeba": 0.25, "utkface": 0.3, "lfw": 0.0}
LICENCES = {
    "celeba": "CelebA: non-commercial research use",
    "utkface": "UTKFace: non-commercial research use",
    "lfw": "Labeled Faces in the Wild: press photographs, research use",
}
DUPLICATE_DISTANCE = 2.0  # mean absolute difference of 16 px grey thumbnails, of 255
UTKFACE_ETHNICITY = {"0": "white", "1": "black", "2": "asian", "3": "indian"}


def age_value(years: int) -> str:
    """The age attribute's value for an age in years."""
    return "child" if years <= 12 else "teenager" if years <= 19 else "adult" if years < 60 else "old"


def celeba_values(flags: dict[str, str]) -> dict[str, str]:
    """Values that CelebA's 40 flags (“1” or “-1”) say; an attribute they leave open is missing."""

    def has(name: str) -> bool:
        return flags[name] == "1"

    values = {
        "gender": "male" if has("Male") else "female",
        "glasses": "glasses" if has("Eyeglasses") else "none",
        "smile": "smiling" if has("Smiling") else "none",
    }
    hair = {
        "black": "Black_Hair",
        "brown": "Brown_Hair",
        "blond": "Blond_Hair",
        "grey": "Gray_Hair",
        "bald": "Bald",
    }
    said = [value for value, flag in hair.items() if has(flag)]
    if len(said) == 1 and not has("Wearing_Hat"):
        values["hair_color"] = said[0]
    # A goatee that reaches the sideburns is a full beard. Beards of no kind that is flagged are mostly
    # stubble, which stays unknown, as does a shaven face with a moustache.
    moustache, goatee, sideburns, stubble = map(has, ("Mustache", "Goatee", "Sideburns", "5_o_Clock_Shadow"))
    if has("No_Beard"):
        if not (moustache or goatee):
            values["facial_hair"] = "none"
    elif sideburns:
        if goatee or not stubble:
            values["facial_hair"] = "beard"
    elif goatee:
        values["facial_hair"] = "goatee"
    elif moustache:
        values["facial_hair"] = "moustache"
    return values


def labels_by_eye() -> dict[str, dict[str, str]]:
    """Values by path that a look at the images gave, none of which is held out.

    LFW's files say nothing of hair and facial hair, and CelebA shows few bald, grey or moustached heads.
    `resources/docs/starter-model.md` says how they were chosen.
    """
    names, lines = read_csv(resources() / "labels" / "faces.csv")
    return {path: {n: v for n, v in zip(names, cells, strict=True) if v} for _, path, cells in lines}


def read_labels(data: Path) -> dict[str, dict[str, str]]:
    """Values by path relative to `data`, for every image of the three sources. What these say comes first."""
    labels: dict[str, dict[str, str]] = {}
    try:
        with (data / "celeba_attributes.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                labels[f"celeba/{row['image']}"] = celeba_values(row)
        genders = {}
        for value in ("female", "male"):
            for line in (data / f"lfw_{value}_names.txt").read_text().split():
                genders[line] = value
    except OSError as error:
        raise StudioError(
            f"The labels can't be read: {error}.", "Give the folder of the shared faces."
        ) from error
    for path in sorted((data / "utkface").glob("*.jpg")):
        fields = path.name.split("_")
        values = {}
        if len(fields) >= 4 and fields[0].isdigit():
            values = {"age": age_value(int(fields[0]))}
            if fields[1] in ("0", "1"):
                values["gender"] = ("male", "female")[int(fields[1])]
            if fields[2] in UTKFACE_ETHNICITY:
                values["ethnicity"] = UTKFACE_ETHNICITY[fields[2]]
        labels[f"utkface/{path.name}"] = values
    for path in sorted((data / "lfw").glob("*/*.jpg")):
        gender = genders.get(path.name) or genders.get(path.parent.name)
        labels[f"lfw/{path.parent.name}/{path.name}"] = {"gender": gender} if gender else {}
    for name, values in labels_by_eye().items():
        if name in labels:
            labels[name] = values | labels[name]
    return {path: values for path, values in labels.items() if (data / path).is_file()}


def split_of(path: str) -> int:
    """0 train (45 %), 1 judge (45 %), 2 held out (10 %), by a hash of the person (LFW) or the file."""
    key = path.rsplit("/", 1)[0] if path.startswith("lfw/") else path
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return 2 if share < 0.10 else 0 if share < 0.55 else 1


def _black_corners(pixels: np.ndarray) -> bool:
    side = max(4, pixels.shape[1] // 20)
    corners = (pixels[:side, :side], pixels[:side, -side:], pixels[-side:, :side], pixels[-side:, -side:])
    return sum(int(corner.max()) <= 6 for corner in corners) >= 2


@cache
def _own_finder() -> FaceFinder:
    """This process's finder; one thread each, for there is a process for every core."""
    torch.set_num_threads(1)
    return FaceFinder()


def _prepare_one(task: tuple[str, str]) -> tuple[np.ndarray, np.ndarray] | str:
    """Aligned picture and inside mask, or why the image is dropped."""
    root, path = task
    source = path.split("/")[0]
    with Image.open(Path(root) / path) as image:
        pixels = np.asarray(image.convert("RGB"))
    if _black_corners(pixels):
        return "black corners"
    pad = round(PADDING[source] * max(pixels.shape[:2]))
    padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    faces = _own_finder().find(padded, threshold=-0.2)
    if not faces:
        return "no face found"
    middle = np.array(padded.shape[1::-1]) / 2
    face = min(
        faces, key=lambda f: float(np.hypot(f.frame.center_x - middle[0], f.frame.center_y - middle[1]))
    )
    frame = face.frame
    if max(abs(frame.center_x - middle[0]), abs(frame.center_y - middle[1])) > 0.25 * min(padded.shape[:2]):
        return "face off centre"
    return align(
        pixels, Frame(frame.center_x - pad, frame.center_y - pad, frame.side, frame.angle), PREPARED_SIZE
    )


def prepare_faces(
    data: Path,
    out: Path,
    attributes: AttributeSet | None = None,
    limit: int | None = None,
    report: Callable[[str], None] = print,
) -> Index:
    """Write a prepared folder of the shared faces to `out`; `limit` takes every n-th image, for a try."""
    chosen = attributes or load_attribute_set(resources() / "attributes" / "faces.toml")
    labels = read_labels(data)
    paths = sorted(labels)
    if limit:
        paths = paths[:: max(1, len(paths) // limit)]
    if not paths:
        raise StudioError(
            f"There are no shared faces in {data}.", "Give the folder with celeba, utkface and lfw."
        )
    out.mkdir(parents=True, exist_ok=True)
    remove_files(out)
    shape = (len(paths), PREPARED_SIZE, PREPARED_SIZE)
    # written under temporary names: rows of dropped images are cut off at the end
    images = np.lib.format.open_memmap(out / "images.part.npy", "w+", np.uint8, (*shape, 3))
    inside = np.lib.format.open_memmap(out / "inside.part.npy", "w+", np.bool_, shape)
    kept: list[str] = []
    dropped: Counter[str] = Counter()
    seen: dict[bytes, list[np.ndarray]] = {}
    tasks = [(str(data), path) for path in paths]
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        results = pool.imap(_prepare_one, tasks, chunksize=32)
        for path, result in zip(
            paths, tqdm(results, total=len(paths), unit="img", disable=None), strict=True
        ):
            if isinstance(result, str):
                dropped[f"{path.split('/')[0]}: {result}"] += 1
                continue
            if _is_copy(result[0], seen):
                dropped[f"{path.split('/')[0]}: copy"] += 1
                continue
            images[len(kept)], inside[len(kept)] = result
            kept.append(path)
    for name, array in (("images", images), ("inside", inside)):
        final = np.lib.format.open_memmap(
            out / f"{name}.npy", "w+", array.dtype, (len(kept), *array.shape[1:])
        )
        for start in range(0, len(kept), 1024):
            final[start : min(start + 1024, len(kept))] = array[start : min(start + 1024, len(kept))]
        final.flush()
        (out / f"{name}.part.npy").unlink()
    np.save(out / "labels.npy", _label_rows([labels[path] for path in kept], chosen))
    index = Index(
        chosen,
        list(SOURCES),
        [SOURCES.index(path.split("/")[0]) for path in kept],
        [split_of(path) for path in kept],
        kept,
        LICENCES,
    )
    write_index(out, index)
    for why, count in sorted(dropped.items()):
        report(f"dropped {count}: {why}")
    report(f"{len(kept)} images in {out}")
    return index


def _is_copy(aligned: np.ndarray, seen: dict[bytes, list[np.ndarray]]) -> bool:
    """Whether a picture like this one was seen: same coarse difference hash, and thumbnails nearly equal."""
    grey = Image.fromarray(aligned).convert("L")
    thumbnail = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), np.float32)
    small = np.asarray(grey.resize((7, 6), Image.Resampling.BOX), np.float32)
    key = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    near = seen.setdefault(key, [])
    if any(np.abs(thumbnail - other).mean() < DUPLICATE_DISTANCE for other in near):
        return True
    near.append(thumbnail)
    return False


def _label_rows(values: list[dict[str, str]], attributes: AttributeSet) -> np.ndarray:
    rows = np.full((len(values), len(attributes)), -1, np.int8)
    for row, said in zip(rows, values, strict=True):
        for k, attribute in enumerate(attributes):
            if attribute.name in said:
                row[k] = attribute.index(said[attribute.name])
    return rows
