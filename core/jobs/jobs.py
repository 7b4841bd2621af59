"""The runs of a folder: a queue, the runs that go on, and those that are over.

Everything is in the run folders, so that two windows, or none, may look on, and each may act: what one does
the other sees at its next `poll`. Only the start of a process is guarded, by a lock on the folder.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from send2trash import send2trash

from core.errors import StudioError
from core.events import append_event
from core.jobs import process
from core.jobs.events import EventTail
from core.jobs.info import (
    BUSY,
    CONTROL,
    JOB,
    LONGER,
    QUEUED,
    Folded,
    JobError,
    Record,
    RunInfo,
    ask,
    read_record,
    withdraw,
    write_record,
)
from core.jobs.spec import JobSpec
from core.paths import user_data

KILL_AFTER = 10.0  # seconds that a process has to answer
Launcher = Callable[[Path], subprocess.Popen[bytes]]


def runs_folder() -> Path:
    """Where the window keeps its runs."""
    return user_data() / "runs"


@dataclass
class _Seen:
    """What this object knows of a run."""

    folded: Folded
    tail: EventTail
    asked: dict[str, float] = field(default_factory=dict)  # requests of ours, by the time of asking


class Jobs:
    """All runs below `root`. Call `poll` every half second or so; it is cheap and never waits long.

    Methods that take a run take its folder. They may be called from any thread, and raise StudioError with
    what can't be done. Nothing stops when this object goes away.
    """

    def __init__(self, root: Path | None = None, launcher: Launcher | None = None) -> None:
        self.root = runs_folder() if root is None else Path(root)
        self._launch = launch if launcher is None else launcher
        self._seen: dict[Path, _Seen] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._guard = threading.RLock()

    # -- looking --------------------------------------------------------------------------------------------

    def poll(self) -> tuple[RunInfo, ...]:
        """See to everything that is due (the dead, the overdue, the queue); all runs, the newest first."""
        with self._guard:
            self._children = [child for child in self._children if child.poll() is None]
            infos = self._look()
            for info in infos:
                self._see_to(info)
            self.start_next()
            return tuple(sorted(self._look(), key=lambda info: -info.created))

    def list(self) -> tuple[RunInfo, ...]:
        """All runs as `poll` returns them, without starting or ending anything."""
        with self._guard:
            return tuple(sorted(self._look(), key=lambda info: -info.created))

    def info(self, run: Path) -> RunInfo:
        """One run as it is now; StudioError if the folder holds none."""
        with self._guard:
            found = self._read(Path(run))
            return _placed(found, _queue(self._infos()))

    def _look(self) -> tuple[RunInfo, ...]:
        found = self._infos()
        for folder in set(self._seen) - {info.folder for info in found}:
            del self._seen[folder]
        queue = _queue(found)
        return tuple(_placed(info, queue) for info in found)

    def _read(self, folder: Path) -> RunInfo:
        seen = self._seen.get(folder)
        record = read_record(folder)
        if seen is None:
            info = RunInfo(folder, record.spec.title, "queued", record.spec, record.created)
            seen = self._seen[folder] = _Seen(Folded(info), EventTail(folder))
        seen.folded.add(seen.tail.new())
        seen.folded.info = replace(seen.folded.info, spec=record.spec, title=record.spec.title)
        info = seen.folded.info
        if (folder / CONTROL / QUEUED).exists():
            return replace(info, state="queued", asked="", error=None)
        if process.started(folder) > seen.folded.last and process.alive(folder):
            # it has not said anything yet
            return _with_requests(replace(info, state="preparing", asked="", error=None))
        if info.state in BUSY or info.state == "queued":
            if process.alive(folder):
                return _with_requests(info)
            # its last words may have come between reading them and asking for it
            seen.folded.add(seen.tail.new())
            info = seen.folded.info
            if info.state in BUSY or info.state == "queued":
                return replace(info, state="failed", asked="", seconds_left=None, error=_vanished(folder))
        return info

    # -- the queue ------------------------------------------------------------------------------------------

    def start(self, spec: JobSpec) -> RunInfo:
        """Make a run and put it at the end of the queue; it begins at once if its device is free."""
        with self._guard:
            self.root.mkdir(parents=True, exist_ok=True)
            stem = re.sub(r"\W+", "-", spec.title.lower()).strip("-")[:40] or "run"
            folder, number = self.root / stem, 1
            while True:
                try:
                    folder.mkdir()
                    break
                except FileExistsError:
                    number += 1
                    folder = self.root / f"{stem}-{number}"
                except OSError as error:
                    raise StudioError(
                        f"A run's folder can't be made: {error}.", "Free some space."
                    ) from error
            write_record(folder, Record(spec, time.time()))
            self._enqueue(folder)
            self.start_next()
            return self.info(folder)

    def _enqueue(self, folder: Path) -> None:
        withdraw(folder)
        (folder / CONTROL).mkdir(exist_ok=True)
        (folder / CONTROL / QUEUED).write_text(f"{time.time():.6f}")

    def _infos(self) -> tuple[RunInfo, ...]:
        found: dict[Path, RunInfo] = {}
        for job in self.root.glob(f"*/{JOB}"):
            with suppress(StudioError):  # a folder that another window is moving to the trash
                found[job.parent] = self._read(job.parent)
        return tuple(found.values())

    def start_next(self) -> None:
        """Start the processes of all queued runs whose devices are free, in their order."""
        with self._guard:
            if not any(self.root.glob(f"*/{CONTROL}/{QUEUED}")):
                return
            with process.held(self.root / "queue.lock", wait=1.0) as taken:
                if not taken:
                    return
                infos = self._infos()
                busy = {d for i in infos if i.state in BUSY for d in _devices(i.spec)}
                for info in _queue(infos):
                    wanted = _devices(info.spec)
                    if not busy & wanted:
                        try:
                            self._children.append(self._launch(info.folder))
                        except StudioError as error:
                            _note_failure(info.folder, error)
                            continue
                        finally:
                            # only now: a run that neither waits nor has a process looks dead to others
                            (info.folder / CONTROL / QUEUED).unlink(missing_ok=True)
                    busy |= wanted  # nobody overtakes on the same device

    def unqueue(self, run: Path) -> None:
        """Take a run out of the queue; one that never began stays as paused, to be started or discarded."""
        with self._guard:
            if self.info(run).state == "queued":
                (run / CONTROL / QUEUED).unlink(missing_ok=True)
                append_event(run, "paused")

    # -- asking ---------------------------------------------------------------------------------------------

    def pause(self, run: Path) -> None:
        """Ask a run to store where it is and to end its process, which frees the device.

        While it prepares or measures there is nothing to store: its process is ended, and does that again.
        """
        with self._guard:
            state = self.info(run).state
            if state == "queued":
                self.unqueue(run)
            elif state in ("preparing", "evaluating"):
                process.kill(run)
                withdraw(run)
                append_event(run, "paused")
            else:
                self._ask(run, "pause")

    def resume(self, run: Path) -> None:
        """Queue a paused or failed run again: it goes on from its last checkpoint."""
        with self._guard:
            info = self.info(run)
            if not info.can_resume:
                raise StudioError(f"{info.title} can't be resumed: it is {info.state}.")
            self._enqueue(run)
            self.start_next()

    def resume_longer(self, run: Path, steps: int) -> None:
        """Train a finished run for `steps` more steps of its last stage."""
        with self._guard:
            info = self.info(run)
            if info.state != "finished" or steps < 1:
                raise StudioError(
                    f"{info.title} is {info.state}.", "Only a finished run can go on for longer."
                )
            if not info.can_keep:
                raise StudioError(f"{info.title} has no checkpoint to go on from.", "Start a new run.")
            (run / CONTROL).mkdir(exist_ok=True)
            (run / CONTROL / LONGER).write_text(str(int(steps)))
            self._enqueue(run)
            self.start_next()

    def stop_and_keep(self, run: Path) -> None:
        """End the training now and make a model of what it has learned (the averaged networks), measured.

        For a paused or failed run this starts a process that does no more than that.
        """
        with self._guard:
            info = self.info(run)
            if info.state in BUSY:
                self._ask(run, "stop")
                return
            if not info.can_keep:
                raise StudioError(f"{info.title} has no checkpoint yet.", "Resume it, or discard it.")
            self._enqueue(run)
            ask(run, "stop")
            self.start_next()

    def sample_now(self, run: Path) -> None:
        """Ask a training run for a sample; it comes as an event."""
        with self._guard:
            if self.info(run).state != "training":
                raise StudioError("Only a run that trains can make a sample.", "Resume it first.")
            ask(run, "sample")

    def discard(self, run: Path) -> None:
        """End a run's process, if any, and put its folder into the trash."""
        with self._guard:
            run = Path(run)
            read_record(run)
            (run / CONTROL / QUEUED).unlink(missing_ok=True)
            process.kill(run)
            try:
                send2trash(str(run))
            except Exception as error:
                raise StudioError(
                    f"{run.name} can't be moved to the trash: {error}.", "Delete its folder by hand."
                ) from error
            self._seen.pop(run, None)
            self.start_next()

    def rename(self, run: Path, title: str) -> None:
        """Give a run another title; its folder keeps its name."""
        with self._guard:
            if not title.strip():
                raise StudioError("A run needs a title.", "Type one.")
            record = read_record(run)
            spec = msgspec.structs.replace(record.spec, title=title.strip())
            write_record(run, msgspec.structs.replace(record, spec=spec))

    def _ask(self, run: Path, request: str) -> None:
        info = self.info(run)
        if info.state not in BUSY or info.state == "evaluating":
            raise StudioError(f"{info.title} is {info.state}.", "There is nothing to stop.")
        ask(run, request)
        self._seen[run].asked[request] = time.time()

    # -- seeing to ------------------------------------------------------------------------------------------

    def _see_to(self, info: RunInfo) -> None:
        """End a process that doesn't answer, whoever asked; and go on with what was asked."""
        control = info.folder / CONTROL
        if info.state not in BUSY:
            return
        for request in ("pause", "stop"):
            try:
                since = (control / request).stat().st_mtime
            except OSError:
                continue
            # a pause ends the process; a stop goes on with measuring once it has been seen
            due = request == "pause" or (info.state == "stopping" and not self._acknowledged(info))
            if due and time.time() - since > KILL_AFTER and info.state != "evaluating":
                process.kill(info.folder)
                if request == "pause":
                    withdraw(info.folder)
                    append_event(info.folder, "paused", stage=info.stage, step=info.step, killed=True)
                else:
                    self._enqueue(info.folder)
                    ask(info.folder, "stop")

    def _acknowledged(self, info: RunInfo) -> bool:
        return self._seen[info.folder].folded.info.asked == "stop"


def launch(folder: Path) -> subprocess.Popen[bytes]:
    """Start a run's process with this program."""
    return process.start(process.main_command("_train", str(folder)), folder)


def headless_command(run: Path) -> str:
    """The command that trains a run's folder without a window, on this machine or another one."""
    parts = process.main_command("_train", str(run))
    return subprocess.list2cmdline(parts) if sys.platform == "win32" else shlex.join(parts)


def _queue(infos: tuple[RunInfo, ...]) -> list[RunInfo]:
    """The queued ones in their order."""
    return sorted((info for info in infos if info.state == "queued"), key=lambda info: _turn(info.folder))


def _placed(info: RunInfo, queue: list[RunInfo]) -> RunInfo:
    waiting = [other.folder for other in queue]
    return replace(info, place=waiting.index(info.folder) + 1) if info.folder in waiting else info


def _turn(folder: Path) -> float:
    with suppress(OSError, ValueError):
        return float((folder / CONTROL / QUEUED).read_text())
    return 0.0


def _devices(spec: JobSpec) -> set[str]:
    """What a job occupies: `auto` stands for the first of its kind."""
    return {"auto" if d in ("auto", "cuda", "cuda:0") else d for d in spec.devices}


def _with_requests(info: RunInfo) -> RunInfo:
    """A run is pausing or stopping from the click on, not from the answer on."""
    if info.state == "evaluating":
        return info
    control = info.folder / CONTROL
    if (control / "stop").exists():
        return replace(info, state="stopping")
    if (control / "pause").exists():
        return replace(info, state="pausing")
    return info


def _vanished(folder: Path) -> JobError:
    raw = ""
    with suppress(OSError):
        raw = (folder / "output.txt").read_text("utf-8", errors="replace")[-4000:]
    kept = (folder / "checkpoints" / "last.safetensors").exists()
    with suppress(OSError):
        if shutil.disk_usage(folder).free < 2**20:  # too full to say so
            return JobError(
                "The disk is full.", "Free some space and resume: the last checkpoint is kept.", raw
            )
    return JobError(
        "The training's process was ended from outside: by the system for want of memory, by a restart, "
        "or by hand.",
        "Resume it: it goes on from the last checkpoint." if kept else "Resume it: it begins again.",
        raw,
    )


def _note_failure(folder: Path, error: StudioError) -> None:
    with suppress(OSError):
        append_event(folder, "failed", sentence=error.message, hint=error.hint, raw="")
