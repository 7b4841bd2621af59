"""Train the run in FOLDER: the process behind a job of the window, also for a folder copied from there."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

SUMMARY = "train the run of a job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the run's folder, with its job.json")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where its images are now")
    parser.add_argument("--device", action="append", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--member", action="store_true", help="be one of several processes of the run")


def run(arguments: argparse.Namespace) -> int:
    """Prepare, train, measure and keep, as the folder says; Ctrl+C pauses.

    On another machine than the one it was made on, `--data` and `--device` say what is where; they are kept.
    """
    from core.cli.train import stopped_by_interrupt
    from core.jobs.child import limit_threads, run_job
    from core.jobs.info import read_record, write_record

    limit_threads()
    if arguments.member:
        from core.jobs.team import be_a_member

        be_a_member(arguments.folder)
    record = read_record(arguments.folder)
    changes: dict[str, Any] = {}
    if arguments.data:
        changes["data"] = str(arguments.data.resolve())
    if arguments.device:
        changes["devices"] = tuple(arguments.device)
    if changes:
        spec = msgspec.structs.replace(record.spec, **changes)
        write_record(arguments.folder, msgspec.structs.replace(record, spec=spec))
    (arguments.folder / "control").mkdir(exist_ok=True)
    with stopped_by_interrupt(arguments.folder / "control" / "pause"):
        return run_job(arguments.folder)
