"""Where the program's own files are, from source and in the frozen bundle."""

from __future__ import annotations

import sys
from pathlib import Path


def resources() -> Path:
    """The `resources` folder."""
    root = Path(getattr(sys, "_MEIPASS", Path(__file__).resolve().parent.parent))
    return root / "resources"
