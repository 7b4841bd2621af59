"""Measure how fast this machine trains: images a second of every stage, losses, and peak memory.

The networks are those of the faces presets at 128 and 64 px, the images random. From the source tree the
same steps are taken by a plain implementation too, whose generator has weights for every sample and one
grouped convolution for a batch, by turns with ours, so that both see the machine alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.cli.terminal import DONE, machine, print_json, progress_bar
from core.memory import peak_bytes

if TYPE_CHECKING:
    from core.training.config import TrainConfig
    from core.training.loop import Trainer
    from core.training.state import TrainState

SUMMARY = "training, stage by stage"
PRESETS = ("faces-128", "faces-starter")
PLAIN = "tests.bench.grouped"
IMAGES = 96
# runs this file's `peak` alone, so that the peak is of one implementation
PEAK = "import sys; from core.cli.bench_train import peak; peak(sys.argv[1], sys.argv[2] == 'plain')"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--steps", type=int, default=5, help="measured steps of each stage (default: 5)")
    add("--threads", type=int, help="threads of torch (default: torch's own choice)")
    add("--without-plain", action="store_true", help="measure ours only")
    add("--without-memory", action="store_true", help="leave the peak memory out")
    add("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    plain = None if arguments.without_plain else _plain()
    result: dict[str, Any] = {
        "machine": machine(),
        "steps": arguments.steps,
        "presets": {},
    }
    for preset in PRESETS:
        with tempfile.TemporaryDirectory(prefix="zerodim-bench-") as folder:
            found = measure(preset, Path(folder), arguments.steps, plain, arguments.json)
        if not arguments.without_memory:
            found["peak_megabytes"] = {
                name: _peak_of(preset, name) for name in ("ours", *(["plain"] if plain else []))
            }
        result["presets"][preset] = found
    if arguments.json:
        print_json(result)
    else:
        print(table(result))
    return DONE


def _plain() -> Any:
    try:
        return importlib.import_module(PLAIN)
    except ImportError:
        return None


def measure(preset: str, folder: Path, steps: int, plain: Any, quiet: bool = False) -> dict[str, Any]:
    """Images a second of every stage and the largest difference of losses in the first step."""
    trainer = _trainer(preset, folder)
    found: dict[str, Any] = {"image_size": trainer.size, "stages": {}}
    names = [name for name in _stages() if getattr(trainer.config, name).steps]
    with progress_bar(len(names) * (steps + 1), "steps", quiet=quiet) as bar:
        for name in names:
            trainer._enter(_stages().index(name))
            sides: dict[str, TrainState] = {"ours": trainer.state}
            if plain is not None:
                sides["plain"] = plain.grouped_state(trainer.state)
            seconds, losses = _race(trainer, name, sides, plain, steps, bar)
            size = getattr(trainer.config, name).batch
            row: dict[str, Any] = {"batch": size, "ours": size / float(np.median(seconds["ours"]))}
            if plain is not None:
                row["plain"] = size / float(np.median(seconds["plain"]))
                row["times"] = float(np.median(np.divide(seconds["plain"], seconds["ours"])))
                row["loss_difference"] = max(
                    abs(losses["ours"][key] - losses["plain"][key]) / max(abs(losses["plain"][key]), 1e-3)
                    for key in losses["ours"]
                )
            found["stages"][name] = row
    found |= _whole(trainer.config, found["stages"])
    return found


def _whole(config: TrainConfig, rows: dict[str, Any]) -> dict[str, float]:
    """What all steps of a training take at these rates, in minutes, and how many times as long plainly."""
    seconds = {
        side: sum(getattr(config, name).steps * row["batch"] / row[side] for name, row in rows.items())
        for side in ("ours", "plain")
        if all(side in row for row in rows.values())
    }
    whole = {"minutes": seconds["ours"] / 60}
    return whole | ({"times": seconds["plain"] / seconds["ours"]} if "plain" in seconds else {})


def _race(
    trainer: Trainer, name: str, sides: dict[str, TrainState], plain: Any, steps: int, bar: Any
) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    from core.training import stages

    share = 0.9  # all losses are on
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    losses: dict[str, dict[str, float]] = {}
    for state in sides.values():
        state.optimizers = stages.make_optimizers(trainer.config, state, name)
    for number in range(steps + 1):
        batch = trainer.sampler.batch(name, number).to(trainer.device)
        for side, state in sides.items():
            own = plain.contiguous(batch) if side == "plain" else batch
            state.step = number
            started = time.perf_counter()
            parts = stages.step(trainer.config, state, own, name, share)
            if number:  # the first step is warm-up, and its losses are of equal weights
                seconds[side].append(time.perf_counter() - started)
            else:
                losses[side] = {key: float(value) for key, value in parts.items()}
        bar.update()
    return seconds, losses


def _stages() -> tuple[str, ...]:
    from core.training.state import STAGES

    return STAGES


def _trainer(preset: str, folder: Path) -> Trainer:
    import torch

    from core.attributes import load_attribute_set
    from core.cli.train import preset_path
    from core.paths import resources
    from core.training.config import load_config
    from core.training.dataset import Dataset, Index, write_index
    from core.training.loop import Trainer
    from core.training.run import Run

    config: TrainConfig = load_config(
        preset_path(preset),
        ["disentanglement.images=0", "disentanglement.residual_start=random", "warmup.pretrained="],
    )
    attributes = load_attribute_set(resources() / "attributes" / f"{config.attributes}.toml")
    rng = np.random.default_rng(0)
    size = config.network.image_size
    np.save(folder / "images.npy", rng.integers(0, 256, (IMAGES, size, size, 3), np.uint8))
    np.save(folder / "inside.npy", np.ones((IMAGES, size, size), bool))
    labels = np.stack([rng.integers(-1, len(a.values), IMAGES) for a in attributes], 1).astype(np.int8)
    np.save(folder / "labels.npy", labels)
    write_index(folder, Index(attributes, ["random"], [0] * IMAGES, [0] * IMAGES))
    return Trainer(config, Dataset.open(folder), Run(folder / "run", writes=False), torch.device("cpu"))


def _peak_of(preset: str, side: str) -> float | None:
    """Peak memory in megabytes of a process that takes two steps of every stage."""
    command = [sys.executable, "-c", PEAK, preset, side]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(json.loads(done.stdout)) if done.returncode == 0 else None


def peak(preset: str, plain: bool) -> None:
    """Print this process's peak memory after two steps of every stage."""
    module = _plain() if plain else None
    with tempfile.TemporaryDirectory(prefix="zerodim-bench-") as folder:
        trainer = _trainer(preset, Path(folder))
        for name in _stages():
            if getattr(trainer.config, name).steps:
                trainer._enter(_stages().index(name))
                state = trainer.state if module is None else module.grouped_state(trainer.state)
                with progress_bar(2, "steps", quiet=True) as bar:
                    side = "ours" if module is None else "plain"
                    _race(trainer, name, {side: state}, module, 1, bar)
    print(round(peak_bytes() / 2**20))


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    where = result["machine"]
    lines = [f"{where['threads']} threads, torch {where['torch']}, median of {result['steps']} steps", ""]
    lines += ["| preset | stage | batch | images/s | plain | times | losses differ by |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for preset, found in result["presets"].items():
        for stage, row in found["stages"].items():
            cells = [preset, stage, str(row["batch"]), f"{row['ours']:.1f}"]
            if "plain" in row:
                cells += [f"{row['plain']:.1f}", f"{row['times']:.2f}", f"{row['loss_difference']:.1e}"]
            else:
                cells += ["", "", ""]
            lines.append("| " + " | ".join(cells) + " |")
        times = f"{found['times']:.2f}" if "times" in found else ""
        lines.append(f"| {preset} | all its steps | | {found['minutes']:.0f} minutes | | {times} | |")
    for preset, found in result["presets"].items():
        for side, megabytes in found.get("peak_megabytes", {}).items():
            lines.append(f"- peak memory of {preset}, {side}: {megabytes:.0f} MB" if megabytes else "")
    return "\n".join(lines)
