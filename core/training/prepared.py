"""From what a person names with --data to a prepared folder: the raw shared faces are prepared once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from core.paths import user_cache


def prepared_folder(data: Path, report: Callable[[str], None], root: Path | None = None) -> Path:
    """`data` itself, or for the raw shared faces the folder they were prepared in, made first if need be.

    It is kept under `root`, by default the user's cache folder, and named after where `data` is. What is
    done is told to `report`. A folder that is neither is left to `Dataset.open`, which says so.
    """
    raw = (data / "celeba_attributes.csv").is_file() and not (data / "index.json").exists()
    if not raw:
        return data
    root = root or user_cache() / "prepared"
    name = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:12]
    out = root / f"{data.resolve().name}-{name}"
    if (out / "index.json").is_file():
        report(f"{data} holds photographs as they came; they were prepared before, in {out}.")
        return out
    from core.training.faces_data import prepare_faces

    report(f"{data} holds photographs as they came: preparing them in {out}, once, in some 20 minutes.")
    prepare_faces(data, out, report=report)
    return out
