"""A run: the folder of one training. Everything in it is written whole or not at all.

config.json     settings        events.jsonl  one JSON object a line: what happened, with numbers
checkpoints/    last and best, each with all to go on      samples/  pictures      control/  requests
"""

from __future__ import annotations

import json
import math
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from core.errors import StudioError
from core.events import FILE, append_event
from core.files import atomic_write
from core.training.config import TrainConfig, stored_config


class Run:
    """A run folder, new or continued. One that doesn't write is for processes beside the leader's."""

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self.folder = folder
        self.checkpoint_file = folder / "checkpoints" / "last.safetensors"
        self.best_file = folder / "checkpoints" / "best.safetensors"
        self.writes = writes

    @classmethod
    def start(cls, folder: Path, config: TrainConfig) -> Run:
        """Make the folder; StudioError if it holds a run already."""
        if (folder / "config.json").exists():
            raise StudioError(f"{folder} holds a run already.", "Add --resume, or choose another folder.")
        for name in ("checkpoints", "samples", "control"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "config.json") as file:
            file.write(msgspec.json.format(msgspec.json.encode(config), indent=2))
        return cls(folder)

    @classmethod
    def resume(cls, folder: Path) -> tuple[Run, TrainConfig]:
        """An existing run and its settings."""
        try:
            config = stored_config((folder / "config.json").read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            raise StudioError(
                f"{folder} holds no run that can go on: {error}.", "Start a new one."
            ) from error
        return cls(folder), config

    def event(self, kind: str, **numbers: Any) -> None:
        """Append a line to events.jsonl."""
        if self.writes:
            append_event(self.folder, kind, **numbers)

    def seconds(self) -> float:
        """How long the run has been training, over all its sessions, by its events."""
        total, before = 0.0, math.inf
        with suppress(FileNotFoundError), (self.folder / FILE).open(encoding="utf-8") as file:
            for line in file:
                # a session that was killed may leave half a line
                with suppress(ValueError, KeyError, TypeError):
                    event = json.loads(line)
                    if event["kind"] != "start":
                        total += max(0.0, event["time"] - before)
                    before = event["time"]
        return total

    def save_checkpoint(
        self, tensors: dict[str, torch.Tensor], state: dict[str, Any], best: bool = False
    ) -> None:
        """Replace the last checkpoint, and the best with it where this is the `best`.

        StudioError, with the old ones kept, if the disk is too full.
        """
        if not self.writes:
            return
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        if shutil.disk_usage(self.folder).free < 1.1 * size * (1 + best) + 2**20:
            raise StudioError(
                f"The disk has too little space for a checkpoint of {size / 2**20:.0f} MB.",
                "Free some space and resume the run: the checkpoint before is kept.",
            )
        raw = save(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"state": json.dumps(state)}
        )
        for path in (self.checkpoint_file, *([self.best_file] if best else [])):
            with atomic_write(path, overwrite=True) as file:
                file.write(raw)

    def load_checkpoint(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Tensors and state of the last checkpoint, or None before the first."""
        if not self.checkpoint_file.exists():
            return None
        try:
            with safe_open(self.checkpoint_file, framework="pt") as archive:
                names = archive.keys()
                return {n: archive.get_tensor(n) for n in names}, json.loads(archive.metadata()["state"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise StudioError(
                f"The checkpoint of {self.folder} is damaged: {error}.", "Start a new run."
            ) from error

    def save_sample(self, name: str, picture: np.ndarray) -> Path:
        """Write an (H, W, 3) uint8 picture as PNG to samples/."""
        path = self.folder / "samples" / f"{name}.png"
        if not self.writes:
            return path
        with atomic_write(path, overwrite=True) as file:
            Image.fromarray(picture).save(file, "PNG")
        return path

    def asked_to_stop(self) -> bool:
        """Whether somebody has put a file named `stop` into control/."""
        return (self.folder / "control" / "stop").exists()
