"""Embed all images of a collection, here or in a child process that outlives the window.

A batch is on disk before it counts as done, so that a process that is killed loses at most the batch at hand,
and the next one goes on with what is missing. The child's folder is `embedding` in the collection's home:

    job.json        the collection, the model, the device
    events.jsonl    what happened, a JSON object a line
    control/stop    asks it to stop
    output.txt      what it printed
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.clip.choices import ClipChoice, available, find_choice
from core.clip.model import ClipModel
from core.collection import Collection
from core.errors import StudioError
from core.events import FILE, append_event
from core.files import atomic_write
from core.jobs import process
from core.jobs.events import EventTail

FOLDER = "embedding"
RECENT = 30.0  # seconds over which the speed is measured


@dataclass(frozen=True)
class EmbedReport:
    """What `embed_collection` did: images embedded, of them without a face, and those that can't be read.

    `faceless` counts only for a model that knows faces alone; `unreadable` has the first reasons by path.
    """

    embedded: int = 0
    faceless: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False


Progress = Callable[[int, int, EmbedReport], None]


def embed_collection(
    collection: Collection,
    model: ClipModel,
    progress: Progress = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> EmbedReport:
    """Embed the images that have no embedding by `model` yet. `progress` gets done, total, and the report so
    far.

    What is done when this returns, also when cancelled, is on disk. StudioError if it can't be written.
    """
    ids = collection.embeddings(model.key, model.dim).missing()
    ids = ids[collection.images().positions(ids) >= 0]
    report = EmbedReport()
    done = 0
    progress(0, len(ids), report)
    for batch in embed_images(collection, model, ids, cancelled):
        report = EmbedReport(
            report.embedded + batch.embedded,
            report.faceless + batch.faceless,
            {**report.unreadable, **batch.unreadable},
        )
        done += batch.embedded + len(batch.unreadable)
        progress(done, len(ids), report)
    return EmbedReport(report.embedded, report.faceless, report.unreadable, done < len(ids))


def embed_images(
    collection: Collection, model: ClipModel, ids: np.ndarray, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[EmbedReport]:
    """Embed present images by their `ids` (M,); a report of each batch, which is on disk by then."""
    store, images = collection.embeddings(model.key, model.dim), collection.images()
    names = [images.paths[i] for i in images.positions(ids)]
    for batch in model.embed_files([collection.folder / name for name in names], cancelled):
        store.write(ids[batch.positions], batch.rows)
        bare = ids[batch.positions[batch.faceless]]
        _remember_faceless(collection, model.key, bare)
        yield EmbedReport(
            len(batch.positions), len(bare), {names[i]: why for i, why in batch.unreadable.items()}
        )


def faceless(collection: Collection, model_key: str) -> np.ndarray:
    """Ids of present images in which the model `model_key` found no face: it saw their middle instead."""
    known: set[tuple[int, int]] = set()
    with suppress(OSError):
        for line in _faceless_file(collection, model_key).read_text(encoding="ascii").splitlines():
            with suppress(ValueError):  # a process that was killed may leave half a line
                number, tag = line.split()
                known.add((int(number), int(tag)))
    images = collection.images()
    present = zip(images.ids.tolist(), images.tags.tolist(), strict=True)
    return np.array([number for number, tag in present if (number, tag) in known], np.int64)


def _remember_faceless(collection: Collection, model_key: str, ids: np.ndarray) -> None:
    if not len(ids):
        return
    images = collection.images()
    tags = images.tags[images.positions(ids)]
    path = _faceless_file(collection, model_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        file.writelines(f"{number} {tag}\n" for number, tag in zip(ids.tolist(), tags.tolist(), strict=True))


def _faceless_file(collection: Collection, model_key: str) -> Path:
    return collection.home / FOLDER / f"{model_key}.faceless"


# ------------------------------------------------------------------------------------------ child process


class EmbedSpec(msgspec.Struct, frozen=True):
    """What job.json holds."""

    collection: str
    model: str
    device: str = "auto"


@dataclass(frozen=True)
class EmbedStatus:
    """How far a job is.

    `state` is starting, loading, embedding, finished, cancelled, failed, or lost (its process died). `done`
    and `total` count images that were missing at its start. `error` says what went wrong. `domain` is what
    the model knows where that is narrow.
    """

    state: str
    done: int = 0
    total: int = 0
    images_per_second: float = 0.0
    seconds_left: float | None = None
    error: str = ""
    faceless: int = 0
    unreadable: int = 0
    domain: str = ""

    @property
    def running(self) -> bool:
        """Whether its process is at work."""
        return self.state in ("starting", "loading", "embedding")


class EmbedJob:
    """The child process that embeds a collection: started here, or found again after a restart."""

    def __init__(self, folder: Path, child: subprocess.Popen[bytes] | None = None) -> None:
        """Use `start` or `find`."""
        self.folder = folder
        self._child = child
        self._tail = EventTail(folder)
        self._status = EmbedStatus("starting")
        self._speed: list[tuple[float, int]] = []

    @classmethod
    def start(cls, collection: Collection, choice: ClipChoice, device: str = "auto") -> EmbedJob:
        """Embed `collection` in a process; StudioError if the model isn't here, or one is at work."""
        if not available(choice):
            raise StudioError(f"{choice.title} is not on this machine.", "Download it first.")
        folder = collection.home / FOLDER
        (folder / "control").mkdir(parents=True, exist_ok=True)
        if process.alive(folder):
            raise StudioError("This folder is being embedded already.", "Wait until it ends, or stop it.")
        (folder / "control" / "stop").unlink(missing_ok=True)
        (folder / FILE).unlink(missing_ok=True)
        with atomic_write(folder / "job.json", overwrite=True) as file:
            spec = EmbedSpec(str(collection.folder.resolve()), choice.reference, device)
            file.write(msgspec.json.encode(spec))
        return cls(folder, process.start(process.main_command("_embed", str(folder)), folder))

    @classmethod
    def find(cls, collection: Collection) -> EmbedJob | None:
        """The job of `collection` that runs, or the last one; None if there never was one."""
        folder = collection.home / FOLDER
        return cls(folder) if (folder / "job.json").is_file() else None

    @property
    def model(self) -> str:
        """The model that it embeds with, as `ClipChoice.reference` names it; empty if that can't be read."""
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode((self.folder / "job.json").read_bytes(), type=EmbedSpec).model
        return ""

    def poll(self) -> EmbedStatus:
        """How far it is. Cheap: reads what was added to a file."""
        if self._child is not None:
            self._child.poll()  # lets the system forget a child that has ended
        # before the events: a process that ends in between has told everything
        alive = process.alive(self.folder)
        for event in self._tail.new():
            self._take(event.kind, event.time, event.numbers)
        if self._status.running and not alive:
            self._status = replace(
                self._status,
                state="lost",
                images_per_second=0.0,
                seconds_left=None,
                error="The process that embeds the images was ended from outside: by the system for want of "
                "memory, or by hand.",
            )
        return self._status

    def cancel(self) -> None:
        """Ask it to stop after the batch at hand."""
        with suppress(OSError):
            (self.folder / "control" / "stop").touch()

    def kill(self) -> None:
        """End it at once. What it told as done is on disk."""
        process.kill(self.folder)

    def _take(self, kind: str, when: float, numbers: dict[str, Any]) -> None:
        old = self._status
        if kind == "loading":
            self._status = EmbedStatus("loading")
            self._speed = []
        elif kind == "progress":
            done, total = int(numbers["done"]), int(numbers["total"])
            # at least the last step, which of a large model may have taken longer
            recent = [(t, n) for t, n in self._speed if when - t < RECENT] or self._speed[-1:]
            self._speed = [*recent, (when, done)]
            first, last = self._speed[0], self._speed[-1]
            rate = (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0
            left = (total - done) / rate if rate > 0 else None
            self._status = EmbedStatus(
                "embedding",
                done,
                total,
                rate,
                left,
                "",
                int(numbers["faceless"]),
                int(numbers["unreadable"]),
                numbers["domain"],
            )
        elif kind in ("finished", "cancelled", "failed"):
            self._status = replace(old, state=kind, seconds_left=None, error=str(numbers.get("error", "")))


def run_embed_job(folder: Path) -> bool:
    """Be the child process of the job in `folder`; whether all went well. Errors are told in its events."""
    spec = msgspec.json.decode((folder / "job.json").read_bytes(), type=EmbedSpec)
    stop = folder / "control" / "stop"

    tell = partial(append_event, folder)
    with process.being_the_process(folder):
        try:
            tell("loading")
            model = ClipModel.load(find_choice(spec.model), spec.device)
            if stop.exists():
                tell("cancelled")
                return True
            with Collection.open(Path(spec.collection)) as collection:

                def progress(done: int, total: int, report: EmbedReport) -> None:
                    numbers = {"faceless": report.faceless, "unreadable": len(report.unreadable)}
                    tell("progress", done=done, total=total, domain=model.domain, **numbers)

                report = embed_collection(collection, model, progress, stop.exists)
            for name, why in list(report.unreadable.items())[:100]:
                tell("unreadable", path=name, why=why)
            tell("cancelled" if report.cancelled else "finished")
            return True
        except StudioError as error:
            tell("failed", error=str(error))
        except Exception as error:  # the parent must learn of everything
            tell("failed", error=f"Something unexpected went wrong: {type(error).__name__}: {error}.")
            raise
    return False


def be_gentle() -> None:
    """Leave the machine to the person who works at it."""
    with suppress(OSError, AttributeError):
        os.nice(10)
