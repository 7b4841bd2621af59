"""Images that are the same, byte for byte, or that look alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Two signatures of 128 bits in at most so many differ: see core.collection.fingerprint.
NEAR = 7
_BANDS = 8


def exact_groups(ids: np.ndarray, digests: np.ndarray) -> list[np.ndarray]:
    """Ids (sorted) of each group of two or more images whose files are equal; `digests` (N, 32) uint8."""
    if not len(ids):
        return []
    keys = np.ascontiguousarray(digests).view("V32").reshape(-1)
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
    return _sorted_groups([ids[group] for group in np.split(order, ends)])


def near_groups(
    ids: np.ndarray,
    signatures: np.ndarray,
    distance: int = NEAR,
    cancelled: Callable[[], bool] | None = None,
) -> list[np.ndarray]:
    """Ids (sorted) of each group of two or more images that look alike, equal ones included.

    `signatures` (N, 16) uint8. Images are in one group if a chain of pairs that differ in at most `distance`
    bits (0 to 7) joins them. Two such signatures agree in one of eight bands of 16 bits, so that only images
    with equal bands are compared: all pairs are found. An empty list if `cancelled`.
    """
    if not 0 <= distance < _BANDS:
        raise ValueError(f"a distance of {distance} bits: only 0 to {_BANDS - 1} are found without gaps")
    if len(ids) < 2:
        return []
    words = np.ascontiguousarray(signatures).view(np.uint64)  # (N, 2)
    unique, member = np.unique(words, axis=0, return_inverse=True)
    member = member.reshape(-1)
    bands = np.ascontiguousarray(unique).view(np.uint16)  # (U, 8)
    pairs: list[np.ndarray] = []
    for band in range(_BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        pairs += _close(unique[order], bands[order, band], order, distance, cancelled)
        if cancelled is not None and cancelled():
            return []
    return _sorted_groups([ids[group] for group in _joined(len(unique), pairs, member)])


def _close(
    words: np.ndarray,
    keys: np.ndarray,
    names: np.ndarray,
    distance: int,
    cancelled: Callable[[], bool] | None,
) -> list[np.ndarray]:
    """Pairs (P, 2) of `names` with equal `keys` (sorted) whose words differ in at most `distance` bits.

    Each row is compared with the one 1 further on, then 2, for as long as any keys are equal.
    """
    found = []
    rows, step = np.arange(len(keys)), 0
    while len(rows):
        step += 1
        rows = rows[rows + step < len(keys)]
        rows = rows[keys[rows] == keys[rows + step]]
        bits = np.bitwise_count(words[rows] ^ words[rows + step]).sum(1)  # uint8 holds 128
        near = rows[bits <= distance]
        if len(near):
            found.append(np.stack([names[near], names[near + step]], 1))
        if cancelled is not None and cancelled():
            break
    return found


def _joined(count: int, pairs: list[np.ndarray], member: np.ndarray) -> list[np.ndarray]:
    """Positions in `member` of each connected group of the `count` things that `pairs` join."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    own = component[member]
    order = np.argsort(own, kind="stable")
    return np.split(order, np.flatnonzero(own[order][1:] != own[order][:-1]) + 1)


def _sorted_groups(groups: list[np.ndarray]) -> list[np.ndarray]:
    return sorted((np.sort(group) for group in groups if len(group) > 1), key=lambda group: int(group[0]))
