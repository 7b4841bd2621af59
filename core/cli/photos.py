"""Which photos a command line means, and where each result goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from core.cli.terminal import UsageError
from core.errors import StudioError
from core.images import PHOTO_SUFFIXES, SAVE_FORMATS

# Formats that can be opened but not saved are saved as this, which loses nothing.
FALLBACK_SUFFIX = ".png"


def photos_of(named: Iterable[Path]) -> list[Path]:
    """The photos and, for each folder, the photos in it by name; a path twice counts once.

    A missing photo stays in the list, so that it fails on its own; StudioError for a folder without photos.
    """
    found: dict[Path, None] = {}
    for path in named:
        if not path.is_dir():
            found[path] = None
            continue
        inside = [p for p in sorted(path.iterdir()) if is_photo(p)]
        if not inside:
            raise StudioError(f"There is no photo in {path}.", "It may be in a folder inside: name that one.")
        found.update(dict.fromkeys(inside))
    return list(found)


def is_photo(path: Path) -> bool:
    """Whether a folder's file counts as a photo: by suffix, and not hidden."""
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and path.is_file()


def outputs(photos: Sequence[Path], out: Path, *, folder: bool) -> list[Path]:
    """Where each photo's edit goes: `out` itself, or NAME-edited in the folder `out`."""
    if not folder:
        if out.suffix.lower() not in SAVE_FORMATS:
            suffixes = ", ".join(sorted(SAVE_FORMATS))
            raise UsageError(f"--out {out}: a photo can't be saved with this suffix. Use one of {suffixes}.")
        return [out]
    taken: set[str] = set()
    results = []
    for photo in photos:
        suffix = photo.suffix if photo.suffix.lower() in SAVE_FORMATS else FALLBACK_SUFFIX
        name, number = f"{photo.stem}-edited{suffix}", 1
        # two folders may hold photos of one name
        while name.lower() in taken:
            number += 1
            name = f"{photo.stem}-edited-{number}{suffix}"
        taken.add(name.lower())
        results.append(out / name)
    return results


def make_folder(folder: Path) -> None:
    """Make a folder for results; StudioError if that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(
            f"The folder {folder} can't be made: {error.strerror}.", "Give another to --out."
        ) from error
