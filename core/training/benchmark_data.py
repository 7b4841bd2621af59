"""Benchmarks as prepared images: a random part of a factor grid, with labels for some of it.

Beside what every prepared folder holds (see `core.training.dataset`) there are all factors of all images,
those of the residual too, for measuring only: `factors.npy` (N, F) int64 and `factors.json` with their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from core.benchmarks.base import Benchmark, attributes_of
from core.errors import StudioError
from core.files import atomic_write
from core.training.dataset import SPLITS, Index, label_type, need_space, write_index

BATCH = 1000


class FactorNames(msgspec.Struct, frozen=True):
    """What factors.json holds: the columns of factors.npy, and where the images are from."""

    benchmark: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    original: bool = False  # the original's own files, or images rendered here


def prepare_benchmark(
    benchmark: Benchmark,
    out: Path,
    attributes: Sequence[str],
    images: int = 20_000,
    labels: int = 1_000,
    held_out: int = 5_000,
    seed: int = 0,
    original: bool = False,
    together: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Write a prepared folder of `images` for training and `held_out` for measuring, drawn without repeats.

    Each attribute has `labels` labels; they are on the same training images for all attributes where
    `together`, as in the paper's code, otherwise on each attribute's own. Held-out images have all labels.
    `progress` is told how many images of how many are written. StudioError if the benchmark has too few
    images or no such factor, or the disk is too full.
    """
    wanted = images + held_out
    if images < 1 or held_out < 0 or labels < 0 or wanted > len(benchmark) or labels > images:
        raise StudioError(
            f"{benchmark.name} has {len(benchmark)} images: {images} with {labels} labels "
            f"and {held_out} held out can't be drawn.",
            "Ask for other numbers of images or labels.",
        )
    if not attributes or len(set(attributes)) != len(attributes):
        raise StudioError(
            "The factors that are attributes are not named, or one is named twice.",
            "Set benchmark.attributes.",
        )
    chosen = attributes_of(benchmark, attributes)
    rng = np.random.default_rng(seed)
    indices = rng.choice(len(benchmark), wanted, replace=False)
    factors = benchmark.factors(indices)
    rows = np.full((wanted, len(attributes)), -1, label_type(chosen))
    shared = rng.choice(images, labels, replace=False)
    for k, name in enumerate(attributes):
        chosen_images = shared if together else rng.choice(images, labels, replace=False)
        known = np.concatenate([chosen_images, np.arange(images, wanted)])
        rows[known, k] = factors[known, benchmark.factor_names.index(name)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.json").unlink(missing_ok=True)
    shape = benchmark.images(indices[:1]).shape[1:]
    need_space(out, wanted * int(np.prod(shape)) + factors.nbytes)
    stored = np.lib.format.open_memmap(out / "images.npy", "w+", np.uint8, (wanted, *shape))
    for start in range(0, wanted, BATCH):
        end = min(start + BATCH, wanted)
        stored[start:end] = benchmark.images(indices[start:end])
        if progress:
            progress(end, wanted)
    stored.flush()
    np.save(out / "labels.npy", rows)
    np.save(out / "factors.npy", factors)
    names = FactorNames(
        benchmark.name, tuple(benchmark.factor_names), tuple(benchmark.factor_sizes), original
    )
    with atomic_write(out / "factors.json", overwrite=True) as file:
        file.write(msgspec.json.encode(names))
    split = [SPLITS.index("train")] * images + [SPLITS.index("held_out")] * held_out
    index = Index(chosen, [benchmark.name], [0] * wanted, split)
    write_index(out, index)
    return index


def read_factors(folder: Path) -> tuple[FactorNames, np.ndarray]:
    """Names and (N, F) int64 values of all factors of a folder; StudioError if it is no benchmark's."""
    try:
        names = msgspec.json.decode((folder / "factors.json").read_bytes(), type=FactorNames)
        factors = np.load(folder / "factors.npy")
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise StudioError(
            f"{folder} holds no benchmark: {error}.", "Prepare it with “python main.py benchmark”."
        ) from error
    if factors.ndim != 2 or factors.shape[1] != len(names.names):
        raise StudioError(f"The factors in {folder} don't fit their names.", "Prepare the benchmark again.")
    return names, factors
