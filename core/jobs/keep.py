"""A run's model becomes one of the user's: copied to their models folder, under a name of its own."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import msgspec

from core.errors import StudioError


def keep_model(model: Path, title: str = "", models: Path | None = None) -> Path:
    """Copy a model's folder to the user's models under `title` (its own by default); the new folder.

    It appears whole or not at all, and never replaces another model. StudioError where it can't be.
    """
    from core.installed import user_models_folder
    from core.model import load_card, save_card

    card = load_card(model)
    title = title.strip() or card.title
    root = user_models_folder() if models is None else models
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".keep-", dir=root) as made:
            copy = Path(made) / "model"
            shutil.copytree(model, copy)
            folder = free_folder(root, title)
            save_card(msgspec.structs.replace(card, name=folder.name, title=title), copy)
            copy.rename(folder)
    except OSError as error:
        raise StudioError(
            f"The model can't be put into {root}: {error.strerror or error}.", "Free some space there."
        ) from error
    return folder


def free_folder(root: Path, title: str) -> Path:
    """A folder in `root` that doesn't exist, named after a title."""
    stem = re.sub(r"\W+", "-", title.lower()).strip("-")[:60] or "model"
    folder, number = root / stem, 1
    while folder.exists():
        number += 1
        folder = root / f"{stem}-{number}"
    return folder
