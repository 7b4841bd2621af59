"""The child process of long work with a folder of its own: start it apart from this one, see whether it
lives, end it. Training a run is such work, and embedding a collection.

The process holds a lock on the folder's `process.lock` for as long as it lives; the system lets go of it
whatever ends the process. So nobody needs to trust a process id: while the lock is held, the id in
`process.json` is the holder's own, and once it isn't, nobody is asked to die.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from core.allocator import tensor_environment
from core.errors import StudioError
from core.files import atomic_write

LOCK, RECORD = "process.lock", "process.json"
STARTING_SECONDS = 60.0  # so long may a process need from its start to its lock


class Process(msgspec.Struct, frozen=True):
    """What `process.json` holds: who was started, when, and whether it has taken the lock itself."""

    pid: int
    started: float
    own: bool


def _lock(file: IO[Any], exclusive: bool) -> bool:
    """Take the lock without waiting; false if somebody else has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def held(path: Path, wait: float = 5.0) -> Iterator[bool]:
    """Hold the lock file `path` exclusively; yields whether it could be had within `wait` seconds."""
    with path.open("a+b") as file:
        end = time.monotonic() + wait
        while not (taken := _lock(file, True)) and time.monotonic() < end:
            time.sleep(0.02)
        try:
            yield taken
        finally:
            if taken and sys.platform == "win32":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


@contextmanager
def being_the_process(folder: Path) -> Iterator[None]:
    """Be the process of `folder` while the block lasts; StudioError if it has one already."""
    with held(folder / LOCK) as taken:
        if not taken:
            raise StudioError("Another process is at this work already.", "Wait until it ends.")
        _write_record(folder, Process(os.getpid(), time.time(), True))
        yield


def alive(folder: Path) -> bool:
    """Whether `folder` has a process: one that holds the lock, or one that was started a moment ago."""
    if _locked(folder / LOCK):
        return True
    record = _read_record(folder)
    if record is None or record.own or not 0 <= time.time() - record.started < STARTING_SECONDS:
        return False
    return _exists(record.pid)


def started(folder: Path) -> float:
    """When the last process of `folder` was started (seconds since 1970), 0 if it never had one."""
    record = _read_record(folder)
    return 0.0 if record is None else record.started


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start the process of `folder` apart from this one: it goes on when this one is closed or killed.

    What it prints goes to `output.txt` there. The caller should `poll()` the result now and then.
    """
    environment = {**os.environ, **tensor_environment(), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    # a frozen program would else believe that it is a part of this one
    environment["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        with (folder / "output.txt").open("ab") as output:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                close_fds=True,
                **apart,
            )
    except OSError as error:
        raise StudioError(f"A process for this can't be started: {error}.", "Free some memory.") from error
    record = _read_record(folder)
    if record is None or not (record.own and record.pid == child.pid):
        _write_record(folder, Process(child.pid, time.time(), False))
    return child


def kill(folder: Path) -> bool:
    """End the process of `folder` at once, with all that it started; false if there is none.

    Waits up to 3 s for its end.
    """
    if not alive(folder):
        return False
    record = _read_record(folder)
    if record is None:
        return False
    with suppress(OSError):
        if sys.platform == "win32":
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(record.pid)], check=False, capture_output=True
            )
        else:
            os.killpg(record.pid, signal.SIGKILL)
    end = time.monotonic() + 3
    while alive(folder) and time.monotonic() < end:
        time.sleep(0.02)
    return True


def main_command(*arguments: str) -> list[str]:
    """The command that starts this program with `arguments`, from source or frozen."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    return [sys.executable, str(Path(__file__).resolve().parents[2] / "main.py"), *arguments]


def _locked(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            return not _lock(file, False)
    except OSError:
        return False


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # the lock tells within a minute
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _ended(pid)


def _ended(pid: int) -> bool:
    """Whether a child of this process has ended and only waits to be noticed (Linux tells)."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def _read_record(folder: Path) -> Process | None:
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Process)
    except (OSError, msgspec.MsgspecError):
        return None


def _write_record(folder: Path, record: Process) -> None:
    with atomic_write(folder / RECORD, overwrite=True) as file:
        file.write(msgspec.json.encode(record))
