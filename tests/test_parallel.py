"""Two processes that train together, started by torchrun as a person would, against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.training.parallel import Team
from tests.synthetic import TINY, write_dataset

ROOT = Path(__file__).parent.parent
FEW = (
    "network.residual_dim=12", "warmup.steps=3", "disentanglement.steps=4", "amortisation.steps=3",
    "synthesis.steps=4", "synthesis.adversarial=0.05", "synthesis.adversarial_after=0.0",
    "synthesis.penalty_every=2", "checkpoint_every=2", "synthesis.batch=10", "synthesis.swapping=0.1",
    "synthesis.leakage=0.1", "guide.steps=2", "guide.batch=10",
    # components of almost equal size turn with the last digit
    "disentanglement.residual_start=random",
)  # fmt: skip


FINE_TUNE = (
    "precision=float32", "guide.steps=2", "guide.batch=10",
    "warmup.steps=3", "warmup.batch=10", "disentanglement.steps=3", "disentanglement.batch=10",
    "amortisation.steps=2", "amortisation.batch=10", "synthesis.steps=4", "synthesis.batch=10",
)  # fmt: skip


def _train(
    run: Path, data: Path, processes: int, *more: str, program: str = "main.py", **variables: str
) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--master_port=0"]
        launch += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0"]
    begun, tuned = "--resume" in more, "--base" in more
    settings = [] if begun else ["fine-tune"] if tuned else ["faces-starter"]
    for text in () if begun else FINE_TUNE if tuned else (*TINY, *FEW):
        settings += ["--set", text]
    command = [*launch, program, "train", *settings, *more]
    command += ["--data", str(data), "--run-folder", str(run), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


Tensors = dict[str, torch.Tensor]
SAME = 1e-9  # measured: 6e-15 of a gradient, in float64; with a fault, at least some per cent


def _train_exactly(folder: Path, data: Path, processes: int, *more: str, fault: str = "") -> list[Tensors]:
    """Train in float64 in `folder`; the gradients of each step."""
    folder.mkdir()
    program, told = "tests/train_exactly.py", folder / "gradients"
    run = folder / "run"
    done = _train(run, data, processes, *more, program=program, GRADIENTS=str(told), FAULT=fault)
    assert done.returncode == 0, done.stderr[-2000:]
    return [load_file(path) for path in sorted(told.iterdir())]


def _apart(one: list[Tensors], two: list[Tensors]) -> list[float]:
    """How far each step's gradients are apart: of the groups of parameters the furthest, as a share."""
    assert [g.keys() for g in one] == [g.keys() for g in two]
    assert all(float(vector.norm()) > 0 for step in one for vector in step.values())
    return [max(float((a[n] - b[n]).norm() / a[n].norm()) for n in a) for a, b in zip(one, two, strict=True)]


def _checkpoints_agree(one: Path, two: Path) -> None:
    """Whole tables, whatever the number of processes, and the same numbers."""
    a, b = (load_file(folder / "run" / "checkpoints" / "last.safetensors") for folder in (one, two))
    assert a.keys() == b.keys() and "residuals.weight" in a
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=SAME, atol=SAME, msg=name)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 120)
    one, two = (_train_exactly(tmp_path / str(n), data, n) for n in (1, 2))
    assert max(_apart(one, two)) < SAME
    _checkpoints_agree(tmp_path / "1", tmp_path / "2")
    events = [
        [json.loads(text) for text in (tmp_path / name / "run/events.jsonl").read_text().splitlines()]
        for name in ("1", "2")
    ]
    assert [e["processes"] for e in (events[0][0], events[1][0])] == [1, 2]
    # each event once: only the leader writes; and the losses are the whole batch's
    assert [e["kind"] for e in events[0]] == [e["kind"] for e in events[1]]
    for a, b in zip(*events, strict=True):
        if a["kind"] == "step":
            assert a.keys() == b.keys()
            for loss in a.keys() - {"time", "kind", "stage", "step", "images_per_second"}:
                assert a[loss] == pytest.approx(b[loss], rel=SAME), loss


@pytest.mark.slow
def test_two_processes_fine_tune_as_one_does(tmp_path: Path, tiny_model: Path) -> None:
    data = write_dataset(tmp_path / "data", 120)
    base = ("--base", str(tiny_model))
    one, two = (_train_exactly(tmp_path / str(n), data, n, *base) for n in (1, 2))
    assert max(_apart(one, two)) < SAME
    _checkpoints_agree(tmp_path / "1", tmp_path / "2")
    # what this comparison would see, in each step
    for fault in ("missing", "mean"):
        assert min(_apart(one, _train_exactly(tmp_path / fault, data, 2, *base, fault=fault))) > 1e-2, fault


SLOW_LEADER = """
import sys, time, main
from core.training.run import Run
save = Run.save_checkpoint
def slowly(run, *what):
    time.sleep(3 * run.writes)
    save(run, *what)
Run.save_checkpoint = slowly
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_stopped_team_goes_on_with_one_process(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 60)
    run = tmp_path / "run"
    (run / "control").mkdir(parents=True)
    (run / "control" / "stop").touch()
    # torchrun ends all as soon as one ends with a code, and the leader may still be writing
    program = tmp_path / "slow_leader.py"
    program.write_text(SLOW_LEADER)
    done = _train(run, data, 2, program=str(program))
    assert done.returncode != 0 and "stopped. Go on with --resume" in done.stderr  # after its first step
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
