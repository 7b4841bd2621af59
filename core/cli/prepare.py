"""Prepare photographs for training: find and align every face, drop what is no use, map the labels.

DATA is a folder with celeba/, utkface/ and lfw/ in it, each with its label files. The result is a folder
that `train` and `evaluate` read; it is made anew each time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.cli.terminal import DONE

SUMMARY = "prepare photographs for training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder with celeba/, utkface/ and lfw/")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the prepared images go")
    add("--attributes", type=Path, metavar="FILE", help="attribute set, TOML (default: the starter's, faces)")
    add("--limit", type=int, metavar="N", help="take about N images spread over the sources, for a try")


def run(arguments: argparse.Namespace) -> int:
    """Prepare, and say on standard error what was dropped."""
    from core.attributes import load_attribute_set
    from core.training.faces_data import prepare_faces

    attributes = None if arguments.attributes is None else load_attribute_set(arguments.attributes)
    prepare_faces(
        arguments.data,
        arguments.out,
        attributes,
        arguments.limit,
        report=lambda line: print(line, file=sys.stderr),
    )
    return DONE
