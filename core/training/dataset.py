"""Prepared images: a folder of memory-mapped arrays that training and evaluation read.

    images.npy  (N, S, S, C) uint8      inside.npy  (N, S, S) bool: false where the photo ended
    labels.npy  (N, K) int8 or int16, -1 unknown
    index.json  the attributes, the splits, the sources

Images are read by row from the map, so memory stays flat however many there are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch

from core.attributes import AttributeSet
from core.errors import StudioError
from core.files import atomic_write
from core.model import OUTSIDE_VALUE

# `train` and `judge` are disjoint halves: the model learns from one, the judge of its swaps from the other.
SPLITS = ("train", "judge", "held_out")
FILES = ("index.json", "images.npy", "inside.npy", "labels.npy")  # the first makes a prepared folder of them


class Index(msgspec.Struct):
    """What index.json holds. `split` and `source` hold each image's place in SPLITS and in `sources`.

    Of a Collection also each image's id, and who labelled it: a digit an attribute, a place in
    `core.collection.SOURCES`.
    """

    attributes: AttributeSet
    sources: list[str]
    source: list[int]
    split: list[int]
    names: list[str] = []
    licences: dict[str, str] = {}
    ids: list[int] = []
    label_sources: list[str] = []
    schema: int = 1


@dataclass(frozen=True)
class Dataset:
    """Images with partial labels. `rows` are the rows of the arrays that belong to this part."""

    folder: Path
    index: Index
    images: np.ndarray
    inside: np.ndarray | None
    labels: np.ndarray
    rows: np.ndarray = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """All images of a prepared folder; StudioError if it is not one."""
        try:
            index = msgspec.json.decode((folder / "index.json").read_bytes(), type=Index)
            images = np.load(folder / "images.npy", mmap_mode="r")
            inside_file = folder / "inside.npy"
            inside = np.load(inside_file, mmap_mode="r") if inside_file.exists() else None
            labels = np.load(folder / "labels.npy")
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise StudioError(
                f"{folder} holds no prepared images: {error}.", "Run “python main.py prepare” first."
            ) from error
        if len(images) != len(labels) or labels.shape[1] != len(index.attributes):
            raise StudioError(
                f"The prepared images in {folder} don't fit their labels.", "Prepare them again."
            )
        return cls(folder, index, images, inside, labels, np.arange(len(images)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def attributes(self) -> AttributeSet:
        """The attributes that the labels are of."""
        return self.index.attributes

    def part(self, split: str) -> Dataset:
        """The images of one split."""
        chosen = np.asarray(self.index.split)[self.rows] == SPLITS.index(split)
        return self.take(np.flatnonzero(chosen))

    def take(self, positions: np.ndarray) -> Dataset:
        """The images at `positions` of this part."""
        return Dataset(self.folder, self.index, self.images, self.inside, self.labels, self.rows[positions])

    def label_array(self) -> np.ndarray:
        """(n, K) int64 labels of this part, -1 unknown."""
        return self.labels[self.rows].astype(np.int64)

    def batch(self, positions: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C, size, size) images in -1..1 and (n, 1, size, size) weights, 0 where the photo ended.

        `size` is the stored size divided by a power of two; reduction is the mean of whole blocks.
        """
        rows = self.rows[positions]
        order = np.argsort(rows)  # a memory map is read in order
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        images = torch.from_numpy(self.images[rows[order]][back]).permute(0, 3, 1, 2).float()
        inside = self.inside_of(positions, size)
        factor = images.shape[3] // size
        if factor > 1:
            images = torch.nn.functional.avg_pool2d(images, factor)
        images = images.div_(127.5).sub_(1.0)
        # exactly what Model.encode sees outside: mid grey
        images = torch.where(inside > 0, images, torch.tensor(OUTSIDE_VALUE))
        return images.contiguous(memory_format=torch.channels_last), inside

    def inside_of(self, positions: np.ndarray, size: int) -> torch.Tensor:
        """The weights that `batch` gives, alone."""
        if self.inside is None:
            return torch.ones(len(positions), 1, size, size)
        inside = torch.from_numpy(self.inside[self.rows[positions]])[:, None].float()
        factor = inside.shape[3] // size
        return torch.nn.functional.avg_pool2d(inside, factor).floor() if factor > 1 else inside


def remove_files(folder: Path) -> None:
    """Before a folder is prepared again. Written over, they would change in the runs that share them."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def write_index(folder: Path, index: Index) -> None:
    """Write index.json; last, so that an interrupted preparation is no prepared folder."""
    with atomic_write(folder / "index.json", overwrite=True) as file:
        file.write(msgspec.json.encode(index))


def need_space(folder: Path, size: int) -> None:
    """StudioError if the disk has no room for `size` bytes of images."""
    if shutil.disk_usage(folder).free < size + 2**20:
        raise StudioError(
            f"The disk has too little space for {size / 2**20:.0f} MB of images.",
            "Free some space, or ask for fewer images.",
        )


def label_type(attributes: AttributeSet) -> type[np.signedinteger]:
    """The smallest type that labels of these attributes fit in."""
    most = max((len(a.values) for a in attributes), default=0)
    return np.int8 if most <= 128 else np.int16


class RowFile:
    """A .npy file that grows row by row, for arrays whose length is known only at the end.

    Used as a context: the header gets the true length when the block ends, also with an error.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self.row_shape, self.dtype, self.count = row_shape, np.dtype(dtype), 0
        self.file = path.open("wb")
        self._header()
        self.start = self.file.tell()

    def _header(self) -> None:
        # NumPy leaves room in the header for any length of the first axis
        shape = (self.count, *self.row_shape)
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(
            self.file, {"descr": descr, "fortran_order": False, "shape": shape}
        )

    def append(self, row: np.ndarray) -> None:
        """Add one row; ValueError if it has another shape or type."""
        if row.shape != self.row_shape or row.dtype != self.dtype:
            raise ValueError(f"a row of {row.dtype} {row.shape} among {self.dtype} {self.row_shape}")
        self.file.write(np.ascontiguousarray(row).tobytes())
        self.count += 1

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.seek(0)
        self._header()
        assert self.file.tell() == self.start
        self.file.close()


def balance_weights(labels: np.ndarray, power: float = 0.5) -> np.ndarray:
    """Sampling weights (n,) with mean 1 that favour images with rare values.

    The weight is the largest over the known labels of (attribute's mean count / value's count) ** power.
    """
    weights = np.ones(len(labels))
    for k in range(labels.shape[1]):
        known = labels[:, k] >= 0
        if not known.any():
            continue
        counts = np.bincount(labels[known, k])
        mean = counts.sum() / max(1, (counts > 0).sum())
        weights[known] = np.maximum(weights[known], (mean / counts[labels[known, k]]) ** power)
    return weights / weights.mean()


def drawing_weights(labels: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) probabilities of drawing each image, and the same for what learns from labels (n, K) alone.

    An image without any label has nothing to say there. Balanced by `power` (`balance_weights`), 0 is not.
    """
    weights = balance_weights(labels, power) if power else np.ones(len(labels))
    weights = weights / weights.sum()
    labelled = weights * (labels >= 0).any(1)
    return weights, labelled / labelled.sum() if labelled.any() else weights


def log_priors(labels: np.ndarray, weights: np.ndarray, value_counts: Sequence[int]) -> list[torch.Tensor]:
    """K tensors (V_k): the logarithm of how often each value is seen among labels (n, K) drawn by `weights`
    (n,).

    Without it, a classifier's logits say what an image shows were all values equally frequent, as the targets
    of swaps are (Menon et al. 2021, "Long-tail learning via logit adjustment", equation 10). Zero for an
    attribute without labels, and as though each value had been seen once more.
    """
    priors = []
    for k, count in enumerate(value_counts):
        known = labels[:, k] >= 0
        seen = np.bincount(labels[known, k], weights[known], count) + weights.mean()
        share = seen / seen.sum() if known.any() else np.ones(count)
        priors.append(torch.from_numpy(np.log(share)).float())
    return priors
