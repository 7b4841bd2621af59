"""Two processes that train together, started by torchrun as a person would, against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from core.training.config import TrainConfig
from core.training.parallel import Team
from core.training.state import TrainState
from tests.synthetic import TINY, faces_attributes, write_dataset

ROOT = Path(__file__).parent.parent
FEW = (
    "network.residual_dim=12", "warmup.steps=3", "disentanglement.steps=4", "amortisation.steps=3",
    "synthesis.steps=4", "synthesis.adversarial=0.05", "synthesis.adversarial_after=0.0",
    "synthesis.penalty_every=2", "checkpoint_every=2", "synthesis.batch=10", "synthesis.swapping=0.1",
    "synthesis.leakage=0.1",
    # components of almost equal size turn with the last digit
    "disentanglement.residual_start=random",
)  # fmt: skip


FINE_TUNE = (
    "warmup.steps=3", "warmup.batch=10", "disentanglement.steps=3", "disentanglement.batch=10",
    "amortisation.steps=2", "amortisation.batch=10", "synthesis.steps=4", "synthesis.batch=10",
)  # fmt: skip


def _train(run: Path, data: Path, processes: int, *more: str) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--master_port=0"]
        launch += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0"]
    begun, tuned = "--resume" in more, "--base" in more
    settings = [] if begun else ["fine-tune"] if tuned else ["faces-starter"]
    for text in () if begun else FINE_TUNE if tuned else (*TINY, *FEW):
        settings += ["--set", text]
    command = [*launch, "main.py", "train", *settings, *more]
    command += ["--data", str(data), "--run-folder", str(run), "--device", "cpu"]
    # newer kernels round differently for batches of other sizes: some steps later by thousandths
    kernels = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    environment = {**os.environ, **kernels, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


Tensors = dict[str, torch.Tensor]


def _went_the_same_way(start: Tensors, one: Tensors, two: Tensors, prefix: str = "networks.") -> None:
    """Each network's change, as a vector (measured: apart by some millionths of it)."""
    for part in ("classifier", "embeddings", "generator", "residual_encoder"):
        names = [name for name in one if name.startswith(f"{prefix}{part}.")]
        apart = sum(float((one[name] - two[name]).square().sum()) for name in names)
        moved = sum(float((one[name] - start[name]).square().sum()) for name in names)
        assert moved > 0 and (apart / moved) ** 0.5 < 1e-3, part


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 120)
    for name, processes in (("one", 1), ("two", 2)):
        done = _train(tmp_path / name, data, processes)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_file(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        # whole tables, whatever the number of processes
        assert one[name].shape == two[name].shape
    config = msgspec.json.decode((tmp_path / "one" / "config.json").read_bytes(), type=TrainConfig)
    counts = [len(a.values) for a in faces_attributes()]
    _went_the_same_way(TrainState.fresh(config, counts, 96, torch.device("cpu")).tensors(), one, two)
    events = [
        [json.loads(text) for text in (tmp_path / name / "events.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [e["processes"] for e in (events[0][0], events[1][0])] == [1, 2]
    # each event once: only the leader writes; and the losses are the whole batch's
    assert [e["kind"] for e in events[0]] == [e["kind"] for e in events[1]]
    for a, b in zip(*events, strict=True):
        if a["kind"] == "step":
            assert a.keys() == b.keys()
            for loss in {"reconstruction", "matching", "classification", "decay"} & a.keys():
                assert a[loss] == pytest.approx(b[loss], rel=0.02), loss


@pytest.mark.slow
def test_two_processes_fine_tune_as_one_does(tmp_path: Path, tiny_model: Path) -> None:
    data = write_dataset(tmp_path / "data", 120)
    for name, processes in (("one", 1), ("two", 2)):
        done = _train(tmp_path / name, data, processes, "--base", str(tiny_model))
        assert done.returncode == 0, done.stderr[-2000:]
    start, one, two = (
        load_file(folder / "weights.safetensors")
        for folder in (tiny_model, tmp_path / "one" / "model", tmp_path / "two" / "model")
    )
    _went_the_same_way(start, one, two, "")


@pytest.mark.slow
def test_a_stopped_team_goes_on_with_one_process(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 60)
    run = tmp_path / "run"
    (run / "control").mkdir(parents=True)
    (run / "control" / "stop").touch()
    assert _train(run, data, 2).returncode != 0  # stopped after its first step
    kinds = [json.loads(text)["kind"] for text in (run / "events.jsonl").read_text().splitlines()]
    assert kinds[-1] == "stopped"
    assert _train(run, data, 1, "--resume").returncode == 0


def test_a_team_of_one_has_whole_tables() -> None:
    team, table = Team(), torch.arange(12.0).reshape(6, 2)
    rows = torch.tensor([4, -1, 0])
    assert team.rows(table, rows).tolist() == [[8, 9], [0, 0], [0, 1]]
    parameter = torch.nn.Parameter(table.clone())
    team.sparse_gradient(parameter, torch.tensor([1, 1]), torch.ones(2, 2))
    assert parameter.grad is not None
    assert parameter.grad.to_dense()[1].tolist() == [2, 2]
