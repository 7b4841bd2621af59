"""Benchmarks by name: the originals where a path is given, renders where there are some."""

from __future__ import annotations

from pathlib import Path

from core.benchmarks.base import Benchmark
from core.benchmarks.cars3d import Cars3DFiles
from core.benchmarks.dsprites import DSpritesFile, DSpritesRenderer
from core.benchmarks.shapes3d import Shapes3DFile, Shapes3DRenderer
from core.benchmarks.smallnorb import SmallNORBFiles
from core.errors import StudioError

NAMES = ("dsprites", "shapes3d", "cars3d", "smallnorb")
RENDERED = ("dsprites", "shapes3d")


def open_benchmark(name: str, path: Path | None = None) -> Benchmark:
    """The original at `path` (a file for dsprites and shapes3d, a folder for the others), or its renderer.

    StudioError for an unknown name, for a benchmark that can't be rendered without a path, and where the
    originals can't be read.
    """
    if name not in NAMES:
        raise StudioError(f"There is no benchmark “{name}”.", "There is: " + ", ".join(NAMES) + ".")
    if path is None:
        if name not in RENDERED:
            raise StudioError(f"{name} can't be rendered here.", "Give the folder of its original files.")
        return DSpritesRenderer() if name == "dsprites" else Shapes3DRenderer()
    if not path.exists():
        raise StudioError(f"There is nothing at {path}.", f"Give the original files of {name}.")
    if name == "dsprites":
        return DSpritesFile(path)
    if name == "shapes3d":
        return Shapes3DFile(path)
    return Cars3DFiles(path) if name == "cars3d" else SmallNORBFiles(path)
