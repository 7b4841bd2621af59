"""The baseline of `bench annotate`: the loop that open_clip's documentation leads to, and nothing more.

One file at a time through PIL and the model's own preprocessing, stacked to batches of 32, encoded in fp32
as torch lays it out by default, normalised. No DataLoader, no threads for reading, no smaller decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.clip import ClipChoice

BATCH = 32


def load(choice: ClipChoice) -> tuple[Any, Any]:
    """Model and preprocessing: of a folder in local-dir layout, a file of weights, or the hub's cache."""
    import open_clip

    if choice.path is not None and choice.path.is_dir():
        name, pretrained = f"local-dir:{choice.path}", None
    else:
        name, pretrained = choice.architecture, str(choice.path or choice.pretrained)
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=pretrained)
    return model.eval(), preprocess


def embed_files(model: Any, preprocess: Any, paths: Sequence[Path]) -> np.ndarray:
    """(N, D) float32 of unit length."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(paths), BATCH):
            batch = torch.stack(
                [preprocess(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
            )
            found = model.encode_image(batch)
            rows.append((found / found.norm(dim=-1, keepdim=True)).numpy())
    return np.concatenate(rows)
