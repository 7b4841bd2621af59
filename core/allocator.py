"""The C library's memory allocator, set up for tensors.

A step of training takes and gives back gigabytes. glibc returns every large block to the system at once, and
the system clears each of its pages anew when it is taken again, 4 KiB at a time. With these settings it keeps
freed memory, and takes large pages for what is larger still. Nothing is done for other C libraries.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "GLIBC_TUNABLES"  # read once, when a process begins
SETTINGS = ":".join(
    f"glibc.malloc.{name}"
    for name in (
        "hugetlb=1",  # large pages, where the system lets programs choose; from glibc 2.35 on
        f"mmap_threshold={32 << 20}",  # the most that it takes
        f"trim_threshold={8 << 30}",
    )
)


def tensor_environment() -> dict[str, str]:
    """What to add to the environment of a process that trains; empty where it would say nothing."""
    return {} if VARIABLE in os.environ or not _has_glibc() else {VARIABLE: SETTINGS}


def restart_for_tensors() -> None:
    """Begin this process anew, with the same command line, so that the settings hold. Once, and early."""
    added = tensor_environment()
    if not added:
        return
    own = sys.argv if getattr(sys, "frozen", False) else sys.orig_argv
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(sys.executable, [sys.executable, *own[1:]], os.environ | added)
    except OSError:  # it then goes on as it is, only slower
        return


def _has_glibc() -> bool:
    try:
        return sys.platform == "linux" and os.confstr("CS_GNU_LIBC_VERSION") is not None
    except (ValueError, OSError):
        return False
