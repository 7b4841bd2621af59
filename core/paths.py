"""Where the program's own files and a user's are, from source and in the frozen bundle."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs

_NAME = "zerodim-studio"


def resources() -> Path:
    """The `resources` folder."""
    root = Path(getattr(sys, "_MEIPASS", Path(__file__).resolve().parent.parent))
    return root / "resources"


def user_data() -> Path:
    """The program's folder for what belongs to the user: models, runs, downloads."""
    return Path(platformdirs.user_data_dir(_NAME, appauthor=False))


def user_cache() -> Path:
    """The program's folder for what can be made again."""
    return Path(platformdirs.user_cache_dir(_NAME, appauthor=False))
