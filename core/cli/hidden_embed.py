"""Embed the images of a collection: the process behind `core.clip.embed.EmbedJob`."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.cli.terminal import DONE, FAILED

SUMMARY = "embed a collection's images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the job's folder, with its job.json")


def run(arguments: argparse.Namespace) -> int:
    """Embed what is missing; Ctrl+C stops after the batch at hand."""
    from core.cli.train import stopped_by_interrupt
    from core.clip.embed import be_gentle, run_embed_job

    be_gentle()
    with stopped_by_interrupt(arguments.folder / "control" / "stop"):
        return DONE if run_embed_job(arguments.folder) else FAILED
