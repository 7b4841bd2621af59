"""The worker: order, lanes, cancellation, errors, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from core.worker import JobContext, Worker


@pytest.fixture
def worker():
    made = Worker("test")
    yield made
    assert made.close(10)


class Gate:
    """A job that says that it runs and waits until it is let through."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.open = threading.Event()
        self.saw_cancel = False

    def __call__(self, context: JobContext) -> str:
        self.started.set()
        assert self.open.wait(10)
        self.saw_cancel = context.cancelled()
        return "through"


def test_jobs_run_in_order_on_one_other_thread(worker):
    seen: list[tuple[int, int]] = []

    def job(number):
        return lambda _: seen.append((number, threading.get_ident()))

    for future in [worker.submit(job(i)) for i in range(20)]:
        future.result(10)
    assert [n for n, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_a_newer_job_drops_older_ones_of_its_lane_only(worker):
    gate = Gate()
    running = worker.submit(gate, lane="render")
    assert gate.started.wait(10)
    other = worker.submit(lambda _: "other", lane="open")
    free = worker.submit(lambda _: "free")
    old = worker.submit(lambda _: "old", lane="render")
    new = worker.submit(lambda _: "new", lane="render")
    gate.open.set()
    assert new.result(10) == "new"
    assert old.cancelled()
    assert gate.saw_cancel, "the running job of the lane is asked to stop"
    assert running.result(10) == "through", "what it returns still arrives"
    assert other.result(10) == "other"
    assert free.result(10) == "free"


def test_cancel_leaves_other_lanes_alone(worker):
    gate = Gate()
    worker.submit(gate, lane="open")
    assert gate.started.wait(10)
    queued = worker.submit(lambda _: 1, lane="render")
    worker.cancel("render")
    assert queued.cancelled()
    gate.open.set()
    worker.submit(lambda _: 1).result(10)
    assert not gate.saw_cancel


def test_errors_come_out_and_the_thread_lives(worker):
    def broken(_):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        worker.submit(broken).result(10)
    with pytest.raises(SystemExit):
        worker.submit(lambda _: exec("raise SystemExit(3)")).result(10)
    assert worker.submit(lambda _: 5).result(10) == 5


def test_progress_is_clamped_and_optional(worker):
    told: list[tuple[float, str]] = []

    def job(context: JobContext) -> None:
        context.progress(-1, "a")
        context.progress(0.5, "b")
        context.progress(7, "c")

    worker.submit(job, progress=lambda f, t: told.append((f, t))).result(10)
    worker.submit(job).result(10)
    assert told == [(0.0, "a"), (0.5, "b"), (1.0, "c")]


def test_close_stops_the_running_job_and_drops_the_rest():
    before = threading.active_count()
    worker = Worker("closing")
    seen = threading.Event()

    def job(context: JobContext) -> str:
        seen.set()
        while not context.cancelled():
            threading.Event().wait(0.005)
        return "stopped"

    running = worker.submit(job)
    waiting = worker.submit(lambda _: 1)
    assert seen.wait(10)
    assert not worker.idle
    assert worker.close(10)
    assert running.result(0) == "stopped"
    with pytest.raises(CancelledError):
        waiting.result(0)
    with pytest.raises(RuntimeError):
        worker.submit(lambda _: 1)
    assert worker.close(10), "closing twice is harmless"
    assert threading.active_count() == before


def test_an_unused_worker_starts_no_thread():
    before = threading.active_count()
    worker = Worker()
    assert threading.active_count() == before
    assert worker.idle
    assert worker.close()


def test_many_submits_from_many_threads_lose_nothing(worker):
    futures, lock = [], threading.Lock()

    def submit_some():
        for i in range(200):
            future = worker.submit(lambda _, i=i: i)
            with lock:
                futures.append((i, future))

    threads = [threading.Thread(target=submit_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(future.result(10) == i for i, future in futures)
    assert len(futures) == 800


def test_awaited_from_asyncio(worker):
    async def main():
        gate = Gate()
        asyncio.get_running_loop().call_later(0.05, gate.open.set)
        return await asyncio.wrap_future(worker.submit(gate, lane="render"))

    assert asyncio.run(main()) == "through"
