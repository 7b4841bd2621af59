"""What went wrong in a training, in words that say what to do."""

from __future__ import annotations

import errno
import traceback

from core.errors import StudioError
from core.jobs.info import JobError


def explain(error: BaseException) -> JobError:
    """A sentence, a hint and the raw text for whatever a training raised."""
    raw = "".join(traceback.format_exception(error))[-8000:]
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
