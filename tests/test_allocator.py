"""Processes that train begin with the C library's memory settings, once, and say and return the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import allocator
from core.jobs import process

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = {name: value for name, value in os.environ.items() if name != allocator.VARIABLE}
glibc = pytest.mark.skipif(not allocator.tensor_environment() and allocator.VARIABLE not in os.environ,
                           reason="not glibc")  # fmt: skip
SHOW = (
    "import os, resource, sys; sys.path.insert(0, {root!r}); sys.argv = ['main.py', *sys.argv[1:]]\n"
    "print(os.getpid(), flush=True)\n"
    "from core.cli.app import restart_to_train; restart_to_train(sys.argv[1:])\n"
    "print(sys.argv[1:], os.environ.get('GLIBC_TUNABLES', ''))\n"
)


def run(*arguments: str, **more: str) -> list[str]:
    """What a program prints that restarts as `main.py` does, started with `arguments`."""
    command = [sys.executable, "-c", SHOW.format(root=str(ROOT)), *arguments]
    found = subprocess.run(command, env=WITHOUT | more, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


@glibc
def test_a_training_begins_anew_in_the_same_process_with_the_settings_and_the_same_arguments() -> None:
    first, second, told = run("train", "small", "--set", "title=a b")
    assert first == second  # its process number: who started it goes on waiting for it
    assert told == f"{['train', 'small', '--set', 'title=a b']} {allocator.SETTINGS}"


def test_other_commands_and_a_persons_own_settings_are_left_alone() -> None:
    assert run("edit", "photo.jpg")[1:] == ["['edit', 'photo.jpg'] "]
    mine = "glibc.malloc.arena_max=2"
    assert run("train", GLIBC_TUNABLES=mine)[1:] == [f"['train'] {mine}"]


@glibc
def test_the_c_library_takes_the_settings() -> None:
    """Freed memory is kept: taken and given back again and again, pages are not asked for anew."""
    program = (
        "import resource\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def use():\n    b = bytearray(20 << 20)\n    b[::4096] = bytes([1]) * len(b[::4096])\n"
        "use(); use(); before = faults()\n"
        "for _ in range(10): use()\n"
        "print(faults() - before)"
    )

    def count(environment: dict[str, str]) -> int:
        command = [sys.executable, "-c", program]
        return int(subprocess.run(command, env=environment, capture_output=True, text=True).stdout)

    without, settled = count(WITHOUT), count(WITHOUT | {allocator.VARIABLE: allocator.SETTINGS})
    assert settled < without / 10 or without < 100


@glibc
def test_a_job_has_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(allocator.VARIABLE, raising=False)
    told = f"import os; print(os.environ['{allocator.VARIABLE}'])"
    child = process.start([sys.executable, "-c", told], tmp_path)
    assert child.wait(60) == 0
    assert (tmp_path / "output.txt").read_text().strip() == allocator.SETTINGS
