"""A picture of what a model does: originals, reconstructions, and one column a value of each attribute."""

from __future__ import annotations

import numpy as np
import torch

from core.attributes import AttributeSet
from core.model import Codes, Model, to_bytes
from core.recipe import Swap
from core.training.dataset import Dataset


def sample_grid(model: Model, dataset: Dataset, residuals: torch.Tensor | None = None) -> np.ndarray:
    """(rows * S, columns * S, 3) uint8: one row an image of `dataset`.

    The first two columns are the image and its reconstruction; the others are swaps. `residuals`
    (n, R) are used in place of the encoder's codes.
    """
    size = model.card.image_size
    images, _ = dataset.batch(np.arange(len(dataset)), size)
    pixels = ((images.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    codes = model.encode(pixels)
    if residuals is not None:
        codes = Codes(residuals, codes.attributes, codes.probabilities)
    columns = [pixels, to_bytes(model.decode(codes))]
    for attribute in model.card.attributes:
        columns += [
            to_bytes(model.decode(model.swap(codes, [Swap(attribute.name, v.name)])))
            for v in attribute.values
        ]
    grid = np.concatenate([np.concatenate(list(column), 0) for column in columns], 1)
    return np.repeat(grid, 3, 2) if grid.shape[2] == 1 else grid


def grid_columns(attributes: AttributeSet) -> list[dict[str, str]]:
    """What each column of `sample_grid` shows: `kind` original, decoded or swap, then attribute and value."""
    swaps = [
        {"kind": "swap", "attribute": a.name, "value": v.name, "title": f"{a.title}: {v.title}"}
        for a in attributes
        for v in a.values
    ]
    return [{"kind": "original", "title": "Original"}, {"kind": "decoded", "title": "Decoded"}, *swaps]
