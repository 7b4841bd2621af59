"""Made-up collections of any size without image files, for benchmarks and tests of speed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from core.attributes import AttributeSet
from core.collection.collection import Collection
from core.collection.schema import PRESENT
from core.collection.tables import CLIP, NONE, PERSON


def synthetic_collection(
    folder: Path, attributes: AttributeSet, count: int, labelled: float = 0.0, seed: int = 0
) -> Collection:
    """A new collection of `count` images that have rows, digests and signatures, but no files.

    The share `labelled` of the images gets a random label of each attribute, a tenth of them by a person, the
    rest by CLIP with a reason; not as an action, so that undo has nothing to take back. `scan` would find all
    of the files vanished: don't.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    collection = Collection.create(folder, attributes)
    store = collection._store
    digests, signatures = rng.bytes(32 * count), rng.bytes(16 * count)
    now = time.time()
    with store.writing() as connection:
        connection.executemany(
            "INSERT INTO image (path, bytes, modified, digest, width, height, state, added, signature) "
            f"VALUES (?, ?, ?, ?, 178, 218, {PRESENT}, ?, ?)",
            (
                (
                    f"folder {i // 1000:03d}/image {i:06d}.jpg", 9000 + i % 1000, int((now - i) * 1e9),
                    digests[32 * i : 32 * i + 32], now, signatures[16 * i : 16 * i + 16],
                )
                for i in range(count)
            ),
        )  # fmt: skip
        store.images_changed()
        stored = store.attribute_set()
        for number, values in zip(stored.attribute_ids, stored.value_ids, strict=True):
            chosen = np.flatnonzero(rng.random(count) < labelled) + 1
            value = np.array([v[0] for v in values])[rng.integers(0, len(values), len(chosen))]
            person = rng.random(len(chosen)) < 0.1
            texts = [f'{{"rule":"topk","score":{x:.4f}}}' for x in rng.random(len(chosen))]
            store.write_labels(
                number,
                chosen,
                {
                    "value": value.astype(np.int32),
                    "source": np.where(person, PERSON, CLIP).astype(np.uint8),
                    "time": np.full(len(chosen), now),
                    "reason": np.where(person, 0, store.write_reasons(texts)),
                    "machine": np.where(person, 0, value).astype(np.int32),
                    "machine_source": np.where(person, NONE, CLIP).astype(np.uint8),
                },
            )
    return collection
