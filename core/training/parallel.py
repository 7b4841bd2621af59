"""Several processes that train one model, started by torchrun: each has a part of every batch.

All processes hold the same networks and make the same random choices; gradients are added up after every
step. Residual codes and their optimiser's moments are sharded: the process `row % size` owns a row.
Checkpoints hold whole tables, so that a run goes on with any number of processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

import torch
from torch import distributed, nn


class Team:
    """The processes of a training; alone where the program wasn't started by torchrun."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's folder."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """This process's part of a batch or of a table's rows."""
        return slice(self.rank, None, self.size)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes; no gradient passes."""
        if self.size > 1:
            values = values.detach().clone()
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is true in some process."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def wait(self, device: torch.device | str) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            self.any(False, torch.device(device))

    def sync_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add gradients up over the processes; one that no process has stays None."""
        if self.size == 1:
            return
        chosen = list(parameters)
        if not chosen:
            return
        have = torch.tensor([float(p.grad is not None) for p in chosen], device=chosen[0].device)
        flat = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in chosen]
        total = self.sum(torch.cat([*flat, have]))
        *gradients, have = total.split([p.numel() for p in chosen] + [len(chosen)])
        for parameter, gradient, some in zip(chosen, gradients, have.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if some else None

    def leaders(self, values: torch.Tensor) -> torch.Tensor:
        """The leader's values in every process."""
        if self.size > 1:
            values = values.contiguous()
            distributed.broadcast(values, 0)
        return values

    # -- tables of which a process holds the rows `rank::size`

    def rows(self, shard: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Rows (n,) of the whole table, (n, R), in every process; zeros for rows of -1."""
        mine = (rows >= 0) & (rows % self.size == self.rank)
        found = shard.new_zeros(len(rows), shard.shape[1])
        found[mine] = shard.detach()[rows[mine] // self.size]
        return self.sum(found)

    def sparse_gradient(self, shard: torch.Tensor, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Give the shard the gradient (n, R) of `rows` (n,), each process having its part of the sum."""
        gradient = self.sum(gradient)
        mine = (rows >= 0) & (rows % self.size == self.rank)
        index = (rows[mine] // self.size)[None]
        shard.grad = torch.sparse_coo_tensor(index, gradient[mine], shard.shape, check_invariants=False)

    def whole_table(self, shard: torch.Tensor, count: int) -> torch.Tensor:
        """The whole table (count, R) from the processes' shards."""
        if self.size == 1:
            return shard.detach()
        table = shard.new_zeros(count, shard.shape[1])
        table[self.part] = shard.detach()
        return self.sum(table)


def join_team(device: str) -> tuple[Team, str]:
    """The team that torchrun started this process in, and the process's device.

    NCCL on CUDA, gloo otherwise. Without torchrun a team of one, and the device as it is.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team(), device
    cuda = device.split(":")[0] in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    elif device == "auto":
        device = "cpu"
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if cuda else "gloo")
    return Team(distributed.get_rank(), distributed.get_world_size()), device


def leave_team() -> None:
    """Close what `join_team` opened."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def leave_at_once(code: int) -> NoReturn:
    """End this process of a team, which has done its part, with the exit code.

    gloo's threads can abort a process that ends in order while another still writes (“terminate called
    without an active exception”), and the whole team would be told that it failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
