"""Attribute sets by name or file."""

from __future__ import annotations

from pathlib import Path

from core.attributes import AttributeSet, load_attribute_set
from core.errors import StudioError
from core.paths import resources


def shipped_sets() -> dict[str, Path]:
    """Names and files of the attribute sets that come with the program."""
    return {path.stem: path for path in sorted((resources() / "attributes").glob("*.toml"))}


def find_set(text: str) -> AttributeSet:
    """The set of that name, or in that TOML file; StudioError if there is none, or it is wrong."""
    shipped = shipped_sets()
    if text in shipped:
        return load_attribute_set(shipped[text])
    path = Path(text).expanduser()
    if not path.is_file():
        raise StudioError(
            f"There is no attribute set “{text}”.",
            f"Give a TOML file, or one of: {', '.join(shipped)}.",
        )
    return load_attribute_set(path)
