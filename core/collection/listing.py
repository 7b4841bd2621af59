"""The image files below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import StudioError
from core.images import PHOTO_SUFFIXES


@dataclass(frozen=True)
class Found:
    """A file's size in bytes and its time of change in nanoseconds since 1970."""

    bytes: int
    modified: int


def list_images(
    folder: Path, cancelled: Callable[[], bool] | None = None
) -> tuple[dict[str, Found], list[str]]:
    """Files by path relative to `folder`, with slashes, in order; and what was left out, as sentences.

    Hidden files and folders (their name begins with a dot) are skipped, links to folders not followed.
    Stops early, with what it has, once `cancelled` returns true. StudioError if there is no such folder.
    """
    if not folder.is_dir():
        raise StudioError(f"There is no folder {folder}.", "Give a folder of images.")
    found: dict[str, Found] = {}
    problems: list[str] = []
    waiting = [""]
    while waiting and not (cancelled is not None and cancelled()):
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    name = f"{below}/{entry.name}" if below else entry.name
                    if entry.name.startswith("."):
                        continue
                    try:
                        _take(entry, name, found, waiting)
                    except UnicodeEncodeError:
                        shown = name.encode("utf-8", "replace").decode()
                        problems.append(f"{shown}: its name is not valid text.")
        except OSError as error:
            problems.append(f"{below or folder}: the folder can't be read: {error.strerror or error}.")
    return dict(sorted(found.items())), problems


def _take(entry: os.DirEntry[str], name: str, found: dict[str, Found], waiting: list[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        waiting.append(name)
        return
    if os.path.splitext(entry.name)[1].lower() not in PHOTO_SUFFIXES:  # noqa: PTH122 (100,000 times)
        return
    try:
        if not entry.is_file():
            return
        about = entry.stat()
    except OSError:  # gone, or a link to nowhere
        return
    name.encode()
    found[name] = Found(about.st_size, about.st_mtime_ns)
