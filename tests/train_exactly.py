"""`main.py train` in float64, that tells each step's gradients: to be run by tests/test_parallel.py.

In float32 two processes drift from one whatever they do: sums of other parts round otherwise, a ReLU or an
absolute value near zero then takes its other side, and Adam moves a weight as far for a gradient of nothing
but rounding as for a large one. After twelve steps gradients were apart by 2 %; in float64 by 6e-15.

GRADIENTS is a folder that is made: a file for each step of an optimiser. FAULT=missing loses the gradients of
all processes but the first, FAULT=mean has their mean instead of their sum.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

import main
from core.training.parallel import Team


def use_doubles() -> None:
    """Have float64 wherever the training says float32."""
    from_numpy = torch.from_numpy

    def doubled(array: Any) -> torch.Tensor:
        tensor = from_numpy(array)
        return tensor.double() if tensor.dtype == torch.float32 else tensor

    torch.set_default_dtype(torch.float64)
    torch.from_numpy = doubled  # type: ignore[assignment]
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]


def tell_gradients(folder: Path) -> None:
    """Write what an optimiser gets, before each of its steps: a vector for each of its groups."""
    numbers = count()

    def write(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if isinstance(optimizer, torch.optim.SparseAdam):  # each process has its own rows
            return
        found = {}
        for i, group in enumerate(optimizer.param_groups):
            gradients = [p.grad.flatten() for p in group["params"] if p.grad is not None]
            if gradients:
                found[str(i)] = torch.cat(gradients)
        save_file(found, folder / f"{next(numbers):03d}.safetensors")

    folder.mkdir()
    register_optimizer_step_pre_hook(write)


def make_fault(kind: str) -> None:
    """Have gradients added up wrongly."""
    add_up = Team.sync_gradients

    def wrongly(team: Team, parameters: Any) -> None:
        chosen = list(parameters)
        for parameter in chosen:
            if parameter.grad is not None:
                parameter.grad *= {"missing": float(team.leads), "mean": 1 / team.size}[kind]
        add_up(team, chosen)

    Team.sync_gradients = wrongly  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    use_doubles()
    if os.environ.get("RANK", "0") == "0":
        tell_gradients(Path(os.environ["GRADIENTS"]))
    if os.environ.get("FAULT"):
        make_fault(os.environ["FAULT"])
    sys.exit(main.main(sys.argv[1:]))
