"""The one thread that works for the window: jobs in order, latest wins in a lane, progress, cancellation.

Qt-free. A job is a function of a JobContext; whatever it returns or raises comes out of its Future,
torch's out-of-memory RuntimeError included. The window awaits `asyncio.wrap_future(future)`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Progress = Callable[[float, str], None]

log = logging.getLogger(__name__)


class JobContext:
    """What a running job may ask and tell. Safe from any thread."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._stop = threading.Event()
        self._progress = progress

    def cancelled(self) -> bool:
        """True once nobody wants the result: a newer job of the lane, `cancel`, or `close`."""
        return self._stop.is_set()

    def progress(self, fraction: float, text: str) -> None:
        """Tell how far the job is: `fraction` from 0 to 1, and what it does now."""
        if self._progress is not None:
            self._progress(min(1.0, max(0.0, fraction)), text)

    def stop(self) -> None:
        """Ask the job to stop; it looks with `cancelled`."""
        self._stop.set()


@dataclass(eq=False)
class _Job:
    function: Callable[[JobContext], Any]
    lane: str | None
    context: JobContext
    future: Future[Any]


class Worker:
    """One thread that runs jobs in the order they came.

    The thread starts with the first job. It is a daemon, so that a program that forgot `close` still ends.
    """

    def __init__(self, name: str = "gpu") -> None:
        self._name = name
        self._queue: deque[_Job] = deque()
        self._running: _Job | None = None
        self._closed = False
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(
        self,
        job: Callable[[JobContext], T],
        *,
        lane: str | None = None,
        progress: Progress | None = None,
    ) -> Future[T]:
        """Queue `job` and return its Future.

        With a `lane`, queued older jobs of that lane are dropped (their Futures cancelled) and a running one
        is asked to stop. `progress` is called on the worker thread. RuntimeError after `close`.
        """
        future: Future[T] = Future()
        dropped: list[_Job] = []
        with self._wake:
            if self._closed:
                raise RuntimeError("The worker is closed.")
            if lane is not None:
                dropped = self._take(lane)
            self._queue.append(_Job(job, lane, JobContext(progress), future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"worker-{self._name}", daemon=True)
                self._thread.start()
            self._wake.notify()
        _cancel(dropped)
        return future

    def cancel(self, lane: str) -> None:
        """Drop the queued jobs of a lane and ask the running one to stop."""
        with self._wake:
            dropped = self._take(lane)
        _cancel(dropped)

    @property
    def idle(self) -> bool:
        """True when nothing runs and nothing waits."""
        with self._wake:
            return self._running is None and not self._queue

    def close(self, timeout: float | None = None) -> bool:
        """Drop what waits, ask the running job to stop, and wait for the thread; true if it has ended."""
        with self._wake:
            self._closed = True
            dropped = list(self._queue)
            self._queue.clear()
            if self._running is not None:
                self._running.context.stop()
            self._wake.notify_all()
        _cancel(dropped)
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return thread is None
        thread.join(timeout)
        return not thread.is_alive()

    def _take(self, lane: str) -> list[_Job]:
        """Remove the lane's queued jobs and stop its running one. Called with the lock held."""
        dropped = [job for job in self._queue if job.lane == lane]
        self._queue = deque(job for job in self._queue if job.lane != lane)
        if self._running is not None and self._running.lane == lane:
            self._running.context.stop()
        return dropped

    def _next(self) -> _Job | None:
        with self._wake:
            self._running = None
            while not self._queue and not self._closed:
                self._wake.wait()
            if not self._queue:
                return None
            self._running = self._queue.popleft()
            return self._running

    def _run(self) -> None:
        while (job := self._next()) is not None:
            _perform(job)
            del job  # a job holds a photo's pixels: let go before waiting


def _cancel(jobs: list[_Job]) -> None:
    """Outside the lock: a Future's callbacks may submit again."""
    for job in jobs:
        job.context.stop()
        job.future.cancel()


def _perform(job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        result = job.function(job.context)
    except BaseException as error:  # the waiting side decides; the thread must live
        if not isinstance(error, Exception):
            log.warning("A job raised %r.", error)
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
