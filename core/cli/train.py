"""Train a model from a preset and prepared images, in a run folder that can be stopped and gone on with.

Ctrl+C stops after the current step, with a checkpoint; `--resume` goes on from there as if nothing had
happened. The finished model is a folder that `--model` of the other commands takes.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from core.cli.terminal import DONE, INTERRUPTED, UsageError, print_error, progress_bar

SUMMARY = "train a model"
EPILOG = """\
examples:
  {prog} faces-starter --data prepared/
  {prog} faces-starter --data prepared/ --set seed=2 --set synthesis.steps=3000 --run runs/longer
  {prog} --resume --run runs/longer --data prepared/
  {prog} fine-tune --base resources/models/starter-faces --data hats/
  torchrun --nproc_per_node=2 {prog} faces-128 --data prepared/   (with --run-folder)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("preset", nargs="?", metavar="PRESET", help="TOML file, or the name of one in resources/presets")
    add("--data", type=Path, required=True, metavar="FOLDER", help="images that `prepare` made, or its DATA")
    add_overrides(parser)
    add(
        "--run",
        "--run-folder",  # torchrun takes --run for an option of its own, also after the program's name
        type=Path,
        metavar="FOLDER",
        help="the run's folder (default: runs/NAME, NAME from the preset)",
    )
    add("--resume", action="store_true", help="go on with the run, with its own settings")
    add(
        "--out", type=Path, metavar="FOLDER", help="where the model goes (default: model in the run's folder)"
    )
    add(
        "--base",
        type=Path,
        metavar="MODEL",
        help="fine-tune this model: its attributes stay, those of the images are added",
    )
    add(
        "--only-new",
        action="store_true",
        help="with --base: learn the attributes of the images only, as for another kind of images",
    )
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.epilog = EPILOG.format(prog=parser.prog)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The option that changes a preset's settings."""
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a setting of the preset, such as synthesis.steps=3000; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train to the end and save the model, or until stopped."""
    if arguments.preset is None and not (arguments.resume and arguments.run):
        raise UsageError("name a preset, or give --resume and the --run to go on with.")
    if arguments.resume and (arguments.overrides or arguments.base):
        raise UsageError("a run goes on with its own settings: leave --set and --base out.")
    if arguments.only_new and not arguments.base:
        raise UsageError("--only-new needs the --base to begin with.")
    from core.jobs.process import being_the_process
    from core.training import finetune
    from core.training.config import load_config
    from core.training.dataset import Dataset
    from core.training.loop import train
    from core.training.parallel import join_team, leave_at_once, leave_team
    from core.training.perceptual import find_features
    from core.training.prepared import prepared_folder
    from core.training.pretrained import find_pretrained
    from core.training.run import Run

    config = (
        None if arguments.preset is None else load_config(preset_path(arguments.preset), arguments.overrides)
    )
    if config is not None and arguments.base:
        config = finetune.with_base(config, arguments.base, "domain" if arguments.only_new else "add")
    folder = arguments.run or Path("runs") / config.name  # type: ignore[union-attr]
    whole = Dataset.open(prepared_folder(arguments.data, lambda line: print(line, file=sys.stderr)))
    team, device = join_team(arguments.device)
    if arguments.resume:
        record, config = Run.resume(folder)
    elif team.leads:
        assert config is not None
        if config.reconstruction.perceptual and config.reconstruction.perceptual_file:
            find_features(config.reconstruction.perceptual_file)  # missing: no folder for a run that can't be
        if config.warmup.pretrained and not arguments.base:
            find_pretrained(config.warmup.pretrained)
        record = Run.start(folder, config)
        if arguments.base:
            finetune.store_base(arguments.base, folder)
    team.wait(device)  # the leader has made the folder
    record = Run(folder, writes=team.leads)
    assert config is not None
    if config.finetune.base:
        whole = finetune.fit_dataset(whole, finetune.attributes_for(folder, config, whole.attributes))
    stop = folder / "control" / "stop"
    try:
        with ExitStack() as stack:
            if team.leads:
                stack.enter_context(being_the_process(folder))
                if arguments.resume:
                    stop.unlink(missing_ok=True)
            stack.enter_context(stopped_by_interrupt(stop))
            bars = stack.enter_context(StageBars())
            model = train(
                config,
                whole.part("train"),
                record,
                device,
                bars.show if team.leads else None,
                held_out=whole.part("held_out"),
                say=print_error if team.leads else None,
                team=team if team.size > 1 else None,
            )
    except BaseException:
        leave_team()
        raise
    code = DONE if model is not None else INTERRUPTED
    if model is not None and team.leads:
        out = arguments.out or folder / "model"
        model.save(out)
        print(out)
    elif team.leads:
        print_error(f"stopped. Go on with --resume --run {folder}.")
    if team.size > 1:
        # torchrun ends the leader, writing or not, when another ends with a code
        with suppress(RuntimeError):  # the other was told so a moment earlier, and has left
            team.wait(device)
        leave_at_once(code)
    return code


def preset_path(name: str) -> Path:
    """A file, or one of the program's own presets by its name."""
    from core.paths import resources

    own = resources() / "presets" / f"{name}.toml"
    return own if own.is_file() and not Path(name).exists() else Path(name)


class StageBars:
    """One progress bar a stage, with the latest losses beside it."""

    def __init__(self) -> None:
        self.stage, self.bar = "", progress_bar(1, "steps", quiet=True)

    def __enter__(self) -> StageBars:
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def show(self, stage: str, step: int, total: int, numbers: dict[str, float]) -> None:
        """As `core.training.loop.train` calls it."""
        if stage != self.stage:
            self.bar.close()
            self.stage, self.bar = stage, progress_bar(total, "steps")
        losses = " ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        self.bar.set_description(f"{stage} ({losses})", refresh=False)
        self.bar.update(step - self.bar.n)


@contextmanager
def stopped_by_interrupt(request: Path) -> Iterator[None]:
    """Ctrl+C puts the file that asks a run to stop; a second one ends the program at once."""

    def ask(*_: Any) -> None:
        request.touch()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
