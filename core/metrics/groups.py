"""Codes in groups: one attribute's code is a vector, and the metrics judge whole vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Codes = np.ndarray | Sequence[np.ndarray]


def grouped(codes: Codes) -> list[np.ndarray]:
    """The G groups as a list of (N, d) float64 arrays.

    `codes` is (N, G): one number a group; (N, G, D): a vector of D numbers a group; or a sequence of G
    arrays (N, d) or (N,), whose d may differ (attribute codes, then the residual's). ValueError where
    they have different N, no groups, or numbers that are not finite.
    """
    if isinstance(codes, np.ndarray):
        if codes.ndim not in (2, 3):
            raise ValueError(f"Codes are (N, G) or (N, G, D), not {codes.shape}.")
        parts = [codes[:, g] for g in range(codes.shape[1])]
    else:
        parts = [np.asarray(part) for part in codes]
    parts = [part.reshape(len(part), -1).astype(np.float64) for part in parts]
    if not parts or len({len(part) for part in parts}) != 1:
        raise ValueError("There are no groups of codes, or they differ in length.")
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError("Codes have numbers that are not finite.")
    return parts


def checked_factors(factors: np.ndarray, count: int) -> np.ndarray:
    """`factors` as (N, F) int64; ValueError where they don't fit N or one never varies."""
    array = np.asarray(factors)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or len(array) != count or not array.shape[1]:
        raise ValueError(f"Factors are (N, F) with N = {count}, not {np.shape(factors)}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError("Factors are whole numbers.")
    for f in range(array.shape[1]):
        if (array[:, f] == array[0, f]).all():
            raise ValueError(f"Factor {f} has only one value in these samples.")
    return array.astype(np.int64)


def sample(count: int, most: int | None, seed: int) -> np.ndarray:
    """At most `most` of 0..count - 1 without repeats, in random order: what a metric is measured on."""
    order = np.random.default_rng(seed).permutation(count)
    return order if most is None else order[:most]


def split(count: int, test_share: float = 0.2) -> tuple[slice, slice]:
    """Training and test part of `count` samples that are in random order already."""
    test = max(1, round(count * test_share))
    if count - test < 1:
        raise ValueError("There are too few samples to split them.")
    return slice(0, count - test), slice(count - test, count)
