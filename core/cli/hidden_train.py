"""Train the run in FOLDER: the process behind a job of the window, also for a folder copied from there."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "train the run of a job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the run's folder, with its job.json")
    parser.add_argument("--member", action="store_true", help="be one of several processes of the run")


def run(arguments: argparse.Namespace) -> int:
    """Prepare, train, measure and keep, as the folder says; Ctrl+C pauses."""
    from core.cli.train import stopped_by_interrupt
    from core.jobs.child import limit_threads, run_job

    limit_threads()
    if arguments.member:
        from core.jobs.team import be_a_member

        return be_a_member(arguments.folder)
    (arguments.folder / "control").mkdir(exist_ok=True)
    with stopped_by_interrupt(arguments.folder / "control" / "pause"):
        return run_job(arguments.folder)
