"""What went wrong in a training, in words that say what to do."""

from __future__ import annotations

import errno
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from core.errors import Diverged, StudioError
from core.jobs.info import CALMER, CONTROL, JobError

if TYPE_CHECKING:
    from core.jobs.listening import JobRun


def tell_failure(run: JobRun, error: BaseException) -> None:
    """Write what happened into a run's events, and what is to be done about it when it is resumed.

    A failure is told even where the disk is full: the shortest line that says it, and a try or two.
    """
    told = explain(error)
    if isinstance(error, Diverged):
        with suppress(OSError):
            (run.folder / CONTROL / CALMER).touch()
    run.writes = True  # whoever of a team it is that failed
    for text in (told.raw, told.raw[-500:], ""):
        try:
            run.event("failed", sentence=told.sentence, hint=told.hint, raw=text)
            return
        except OSError:
            time.sleep(0.2)


def explain(error: BaseException) -> JobError:
    """A sentence, a hint and the raw text for whatever a training raised."""
    raw = "".join(traceback.format_exception(error))[-8000:]
    if isinstance(error, Diverged):
        hint = "Resume: it goes on from the last checkpoint, with half the learning rates."
        return JobError(error.message, hint, raw)
    if isinstance(error, StudioError):
        return JobError(error.message, error.hint, raw)
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        where = "graphics card" if "cuda" in text or "mps" in text else "computer"
        return JobError(
            f"The {where} has too little free memory for this training.",
            "Close other programs and the editor's photo and resume; or start a new one with smaller images "
            "or a smaller batch.",
            raw,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return JobError("The disk is full.", "Free some space and resume: the last checkpoint is kept.", raw)
    if isinstance(error, FileNotFoundError):
        return JobError(
            f"A file that the training needs has vanished: {error.filename}.", "Put it back and resume.", raw
        )
    if "cuda error" in text or "device-side assert" in text or "cudnn" in text:
        return JobError(
            "The graphics card stopped working, as it may when the machine slept or its driver was updated.",
            "Resume: it goes on from the last checkpoint. If it happens again, restart the machine.",
            raw,
        )
    if isinstance(error, OSError):
        return JobError(f"A file could not be read or written: {error}.", "Check the disk and resume.", raw)
    return JobError(
        "The training met an error that the program didn't expect.",
        "Resume it; if it happens again, report the raw text.",
        raw,
    )
