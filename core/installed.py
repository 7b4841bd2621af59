"""Which models are on this machine. Imports nothing slow: the window reads this on its own thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.errors import StudioError
from core.paths import resources, user_data

CARD = "card.json"


@dataclass(frozen=True)
class Installed:
    """A model's folder, and what its card calls it."""

    folder: Path
    title: str


class _Title(msgspec.Struct):
    title: str = ""


def user_models_folder() -> Path:
    """Where a user's own models are: `models` in the program's folder for user data."""
    return user_data() / "models"


def list_models() -> list[Path]:
    """Folders of all models: the program's own first, then the user's."""
    roots = (resources() / "models", user_models_folder())
    return [card.parent for root in roots for card in sorted(root.glob(f"*/{CARD}"))]


def default_model() -> Path:
    """The starter model's folder."""
    models = list_models()
    if not models:
        raise StudioError("No model is installed.", "Install the program again, or import a model.")
    return models[0]


def installed_models() -> list[Installed]:
    """All models with their titles; one whose card can't be read goes by its folder's name."""
    found = []
    for folder in list_models():
        try:
            title = msgspec.json.decode((folder / CARD).read_bytes(), type=_Title).title
        except (OSError, msgspec.MsgspecError):
            title = ""
        found.append(Installed(folder, title or folder.name))
    return found
