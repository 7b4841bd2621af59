"""The sample photo that a first user can try the editor with, without looking for one of their own."""

from __future__ import annotations

from pathlib import Path

from core.errors import StudioError
from core.files import atomic_write
from core.paths import resources, user_cache

# where the picture comes from is in the README beside it
SHIPPED = Path("samples") / "sample-face.jpg"
NAME = "Sample face.jpg"


def sample_photo() -> Path:
    """A copy of the sample photo among what can be made again: whatever is done to it, the shipped one stays.

    A copy that was changed is replaced. StudioError where the photo is missing or can't be copied.
    """
    shipped = resources() / SHIPPED
    copy = _folder() / NAME
    try:
        data = shipped.read_bytes()
    except OSError as error:
        raise StudioError(
            f"The sample photo can't be read: {error.strerror or error}.", "Open a photo of your own."
        ) from error
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.is_file() and copy.read_bytes() == data:
            return copy
    except OSError as error:
        raise StudioError(
            f"The sample photo can't be copied to {copy.parent}: {error.strerror or error}.",
            "Open a photo of your own.",
        ) from error
    with atomic_write(copy, overwrite=True) as file:
        file.write(data)
    return copy


def is_sample(photo: Path) -> bool:
    """Whether a photo is the copy: nothing belongs beside it, and it has no place among a user's photos."""
    return photo.absolute().parent == _folder().absolute()


def _folder() -> Path:
    return user_cache() / "samples"
