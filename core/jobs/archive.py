"""A model as one file: a zip of its folder with a manifest of sizes and hashes.

    manifest.json         format, schema, and each file's name, size and SHA-256
    card.json             weights.safetensors             samples/*.png (may be missing)

Import trusts nothing: only these names, plain files, sizes that the manifest and a limit allow, hashes that
fit, a card that reads, weights that fit the card. Formats that can run code (pickle) are never read.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from core.errors import StudioError
from core.files import atomic_write
from core.jobs.keep import free_folder

FORMAT, SCHEMA, MANIFEST = "zerodim-model", 1, "manifest.json"
SUFFIX = ".zdmodel"
NAMES = re.compile(r"card\.json|weights\.safetensors|samples/[A-Za-z0-9_-]{1,80}\.png")
LARGEST_FILE = 4 * 2**30
LARGEST_TEXT = 8 * 2**20
MOST_FILES = 100
BLOCK = 2**20
ADVICE = "Export it again, or ask whoever made it."


class Entry(msgspec.Struct, frozen=True):
    """A file of the archive."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What manifest.json holds."""

    format: str
    schema: int
    title: str
    files: tuple[Entry, ...]


def export_model(folder: Path, file: Path, overwrite: bool = False) -> Path:
    """Write a model's folder as one file; StudioError if it is no model, or the file can't be written."""
    from core.model import Model

    model = Model.load(folder, "cpu")  # a damaged model is not passed on
    names = ["card.json", "weights.safetensors"]
    names += sorted(f"samples/{p.name}" for p in (folder / "samples").glob("*.png") if p.is_file())
    names = [name for name in names if NAMES.fullmatch(name)][:MOST_FILES]
    entries = []
    for name in names:
        with (folder / name).open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        entries.append(Entry(name, (folder / name).stat().st_size, digest))
    manifest = Manifest(FORMAT, SCHEMA, model.card.title, tuple(entries))
    with atomic_write(file, overwrite=overwrite) as target, zipfile.ZipFile(target, "w") as archive:
        archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        for name in names:
            stored = name.endswith(".safetensors") or name.endswith(".png")
            archive.write(folder / name, name, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return file


def import_model(file: Path, models: Path | None = None) -> Path:
    """Unpack a model's file into the user's models folder (or `models`); its new folder.

    StudioError, with nothing left behind, if anything of it is not as it must be.
    """
    from core.installed import user_models_folder
    from core.model import Model, save_card

    root = user_models_folder() if models is None else models
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _opened(file) as archive, tempfile.TemporaryDirectory(prefix=".import-", dir=root) as made:
            manifest = _manifest(file, archive)
            needed = sum(entry.bytes for entry in manifest.files)
            if shutil.disk_usage(root).free < needed + 2**20:
                raise StudioError(
                    f"The disk has too little space for a model of {needed / 2**20:.0f} MB.",
                    "Free some space.",
                )
            unpacked = Path(made) / "model"
            for entry in manifest.files:
                _unpack(file, archive, entry, unpacked / entry.name)
            card = Model.load(unpacked, "cpu").card
            folder = free_folder(root, card.title)
            save_card(msgspec.structs.replace(card, name=folder.name), unpacked)
            unpacked.rename(folder)
    except OSError as error:
        raise StudioError(
            f"{file.name} can't be imported: {error.strerror or error}.",
            "Choose another file, or free some space.",
        ) from error
    return folder


class _opened:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self.archive = zipfile.ZipFile(self.file)
        except (zipfile.BadZipFile, ValueError, struct.error) as error:
            raise StudioError(
                f"{self.file.name} is no model's file, or only a part of one.",
                "Choose a file that “Export a model” wrote.",
            ) from error
        return self.archive

    def __exit__(self, *_: object) -> None:
        self.archive.close()


def _manifest(file: Path, archive: zipfile.ZipFile) -> Manifest:
    """The manifest, checked against what the archive has."""
    members = archive.infolist()
    if len(members) > MOST_FILES + 1:
        raise StudioError(f"{file.name} has too many files to be a model.", ADVICE)
    names = [member.filename for member in members]
    for member in members:
        if member.filename != MANIFEST and not NAMES.fullmatch(member.filename):
            shown = member.filename.encode("unicode_escape").decode()[:80]
            raise StudioError(f"{file.name} has a file that no model has: “{shown}”.", ADVICE)
        kind = member.external_attr >> 16 & 0o170000
        if member.is_dir() or kind not in (0, 0o100000) or member.flag_bits & 1:
            raise StudioError(f"{file.name} has a link or a locked file in it.", ADVICE)
    if len(set(names)) != len(names):
        raise StudioError(f"{file.name} has a file twice.", ADVICE)
    if MANIFEST not in names:
        raise StudioError(f"{file.name} is no model's file: it has no manifest.", ADVICE)
    if archive.getinfo(MANIFEST).file_size > LARGEST_TEXT:
        raise StudioError(f"The manifest of {file.name} is too large.", ADVICE)
    raw = b"".join(_blocks(file, archive, MANIFEST, LARGEST_TEXT))
    try:
        head = msgspec.json.decode(raw, type=dict)
        if head.get("format") == FORMAT and isinstance(head.get("schema"), int) and head["schema"] > SCHEMA:
            raise StudioError(
                f"{file.name} was made by a newer version of the program.", "Install the newer version."
            )
        manifest = msgspec.convert(head, Manifest)
    except msgspec.MsgspecError as error:
        raise StudioError(f"The manifest of {file.name} is not valid: {error}.", ADVICE) from error
    if manifest.format != FORMAT or manifest.schema < 1:
        raise StudioError(f"{file.name} is the file of something else than a model.", ADVICE)
    listed = [entry.name for entry in manifest.files]
    if sorted(listed) != sorted(set(names) - {MANIFEST}):
        raise StudioError(f"{file.name} doesn't hold the files that its manifest lists.", ADVICE)
    if not {"card.json", "weights.safetensors"} <= set(listed):
        raise StudioError(f"{file.name} lacks a model's card or weights.", ADVICE)
    for entry in manifest.files:
        largest = LARGEST_FILE if entry.name.endswith(".safetensors") else LARGEST_TEXT
        if not 0 <= entry.bytes <= largest or archive.getinfo(entry.name).file_size > largest:
            raise StudioError(f"{entry.name} in {file.name} is too large for a model.", ADVICE)
    return manifest


def _blocks(file: Path, archive: zipfile.ZipFile, name: str, most: int) -> Iterator[bytes]:
    """The bytes of a member, never more than `most`, whatever the archive says of its size."""
    seen = 0
    try:
        with archive.open(name) as source:
            while block := source.read(BLOCK):
                seen += len(block)
                if seen > most:
                    raise StudioError(f"{name} in {file.name} is larger than it says.", ADVICE)
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise StudioError(f"{name} in {file.name} is damaged.", ADVICE) from error


def _unpack(file: Path, archive: zipfile.ZipFile, entry: Entry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    target: IO[bytes]
    with path.open("xb") as target:
        for block in _blocks(file, archive, entry.name, entry.bytes):
            digest.update(block)
            size += len(block)
            target.write(block)
    if size != entry.bytes or digest.hexdigest() != entry.sha256:
        raise StudioError(f"{entry.name} in {file.name} is damaged or changed.", ADVICE)
