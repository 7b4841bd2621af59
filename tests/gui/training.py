"""What the tests of the Train workspace share: a tiny preset, its images, and ways to begin."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from core.jobs import JobSpec, RunInfo
from gui.trainer.view import TrainerView
from tests.gui.hands import Hands
from tests.synthetic import TINY, tiny_config

PLAN = ("warmup.steps=10", "disentanglement.steps=20", "amortisation.steps=6", "synthesis.steps=20000")
OFTEN = ("sample_every=10", "checkpoint_every=5")


def toml(tree: dict, prefix: str = "") -> str:
    """Settings as TOML: tables last, numbers, truths, texts and lists as JSON writes them."""
    flat = {k: list(v) if isinstance(v, tuple) else v for k, v in tree.items() if not isinstance(v, dict)}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in flat.items())
    for name, value in tree.items():
        if isinstance(value, dict):
            text += f"[{prefix}{name}]\n{toml(value, f'{prefix}{name}.')}"
    return text


def write_preset(path: Path) -> Path:
    """A file of settings as a person may have one."""
    path.write_text(toml(msgspec.to_builtins(tiny_config(*PLAN, *OFTEN))), encoding="utf-8")
    return path


def tiny_job(data: Path, title: str, *more: str, **other: object) -> JobSpec:
    """A job as the dialog makes it, with the tiny plan; `more` are settings."""
    settings = {"preset": "faces-starter", "judge_steps": 0, "devices": ("cpu",), **other}
    return JobSpec(title=title, data=str(data), overrides=(*TINY, *PLAN, *OFTEN, *more), **settings)  # type: ignore[arg-type]


def to_train(hands: Hands) -> TrainerView:
    """Bring the Train workspace to the front."""
    hands.window.show_workspace("train")
    view = hands.window.workspaces["train"]
    assert isinstance(view, TrainerView)
    return view


def info_of(view: TrainerView, title: str) -> RunInfo | None:
    return next((info for info in view.state.runs if info.title == title), None)


def state_of(view: TrainerView, title: str) -> str:
    info = info_of(view, title)
    return "" if info is None else info.state


def training(view: TrainerView, stage: str = "synthesis") -> bool:
    """Whether the chosen run trains in a stage; an error that nobody caused fails the test."""
    info = view.state.info
    assert info is None or info.state != "failed" or info.error is None or "ended" in info.error.sentence
    return info is not None and info.state == "training" and info.stage == stage


async def trained(hands: Hands, view: TrainerView, job: JobSpec) -> RunInfo:
    """Start a job and wait until it is finished."""
    await view.start_job(job)
    await hands.until(lambda: state_of(view, job.title) in ("finished", "failed"), "for the run")
    info = info_of(view, job.title)
    assert info is not None and info.state == "finished", info
    return info
