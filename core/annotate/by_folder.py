"""Labels from folders by value: the folder that an image lies in says its value."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.collection.listing import list_images
from core.errors import StudioError

if TYPE_CHECKING:
    from core.collection import Collection, ImportPreview


def preview_folders(collection: Collection, folder: Path, attribute: str) -> ImportPreview:
    """What importing VALUE/image files of `folder` as labels of `attribute` would do; changes nothing.

    Images are recognised by their content, whatever their names, so that a folder that was exported can be
    sorted by hand and read back; it may also be the collection's own folder. An image in two folders of
    different names is refused, in a StudioError.
    """
    images = collection.images()
    known = {digest.tobytes(): path for digest, path in zip(images.digest, images.paths, strict=True)}
    own = dict(zip(images.paths, images.paths, strict=True)) if folder.samefile(collection.folder) else {}
    labels: dict[str, str] = {}
    unknown: list[str] = []
    listing, _ = list_images(folder)
    for name in listing:
        value = Path(name).parent.name
        if not value:
            continue
        path = own.get(name)
        if path is None:
            try:
                with (folder / name).open("rb") as file:
                    path = known.get(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise StudioError(f"{folder / name} can't be read: {error.strerror or error}.") from error
        if path is None:
            unknown.append(name)
        elif labels.setdefault(path, value) != value:
            raise StudioError(
                f"{path} lies in “{labels[path]}” and in “{value}”.", "Leave it in one of the folders."
            )
    if not labels and not unknown:
        raise StudioError(f"There are no images in folders inside {folder}.", "Give a folder of folders.")
    with tempfile.TemporaryDirectory(prefix="zerodim-import-") as temporary:
        file_ = Path(temporary) / "labels.json"
        file_.write_bytes(msgspec.json.encode({path: {attribute: value} for path, value in labels.items()}))
        preview = collection.preview_import(file_)
    return dataclasses.replace(preview, file=folder, unknown_files=unknown)
