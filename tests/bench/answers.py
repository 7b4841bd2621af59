"""How soon a training answers: `python -m tests.bench.answers [--preset small] [--side 64]`.

Seconds from a person's click to what it is for, with a real child process of a preset of a normal size, on
drawn images. The window looks every half second, which comes on top; it shows what was asked at once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0
FEW = ("warmup.steps=4", "disentanglement.steps=4", "amortisation.steps=4", "synthesis.steps=100000")


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zerodim-answers-") as made:
        os.environ["XDG_DATA_HOME"] = made
        found = measure(Path(made), arguments.preset, arguments.side, arguments.images)
    print(f"| {arguments.preset}, {arguments.side} px | seconds |\n| --- | ---: |")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.2f} |")
    return 0


def measure(made: Path, preset: str, side: int, images: int) -> dict[str, float]:
    """Seconds by what was asked for."""
    from core.jobs import Jobs, JobSpec, read_events
    from core.jobs import process as processes
    from tests.synthetic import write_dataset

    data = write_dataset(made / "data", images, side)
    jobs, found = Jobs(made / "runs"), {}
    # it measures and samples often, so that it can be asked in the middle of that
    often = ("sample_every=25", "checkpoint_every=25")
    spec = JobSpec(
        title="Answers", data=str(data), preset=preset, overrides=(*FEW, *often), devices=("cpu",), keep=False
    )

    def until(reached: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > end:
                raise TimeoutError(f"in vain: {jobs.info(run)}")
            jobs.poll()
            time.sleep(0.02)

    def timed(name: str, ask: Callable[[], Any], reached: Callable[[], Any]) -> None:
        started = time.monotonic()
        ask()
        until(reached)
        found[name] = time.monotonic() - started
        print(f"{name}: {found[name]:.2f}", file=sys.stderr)

    def kinds() -> list[str]:
        return [event.kind for event in read_events(run)]

    def state() -> str:
        return jobs.info(run).state

    def in_synthesis() -> bool:
        info = jobs.info(run)
        return info.state == "training" and info.stage == "synthesis" and info.images_per_second > 0

    def freed() -> bool:
        return state() == "paused" and not processes.alive(run)

    def count(kind: str) -> Callable[[], bool]:
        before = kinds().count(kind)
        return lambda: kinds().count(kind) > before

    run = jobs.start(spec).folder
    try:
        timed("pause while it prepares, until the device is free", lambda: jobs.pause(run), freed)
        jobs.resume(run)
        until(in_synthesis)
        timed("sample now, until it is there", lambda: jobs.sample_now(run), count("sample"))
        timed("pause, until the device is free", lambda: jobs.pause(run), freed)
        begins, trains = count("preparing"), in_synthesis_again(run, read_events)
        timed("resume, until its process says that it begins", lambda: jobs.resume(run), begins)
        timed("and until it trains", lambda: None, trains)
        until(in_synthesis)
        until(count("sample"))  # it is about to measure
        timed("pause while it evaluates, until the device is free", lambda: jobs.pause(run), freed)
        jobs.resume(run)
        until(in_synthesis)
        stopped, saved = count("stopped"), run / "model" / "card.json"
        timed("stop and keep, until the training has stopped", lambda: jobs.stop_and_keep(run), stopped)
        timed("and until its sample and model are there", lambda: None, saved.exists)
        until(lambda: state() == "evaluating")
        timed("pause while it measures", lambda: jobs.pause(run), freed)
        (run / "control" / "finish").unlink()
        jobs.resume(run)
        until(in_synthesis)
        os.kill(json.loads((run / "process.json").read_text())["pid"], signal.SIGSTOP)
        timed("pause of a process that doesn't answer", lambda: jobs.pause(run), freed)
        jobs.resume(run)
        until(in_synthesis)
        timed("discard, until its folder is gone", lambda: jobs.discard(run), lambda: not run.exists())
    finally:
        if run.exists():
            processes.kill(run)
    return found


def in_synthesis_again(run: Path, read_events: Callable[[Path], Any]) -> Callable[[], bool]:
    """Whether a step has been told since now."""
    before = len(read_events(run))
    return lambda: any(
        event.kind == "stage" and "steps" in event.numbers for event in read_events(run)[before:]
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
