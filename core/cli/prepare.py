"""Prepare photographs for training: find and align every face, drop what is no use, map the labels.

DATA is a folder with celeba/, utkface/ and lfw/ in it, each with its label files; or a collection, a folder
that was labelled with this program; or, with --folder, any folder of images, of anything. The result is a
folder that `train` and `evaluate` read; it is made anew each time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.cli.terminal import DONE, UsageError

SUMMARY = "prepare photographs for training"
EPILOG = """\
examples:
  {prog} DATA --out prepared/
  {prog} labelled-photos/ --size 64 --faces --out prepared/
  {prog} --folder flowers/ --folder-names kind --size 64 --out prepared/
  {prog} --folder portraits/ --labels labels.csv --faces --out prepared/

labels.csv names its columns in the first line: file, then an attribute each; an empty cell is unknown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add(
        "data",
        type=Path,
        metavar="DATA",
        help="folder with celeba/, utkface/ and lfw/, a collection, or of any images",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the prepared images go")
    add(
        "--attributes",
        type=Path,
        metavar="FILE",
        help="attribute set, TOML (default: the starter's, faces; with --folder, what the labels say)",
    )
    add("--limit", type=int, metavar="N", help="take about N images spread over the sources, for a try")
    own = parser.add_argument_group("images of your own (--size and --faces: of a collection too)")
    own.add_argument("--folder", action="store_true", help="DATA is any folder of images")
    own.add_argument("--labels", type=Path, metavar="CSV", help="file names and a column for each attribute")
    own.add_argument(
        "--folder-names",
        metavar="ATTRIBUTE",
        help="the folders that images lie in are the values of this attribute",
    )
    own.add_argument("--size", type=int, metavar="PIXELS", help="32, 64, 128 (default), 256 or 512")
    own.add_argument("--faces", action="store_true", help="align the largest face, in place of the middle")
    parser.epilog = EPILOG.format(prog=parser.prog)


def run(arguments: argparse.Namespace) -> int:
    """Prepare, and say on standard error what was dropped."""
    elsewhere = (arguments.labels, arguments.folder_names)
    looks = (arguments.size, arguments.faces or None)
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError("--limit is 1 or more.")
    from core.attributes import load_attribute_set
    from core.collection import Collection

    labelled = Collection.exists(arguments.data)
    if not arguments.folder and any(v is not None for v in (*elsewhere, *(() if labelled else looks))):
        raise UsageError(
            "--labels, --folder-names, --size and --faces go with --folder (or a collection, the last two)."
        )

    attributes = None if arguments.attributes is None else load_attribute_set(arguments.attributes)

    def report(line: str) -> None:
        print(line, file=sys.stderr)

    if labelled and all(value is None for value in (*elsewhere, attributes)):
        from core.training.collection_data import prepare_collection

        size = 128 if arguments.size is None else arguments.size
        with Collection.open(arguments.data) as collection:
            prepare_collection(
                collection, arguments.out, size, arguments.faces, limit=arguments.limit, report=report
            )
        return DONE
    if arguments.folder:
        from core.training.folder_data import prepare_folder

        prepare_folder(
            arguments.data,
            arguments.out,
            128 if arguments.size is None else arguments.size,
            arguments.labels,
            arguments.folder_names,
            attributes,
            arguments.faces,
            arguments.limit,
            report,
        )
        return DONE
    from core.training.faces_data import prepare_faces

    prepare_faces(arguments.data, arguments.out, attributes, arguments.limit, report)
    return DONE
