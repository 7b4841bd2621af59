"""What every subcommand says to a terminal: results, progress, errors."""

from __future__ import annotations

import io
import json
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from core.errors import StudioError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(Exception):
    """The command line asks for something that does not exist; nothing was started. Exit code 2."""


def prepare_output() -> None:
    """Let a file name that the terminal's encoding can't show be printed escaped rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(result: Any) -> None:
    """One JSON object on standard output, ASCII only, so that every file name survives."""
    print(json.dumps(result, indent=2))


def print_error(error: StudioError | UsageError | str) -> None:
    """One sentence (and the next step) on standard error, above a progress bar where one is shown."""
    tqdm.write(f"error: {error}", file=sys.stderr)


def described(error: StudioError) -> dict[str, str]:
    """An error in a JSON result."""
    return {"message": error.message, "hint": error.hint}


def progress_bar(total: float, unit: str, *, quiet: bool = False) -> tqdm:
    """A bar on standard error; nothing where that is not a terminal, or when `quiet`."""
    hidden = quiet or sys.stderr is None or not sys.stderr.isatty()
    pattern = "{l_bar}{bar}| {n:.1f}/{total:.0f} " + unit + " [{elapsed}<{remaining}]"
    return tqdm(total=total, disable=hidden, file=sys.stderr, leave=False, bar_format=pattern)


@contextmanager
def share_bar(unit: str, *, total: float = 1, quiet: bool = False) -> Iterator[Callable[[float, str], None]]:
    """A bar for work that tells its share of `total`, from 0 to 1, and what it does; yields what it calls."""
    with progress_bar(total, unit, quiet=quiet) as bar:

        def show(share: float, text: str) -> None:
            bar.set_description(text)
            bar.update(share * total - bar.n)

        yield show


def machine() -> dict[str, Any]:
    """What a measurement was made on, for its result."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "torch": torch.__version__,
    }
