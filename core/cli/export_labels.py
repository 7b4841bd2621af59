"""Write the labels of a folder as CSV, JSON, COCO image labels, or as folders of images by value."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.cli.collections import opened
from core.cli.terminal import DONE, FAILED, UsageError, print_error, print_json, share_bar

SUMMARY = "write a folder's labels to a file, or its images by value"
KINDS = ("csv", "json", "coco", "folders")  # as core.collection.exports, which loads slowly
EPILOG = """\
examples:
  {prog} holiday/ labels.csv
  {prog} holiday/ labels.json --only glasses --only hair_color
  {prog} holiday/ by-glasses/ --as folders --only glasses

csv: a line an image, a column an attribute; with --details also each label's source and score.
exit code: 0 if all was written, 1 if something could not be, 2 for wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the images, labelled before")
    add("out", type=Path, metavar="OUT", help="the file; for folders, a new or empty folder")
    add("--as", dest="kind", choices=KINDS, help="csv, json, coco or folders (default: by OUT's suffix)")
    add("--only", action="append", metavar="ATTRIBUTE", help="this attribute; may be repeated (default: all)")
    add("--details", action="store_true", help="csv: also source and score of each label")
    add("--link", action="store_true", help="folders: link to the images, don't copy them")
    add("--overwrite", action="store_true", help="replace a file that exists")
    add("--json", action="store_true", help="print one JSON object")
    parser.epilog = EPILOG.format(prog=parser.prog)


def run(arguments: argparse.Namespace) -> int:
    """Export."""
    kind = arguments.kind or arguments.out.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise UsageError(f"say with --as how {arguments.out} is to be written: {', '.join(KINDS)}.")
    if arguments.details and kind != "csv":
        raise UsageError("--details goes with --as csv.")
    if arguments.link and kind != "folders":
        raise UsageError("--link goes with --as folders.")
    if kind == "folders" and len(arguments.only or ()) != 1:
        raise UsageError("--as folders needs one --only ATTRIBUTE.")
    with opened(arguments.folder) as collection, share_bar("done", quiet=arguments.json) as show:
        report = collection.export_labels(
            arguments.out,
            kind,
            attributes=arguments.only,
            details=arguments.details,
            link=arguments.link,
            overwrite=arguments.overwrite,
            progress=show,
        )
    for problem in report.problems:
        print_error(problem)
    if arguments.json:
        result = {"out": str(arguments.out), "images": report.images, "labels": report.labels}
        print_json({**result, "problems": report.problems})
    else:
        print(f"{arguments.out}: {report.labels:,} labels of {report.images:,} images")
    return FAILED if report.problems else DONE
