"""The one way the originals are brought to 64 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.benchmarks.base import IMAGE_SIZE


def resized(images: np.ndarray) -> np.ndarray:
    """(n, H, W) or (n, H, W, 3) uint8 to (n, 64, 64, 1 or 3) uint8, by Lanczos as in the usual evaluation."""
    channels = images.shape[3] if images.ndim == 4 else 1
    result = np.empty((len(images), IMAGE_SIZE, IMAGE_SIZE, channels), dtype=np.uint8)
    for out, image in zip(result, images, strict=True):
        # a copy, because a row of a memory map need not be contiguous
        small = Image.fromarray(np.ascontiguousarray(image)).resize(
            (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS
        )
        out[:] = np.asarray(small).reshape(IMAGE_SIZE, IMAGE_SIZE, channels)
    return result
