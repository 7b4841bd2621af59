"""What every benchmark offers: images by index, and the factors that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from core.attributes import Attribute, AttributeSet, Value
from core.errors import StudioError

IMAGE_SIZE = 64


class Benchmark(Protocol):
    """Images whose factors are known exactly.

    `factors` and `images` take an array of indices in any order, with repeats; they raise IndexError
    for an index outside 0..len - 1.
    """

    @property
    def name(self) -> str:
        """Short name: dsprites, shapes3d, cars3d or smallnorb."""
        ...

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the F factors, in the order of the original."""
        ...

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """How many values each factor has."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def images(self, indices: np.ndarray) -> np.ndarray:
        """(n, 64, 64, C) uint8."""
        ...

    def factors(self, indices: np.ndarray) -> np.ndarray:
        """(n, F) int64, each in 0..size - 1."""
        ...


@dataclass(frozen=True)
class Grid:
    """Every combination of factors once, the last factor fastest: how the originals number their images."""

    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return prod(self.sizes)

    def factors(self, indices: np.ndarray) -> np.ndarray:
        """(n, F) int64 factors of the images `indices` (n,)."""
        indices = checked(indices, len(self))
        return np.stack(np.unravel_index(indices, self.sizes), axis=1).astype(np.int64)

    def indices(self, factors: np.ndarray) -> np.ndarray:
        """(n,) int64 indices of the images with `factors` (n, F); ValueError where one is out of range."""
        columns = np.asarray(factors, dtype=np.int64).reshape(-1, len(self.sizes)).T
        return np.asarray(np.ravel_multi_index(tuple(columns), self.sizes), dtype=np.int64)


class Combined:
    """The factors of a benchmark that has an image of every combination."""

    def __init__(self, factor_sizes: tuple[int, ...]) -> None:
        self.factor_sizes = factor_sizes
        self.grid = Grid(factor_sizes)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.grid)

    def factors(self, indices: np.ndarray) -> np.ndarray:
        """(n, F) int64, each in 0..size - 1."""
        return self.grid.factors(indices)


class Listed:
    """The factors of a benchmark that is read from its original files: (N, F), each from 0 on."""

    def __init__(self, factors: np.ndarray) -> None:
        self._factors = factors.astype(np.uint8)
        self.factor_sizes = tuple(int(v) + 1 for v in self._factors.max(axis=0))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._factors)

    def factors(self, indices: np.ndarray) -> np.ndarray:
        """(n, F) int64, each in 0..size - 1."""
        return self._factors[checked(indices, len(self))].astype(np.int64)


def checked(indices: np.ndarray | Sequence[int], count: int) -> np.ndarray:
    """`indices` as (n,) int64; IndexError if one is outside 0..count - 1 (negative ones included)."""
    array = np.atleast_1d(np.asarray(indices))
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise IndexError("Indices of images are a list of whole numbers.")
    array = array.astype(np.int64)
    if array.size and (array.min() < 0 or array.max() >= count):
        raise IndexError(f"An index is outside 0..{count - 1}.")
    return array


def attributes_of(benchmark: Benchmark, factors: Sequence[str] | None = None) -> AttributeSet:
    """The factors as attributes whose values are named by their numbers; all, or those called `factors`."""
    sizes = dict(zip(benchmark.factor_names, benchmark.factor_sizes, strict=True))
    unknown = [name for name in factors or () if name not in sizes]
    if unknown:
        raise StudioError(
            f"{benchmark.name} has no factor “{unknown[0]}”.", "It has: " + ", ".join(sizes) + "."
        )
    return AttributeSet(
        benchmark.name,
        benchmark.name,
        tuple(
            Attribute(
                name,
                name.replace("_", " ").capitalize(),
                tuple(Value(str(v), str(v)) for v in range(sizes[name])),
            )
            for name in (sizes if factors is None else factors)
        ),
    )
