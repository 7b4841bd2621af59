"""Read labels of a folder's images from a CSV or JSON file, or from folders by value.

CSV: a column `file`, then one an attribute; an empty cell is unknown. JSON: a list of
{"file": name, attribute: value}, {name: {attribute: value}}, or what export-labels writes. Files are named
by their path in FOLDER, or by their name alone where only one image has it. A folder in place of FILE has
folders named as the values of --folders ATTRIBUTE; images in it are known by content, so that what
export-labels wrote can be sorted by hand and read back; it may be FOLDER itself. Imported labels beat CLIP's;
labels by people stay unless --overwrite is given. Nothing is imported if names don't match, unless it is
said how.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.collections import opened, scanned
from core.cli.terminal import DONE, FAILED, UsageError, print_error, print_json
from core.errors import StudioError

if TYPE_CHECKING:
    from core.collection import ImportPreview

SUMMARY = "read a folder's labels from a file"
SHOWN = 10  # names that are printed of each kind
EPILOG = """\
examples:
  {prog} holiday/ labels.csv --dry-run
  {prog} holiday/ labels.csv --attributes faces --skip-unknown
  {prog} holiday/ labels.json --add
  {prog} holiday/ by-glasses/ --folders glasses

exit code: 0 if it was imported, 1 if not or something failed, 2 for wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the images, also in folders inside")
    add("file", type=Path, metavar="FILE", help="the labels: CSV, JSON, or a folder of folders")
    add("--folders", metavar="ATTRIBUTE", help="FILE is a folder whose folders are this attribute's values")
    add("--attributes", metavar="SET", help="a set's name or TOML file; needed if FOLDER has no labels yet")
    add("--add", action="store_true", help="add the attributes and values that FOLDER doesn't have")
    add("--skip-unknown", action="store_true", help="leave out files, attributes and values that don't match")
    add("--overwrite", action="store_true", help="replace labels by people too")
    add("--dry-run", action="store_true", help="say what would be imported, and import nothing")
    add("--json", action="store_true", help="print one JSON object")
    parser.epilog = EPILOG.format(prog=parser.prog)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and import if all matches or it is said what to do with the rest."""
    from core.annotate.by_folder import preview_folders

    if arguments.folders is None and arguments.file.is_dir():
        raise UsageError(f"{arguments.file} is a folder: say with --folders ATTRIBUTE what it sorts by.")
    if not (arguments.file.is_file() if arguments.folders is None else arguments.file.is_dir()):
        raise StudioError(f"There is no {arguments.file} to read.", "Give a CSV or JSON file, or a folder.")
    with opened(arguments.folder, arguments.attributes) as collection:
        scanned(collection, quiet=arguments.json)
        if arguments.folders is None:
            preview = collection.preview_import(arguments.file)
        else:
            preview = preview_folders(collection, arguments.file, arguments.folders)
        lacking = [] if arguments.skip_unknown else _lacking(preview, added=arguments.add)
        done = not lacking and not arguments.dry_run
        if done:
            collection.import_labels(
                preview,
                add_values=arguments.add,
                add_attributes=arguments.add,
                overwrite_person=arguments.overwrite,
            )
    if arguments.json:
        print_json({**_result(preview), "imported": done, "missing": lacking})
    else:
        print(_text(preview, arguments.overwrite))
    for sentence in lacking:
        print_error(sentence)
    if lacking and not arguments.dry_run:
        hint = "--skip-unknown imports the rest" + ("." if arguments.add else "; --add adds values.")
        print_error(f"nothing was imported. {hint}")
        return FAILED
    return DONE


def _lacking(preview: ImportPreview, *, added: bool) -> list[str]:
    """What of the file has no counterpart, in sentences."""
    found = []
    if preview.unknown_files:
        found.append(f"{_files(preview.unknown_files, 'is', 'are')} not in the folder.")
    if preview.ambiguous:
        found.append(f"{_files(preview.ambiguous, 'fits', 'fit')} several images; give paths.")
    if not added:
        found += [f"{name} has no value {_some(texts)}." for name, texts in preview.new_values.items()]
        if preview.new_attributes:
            found.append(f"There is no attribute {_some(list(preview.new_attributes))}.")
    return found


def _files(names: list[str], one: str, several: str) -> str:
    return f"{'1 file' if len(names) == 1 else f'{len(names):,} files'} ({_some(names)}) " + (
        one if len(names) == 1 else several
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(f"“{name}”" for name in names[:SHOWN]) + more


def _result(preview: ImportPreview) -> dict[str, Any]:
    return {
        "file": str(preview.file),
        "images": preview.images,
        "labels": preview.labels,
        "same": preview.same,
        "unknown_files": preview.unknown_files,
        "ambiguous": preview.ambiguous,
        "new_values": preview.new_values,
        "new_attributes": preview.new_attributes,
        "conflicts": [
            {"file": c.path, "attribute": c.attribute, "person": c.yours, "file_says": c.theirs}
            for c in preview.conflicts
        ],
    }


def _text(preview: ImportPreview, overwrite: bool) -> str:
    lines = [
        f"{preview.file}: {preview.labels:,} labels of {preview.images:,} images, "
        f"{preview.same:,} of them as they are already"
    ]
    if preview.conflicts:
        what = "replaced" if overwrite else "kept; --overwrite replaces them"
        lines.append(f"{len(preview.conflicts):,} labels by people differ, {what}:")
        lines += [
            f"  {c.path}: {c.attribute} is {c.yours or 'none'}, the file says {c.theirs or 'none'}"
            for c in preview.conflicts[:SHOWN]
        ]
        if len(preview.conflicts) > SHOWN:
            lines.append(f"  and {len(preview.conflicts) - SHOWN:,} more")
    return "\n".join(lines)
