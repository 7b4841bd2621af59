"""Numbers and states of runs in words."""

from __future__ import annotations

import time

from core.jobs import RunInfo
from core.jobs.events import Event

STATES = {
    "queued": "Waiting",
    "preparing": "Preparing the images",
    "training": "Training",
    "pausing": "Pausing…",
    "paused": "Paused",
    "stopping": "Stopping…",
    "evaluating": "Measuring the model",
    "finished": "Finished",
    "failed": "Failed",
}
STAGES = {
    "warmup": "Warm-up of the classifier",
    "disentanglement": "Disentanglement",
    "amortisation": "Amortisation",
    "guide": "Guide of the swaps",
    "synthesis": "Synthesis",
}


def state(info: RunInfo) -> str:
    """The state as a list shows it."""
    if info.state == "queued" and info.place:
        return f"Waiting, number {info.place} in the queue"
    if info.state == "finished" and info.stopped_early:
        return "Stopped and kept"
    if info.state == "preparing" and info.prepared[1]:
        return f"Preparing images: {info.prepared[0]:,} of {info.prepared[1]:,}"
    return STATES[info.state]


def stage(name: str) -> str:
    """A stage's title."""
    return STAGES.get(name, name.replace("_", " ").capitalize())


def duration(seconds: float | None) -> str:
    """How long: 40 s, 12 min, 3 h 20 min; a dash where nobody knows."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(number: int) -> str:
    """Bytes as MB or GB."""
    if number >= 2**30:
        return f"{number / 2**30:.1f} GB"
    return f"{number / 2**20:.0f} MB" if number >= 2**20 else f"{number / 2**10:.0f} kB"


def per_cent(share: float) -> str:
    """A share of 1 as per cent."""
    return f"{share * 100:.1f} %"


def number(value: float) -> str:
    """A loss, with three figures that count."""
    return f"{value:.3g}"


def fraction(info: RunInfo) -> float | None:
    """How far a run is, 0..1; None while nobody knows."""
    if info.state == "finished":
        return 1.0
    if info.state == "preparing":
        return info.prepared[0] / info.prepared[1] if info.prepared[1] else None
    return min(1.0, info.done / info.total) if info.total else 0.0


def result(info: RunInfo) -> str:
    """What a finished run is worth, in a few words; empty before."""
    if info.state != "finished":
        return ""
    swaps = info.metrics.get("swap_success")
    if isinstance(swaps, dict) and swaps:
        numbers = [float(v) for v in swaps.values() if isinstance(v, (int, float))]
        if numbers:
            return f"swaps {per_cent(sum(numbers) / len(numbers))}"
    if info.accuracy:
        return f"accuracy {per_cent(sum(info.accuracy.values()) / len(info.accuracy))}"
    return ""


def when(seconds: float) -> str:
    """The time of an event today, with its date if it was another day."""
    then = time.localtime(seconds)
    today = time.localtime()
    clock = time.strftime("%H:%M:%S", then)
    return clock if then[:3] == today[:3] else f"{time.strftime('%Y-%m-%d', then)} {clock}"


def event(found: Event) -> str:
    """An event as a line of the log; empty for those that are no news there."""
    n = found.numbers
    where = f"{stage(str(n.get('stage', '')))}, step {n.get('step', 0):,}" if "step" in n else ""
    match found.kind:
        case "preparing":
            if not n.get("total"):
                return "The run begins."
            return f"Preparing images: {n.get('done', 0):,} of {n['total']:,}."
        case "start":
            return f"Training on {n.get('images', 0):,} images, on the device “{n.get('device', '')}”."
        case "stage":
            return f"{stage(str(n.get('stage', '')))} begins, {int(n.get('steps', 0)):,} steps."
        case "evaluation":
            shares = list(n.get("accuracy", {}).values())
            return f"{where}: mean accuracy {per_cent(sum(shares) / len(shares))}." if shares else ""
        case "sample":
            return f"{where}: a sample."
        case "asked":
            asked = {"pause": "to pause", "stop": "to stop and keep", "sample": "for a sample"}
            return f"The run was asked {asked.get(str(n.get('request')), str(n.get('request')))}."
        case "gap":
            return f"The machine stood still for {duration(float(n.get('seconds', 0)))}."
        case "budget":
            return "The time budget is used up."
        case "memory":
            return f"Memory is short: batches are worked on {n.get('images_at_a_time', 0)} images at a time."
        case "diverged":
            return f"{where}: the losses are no longer numbers."
        case "calmer":
            return "The learning rates are half of what they were."
        case "paused":
            killed = ", after its process didn’t answer" if n.get("killed") else ""
            return f"Paused{killed}."
        case "evaluating":
            return "The training is over; the model is being measured."
        case "finished":
            return "Finished."
        case "kept":
            return f"The model is kept in {n.get('folder', '')}."
        case "failed":
            return f"Failed: {n.get('sentence', '')} {n.get('hint', '')}".strip()
    return ""
