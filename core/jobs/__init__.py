"""Training jobs: what to train, checks before it, child processes in run folders, and their results.

Nothing here imports torch before a job is checked, measured or trained: the window may import it freely.
"""

from core.jobs.archive import export_model, import_model
from core.jobs.checks import check, estimate, label_table
from core.jobs.events import Curve, Event, EventTail, curves, read_events
from core.jobs.info import JobError, RunInfo, Sample, differences, disk_use, samples_of, settings_of
from core.jobs.jobs import Jobs, headless_command, runs_folder
from core.jobs.keep import keep_model
from core.jobs.spec import Estimate, Finding, JobSpec, Preset, presets

__all__ = [
    "Curve",
    "Estimate",
    "Event",
    "EventTail",
    "Finding",
    "JobError",
    "JobSpec",
    "Jobs",
    "Preset",
    "RunInfo",
    "Sample",
    "check",
    "curves",
    "differences",
    "disk_use",
    "estimate",
    "export_model",
    "headless_command",
    "import_model",
    "keep_model",
    "label_table",
    "presets",
    "read_events",
    "runs_folder",
    "samples_of",
    "settings_of",
]
