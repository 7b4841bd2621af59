"""The command line: the window by default, or a subcommand. Imports nothing slow before it knows which."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from core import __version__
from core.allocator import restart_for_tensors
from core.cli import (
    annotate,
    annotator,
    bench,
    benchmark,
    calibrate,
    edit,
    evaluate,
    export_labels,
    hidden_embed,
    hidden_train,
    import_labels,
    models,
    prepare,
    train,
)
from core.cli.terminal import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    UsageError,
    described,
    prepare_output,
    print_error,
    print_json,
)
from core.errors import StudioError

# Each module has SUMMARY, `add_arguments(parser)` and `run(arguments) -> exit code`.
COMMANDS: dict[str, ModuleType] = {
    "edit": edit,
    "models": models,
    "prepare": prepare,
    "train": train,
    "calibrate": calibrate,
    "evaluate": evaluate,
    "annotator": annotator,
    "benchmark": benchmark,
    "annotate": annotate,
    "import-labels": import_labels,
    "export-labels": export_labels,
    "bench": bench,
}

# Those that train, or measure how quick that is
TRAINING = ("train", "calibrate", "evaluate", "benchmark", "annotator", "bench")

# What the program starts itself with, in a child process: no part of the help.
HIDDEN: dict[str, ModuleType] = {"_train": hidden_train, "_embed": hidden_embed}

DESCRIPTION = """\
ZeroDIM Studio edits photos by attributes: hair colour, age, glasses, and others that a model knows.
Without a command it opens its window. Everything runs on this machine; photos never leave it."""

EXAMPLES = """\
examples:
  {prog}                       open the window
  {prog} portrait.jpg          open the window with a photo
  {prog} edit portrait.jpg --set hair_color=blond --out blond.jpg
  {prog} COMMAND --help        all options of a command"""


@dataclass(frozen=True)
class Program:
    """What the window's side gives to the command line, which must not import it.

    `open_window(photo, model, quit_after)` returns an exit code. `measure_stalls(photo, model, seconds)`
    drags sliders in a window and returns the event loop's stalls, as `bench edit` prints them.
    `measure_curate(images, seconds)` labels in a window, as `bench curate` prints it.
    """

    open_window: Callable[[Path | None, Path | None, float | None], int]
    measure_stalls: Callable[[Path, Path | None, float], dict[str, Any]]
    measure_curate: Callable[[int, float], dict[str, Any]]


def program_name() -> str:
    """How a person starts the program, for the help texts."""
    return Path(sys.executable).name if getattr(sys, "frozen", False) else "python main.py"


def main(arguments: Sequence[str], program: Program) -> int:
    """Run the window or a subcommand; returns the exit code.

    0: all done. 1: something failed, said in one sentence on standard error, and with `--json` also in the
    result. 2: wrong usage, nothing was started. 130: stopped by Ctrl+C.
    """
    prepare_output()
    try:
        try:
            return _dispatch(list(arguments), program)
        except UsageError as error:
            print_error(error)
            return WRONG_USAGE
        except StudioError as error:
            print_error(error)
            if "--json" in arguments:
                print_json({"error": described(error)})
            return FAILED
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        print_error("stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of a pipe has gone; without this Python complains about it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except SystemExit as request:  # argparse: help and version exit with 0, wrong usage with 2
        return request.code if isinstance(request.code, int) else DONE


def restart_to_train(arguments: Sequence[str]) -> None:
    """Begin this process anew with the memory settings of a training, if the command line asks for one."""
    if arguments and arguments[0] in TRAINING:
        restart_for_tensors()


def _dispatch(arguments: list[str], program: Program) -> int:
    if arguments and arguments[0] in {**COMMANDS, **HIDDEN}:
        name = arguments[0]
        command = {**COMMANDS, **HIDDEN}[name]
        parser = argparse.ArgumentParser(
            prog=f"{program_name()} {name}",
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(parser)
        # options and photos in any order
        parse = parser.parse_args if parser._subparsers else parser.parse_intermixed_args
        parsed = parse(arguments[1:])
        parsed.program = program
        return command.run(parsed)
    parsed = window_parser().parse_args(arguments)
    return _window(parsed, program)


def window_parser() -> argparse.ArgumentParser:
    """The parser of a command line without a subcommand."""
    prog = program_name()
    width = max(len(name) for name in COMMANDS)
    commands = "\n".join(f"  {name:<{width}}  {command.SUMMARY}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [PHOTO] [--model FOLDER]\n       {prog} COMMAND ...",
        description=DESCRIPTION,
        epilog=f"commands, without a window:\n{commands}\n\n{EXAMPLES.format(prog=prog)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("photo", nargs="?", metavar="PHOTO", help="photo to open in the window")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="model to edit with (default: the starter)"
    )
    parser.add_argument("--version", action="version", version=f"ZeroDIM Studio {__version__}")
    # for tests of the bundle and of a new installation: the window closes by itself
    quit_after = os.environ.get("ZERODIM_QUIT_AFTER")
    parser.add_argument("--quit-after", type=float, default=quit_after, help=argparse.SUPPRESS)
    return parser


def _window(parsed: argparse.Namespace, program: Program) -> int:
    photo = None if parsed.photo is None else Path(parsed.photo)
    if photo is not None and not photo.exists():
        if photo.name == parsed.photo and not photo.suffix:
            raise UsageError(
                f"there is no command and no photo called “{parsed.photo}”. Commands: {', '.join(COMMANDS)}."
            )
        raise StudioError(f"There is no photo at {photo}.")
    if sys.platform.startswith("linux") and not _has_screen():
        raise StudioError(
            "There is no screen to open the window on.",
            f"Edit without a window: {program_name()} edit --help.",
        )
    return program.open_window(photo, parsed.model, parsed.quit_after)


def _has_screen() -> bool:
    """Whether Qt would find a display; without one it ends the whole process."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
