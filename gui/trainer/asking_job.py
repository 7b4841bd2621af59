"""What the dialog of a new training asks the core; all of it on the worker, since it imports torch."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from core.errors import StudioError
from core.jobs import Estimate, Finding, JobSpec, check, estimate, label_table
from core.jobs.checks import LabelCounts


def devices() -> list[tuple[str, tuple[str, ...]]]:
    """The machine's devices beside “Automatic”: titles, and what a job calls them."""
    from core.jobs.devices import found_devices  # imports torch

    return found_devices()


def look(spec: JobSpec) -> tuple[LabelCounts | None, list[Finding]]:
    """Labels of all attributes of a job's data, and the findings on those it chose."""
    table = None
    with suppress(StudioError):  # the check says it
        table = label_table(msgspec.structs.replace(spec, attributes=()))
    return table, check(spec)


def measure(spec: JobSpec) -> Estimate:
    """How long it takes, by real steps."""
    return estimate(spec)


def same_work(one: JobSpec, other: JobSpec) -> bool:
    """Whether a step of both takes the same time."""

    def work(spec: JobSpec) -> JobSpec:
        return msgspec.structs.replace(spec, title="", minutes=0.0, step_seconds={})

    return work(one) == work(other)


def with_times(spec: JobSpec, measured: Estimate) -> JobSpec:
    """The job with what was measured, so that its time left is right from the start."""
    return msgspec.structs.replace(spec, step_seconds=measured.step_seconds)
