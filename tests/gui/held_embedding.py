"""`main.py _embed` that waits after its first batch, for as long as the file HOLD is there or until it is
stopped: on a fast machine all would be done between two looks of the window.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import main
from core.clip import ClipModel, embed
from core.collection import Collection

HOLD = Path(os.environ["HOLD"])
all_images = embed.embed_images


def held(
    collection: Collection, model: ClipModel, ids: np.ndarray, cancelled: Callable[[], bool]
) -> Iterator[embed.EmbedReport]:
    """Go on once what was yielded is told."""
    for batch in all_images(collection, model, ids, cancelled):
        yield batch
        while HOLD.exists() and not cancelled():
            time.sleep(0.01)


if __name__ == "__main__":
    embed.embed_images = held  # type: ignore[assignment]
    sys.exit(main.main(sys.argv[1:]))
