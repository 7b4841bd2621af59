"""What a person asks for: one training as plain data, and the words that checks answer with."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from core.errors import StudioError
from core.paths import resources

Kind = Literal["prepared", "collection", "folder"]
Mode = Literal["add", "domain"]


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One training that a person wants. Stored as `job.json` in the run's folder; holds no secrets.

    - `data`, `kind`: a folder that `prepare` made, a Collection, or any folder of images (values are then the
      names of its sub-folders, if `folder_names` names the attribute).
    - `faces`: find and align the faces of a Collection or folder; else the middle square of each image.
    - `attributes`: names of the data's attributes to learn; empty is all of them.
    - `preset`: a name from `presets()`, or the path of a TOML file; `size` in pixels, 0 is the preset's.
    - `base`: the folder of a model to fine-tune, empty is from scratch. `mode` “add” keeps the model's
      attributes and adds the data's (its size and networks are the base's); “domain” learns the data's
      attributes only and keeps what fits of the networks.
    - `devices`: one device (“auto”, “cpu”, “cuda”, “cuda:1”, “mps”), or several CUDA ones, used together.
    - `minutes`: time budget, 0 is none: the plan is shortened to fit, and at its end the model is kept.
    - `step_seconds`: what `estimate` measured, by stage, so that time left is right from the start.
    - `judge_steps`: how long to train the judge of swaps for the final numbers; 0 leaves those out.
    - `keep`: put the finished model into the user's models folder by itself.
    """

    title: str
    data: str
    kind: Kind = "prepared"
    faces: bool = False
    folder_names: str = ""
    attributes: tuple[str, ...] = ()
    preset: str = "quick"
    size: int = 0
    base: str = ""
    mode: Mode = "add"
    devices: tuple[str, ...] = ("auto",)
    minutes: float = 0.0
    seed: int = 0
    overrides: tuple[str, ...] = ()
    step_seconds: dict[str, float] = {}
    judge_steps: int = 600
    keep: bool = True


@dataclass(frozen=True)
class Finding:
    """One answer of a check: `level` is “fine”, “note”, “warning” or “error” (the job can't start)."""

    level: Literal["fine", "note", "warning", "error"]
    sentence: str
    hint: str = ""


@dataclass(frozen=True)
class Estimate:
    """Measured on real steps: whole time without preparation, seconds a step by stage, peak bytes of memory.

    `device` is where it was measured. A shared or hot machine may be slower later.
    """

    seconds: float
    step_seconds: dict[str, float]
    steps: dict[str, int]
    memory: int
    device: str


@dataclass(frozen=True)
class Preset:
    """A choice of settings. `recommended_for` is “scratch”, “base” or “special” (made for one data set)."""

    name: str
    title: str
    about: str
    size: int
    steps: int
    recommended_for: Literal["scratch", "base", "special"]
    path: Path


# In the order of the dialog; all others in resources/presets are made for special images.
SCRATCH = ("quick", "small", "full")
BASE = ("fine-tune", "fine-tune-quick")
SIZES = (32, 64, 128, 256)


def presets() -> tuple[Preset, ...]:
    """The program's own presets, those for any images first. Reads TOML only: cheap, no torch."""
    folder = resources() / "presets"
    names = [path.stem for path in sorted(folder.glob("*.toml"))]
    first = [name for name in (*SCRATCH, *BASE) if name in names]
    return tuple(_preset(folder / f"{name}.toml") for name in (*first, *(n for n in names if n not in first)))


def preset_path(name: str) -> Path:
    """A preset's file by its name or path; StudioError if there is none."""
    own = resources() / "presets" / f"{name}.toml"
    path = own if own.is_file() else Path(name)
    if not path.is_file():
        raise StudioError(f"There is no preset “{name}”.", "Choose another.")
    return path


def _preset(path: Path) -> Preset:
    tree = tomllib.loads(path.read_text("utf-8"))
    stages = ("warmup", "disentanglement", "amortisation", "guide", "synthesis")
    group = "scratch" if path.stem in SCRATCH else "base" if path.stem in BASE else "special"
    return Preset(
        path.stem,
        tree.get("title", path.stem),
        tree.get("description", ""),
        tree.get("network", {}).get("image_size", 64),
        sum(tree.get(stage, {}).get("steps", 0) for stage in stages),
        group,  # type: ignore[arg-type]
        path,
    )
