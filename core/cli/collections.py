"""What commands on a folder with labels share: opening, scanning and embedding it, each with a bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.terminal import progress_bar
from core.errors import StudioError

if TYPE_CHECKING:
    from core.collection import Collection, ScanReport


def opened(folder: Path, attributes: str | None = None) -> Collection:
    """The folder's collection, made with the set called `attributes` if there is none yet.

    StudioError if that isn't given then, or if the collection has other attributes.
    """
    from core.annotate.sets import find_set
    from core.collection import Collection

    if not Collection.exists(folder):
        if attributes is None:
            raise StudioError(
                f"{folder} has no labels yet.", "Say with --attributes which set of attributes it is for."
            )
        return Collection.create(folder, find_set(attributes))
    wanted = None if attributes is None else find_set(attributes)
    collection = Collection.open(folder)
    if wanted is not None and wanted.attributes != collection.attributes.attributes:
        collection.close()
        raise StudioError(
            f"The labels of {folder} are for other attributes than {wanted.title}.",
            "Leave --attributes out to go on with them, or edit them in the window.",
        )
    return collection


def scanned(collection: Collection, *, quiet: bool) -> ScanReport:
    """Look through the folder."""
    with progress_bar(1, "of the folder", quiet=quiet) as bar:

        def show(share: float, text: str) -> None:
            bar.set_description(text)
            bar.update(share - bar.n)

        return collection.scan(show)
