"""Train and measure the method on a benchmark whose factors are known, in one run folder.

Images are rendered, or read from the original's files; the preset says which factors have labels. Ctrl+C
stops after the current step, and the same command goes on from there. At the end the numbers are printed as
a table and written to metrics.json in the run's folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.terminal import DONE, INTERRUPTED, UsageError, print_error, print_json, progress_bar
from core.cli.train import StageBars, add_overrides, preset_path, stopped_by_interrupt

if TYPE_CHECKING:
    from core.training.config import TrainConfig

SUMMARY = "train and measure on a synthetic benchmark"
NAMES = ("dsprites", "shapes3d", "cars3d", "smallnorb")  # as in core.benchmarks.catalogue, which loads slowly
EPILOG = """\
examples:
  {prog} dsprites
  {prog} shapes3d --labels 100 --seed 3 --run runs/shapes3d-100
  {prog} dsprites --preset dsprites-quick --json
  {prog} smallnorb --original downloads/smallnorb/"""
SCORES = ("disentanglement", "completeness", "informativeness", "sap", "mig")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("name", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    add("--labels", type=int, metavar="N", help="labels of each attribute (default: the preset's, 1000)")
    add("--images", type=int, metavar="N", help="images to train on (default: the preset's)")
    add(
        "--original",
        type=Path,
        metavar="PATH",
        help="the original file or folder (default: dsprites and shapes3d are rendered)",
    )
    add("--preset", metavar="PRESET", help="TOML file, or one of resources/presets (default: NAME)")
    add_overrides(parser)
    add("--run", type=Path, metavar="FOLDER", help="the run's folder (default: runs/PRESET)")
    add(
        "--seed",
        type=int,
        metavar="S",
        help="seed of the images, labels and training (default: the preset's)",
    )
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    parser.epilog = EPILOG.format(prog=parser.prog)


def run(arguments: argparse.Namespace) -> int:
    """Prepare, train and measure, each where it is not done yet."""
    from core.errors import StudioError
    from core.files import atomic_write
    from core.training.benchmark_run import measure_benchmark
    from core.training.dataset import Dataset
    from core.training.loop import train
    from core.training.run import Run

    config = _config(arguments)
    folder = arguments.run or Path("runs") / config.name
    if (folder / "config.json").exists():
        record, begun = Run.resume(folder)
        if begun != config:
            raise StudioError(
                f"The run in {folder} was started with other settings.", "Choose another folder with --run."
            )
        (folder / "control" / "stop").unlink(missing_ok=True)
    else:
        record = Run.start(folder, config)
    data = folder / "data"
    _prepare(arguments, config, data)
    dataset = Dataset.open(data)
    with stopped_by_interrupt(folder / "control" / "stop"), StageBars() as bars:
        model = train(config, dataset.part("train"), record, arguments.device, bars.show)
    if model is None:
        print_error("stopped. The same command goes on.")
        return INTERRUPTED
    model.save(folder / "model")
    result = {
        "preset": config.name,
        "seed": config.seed,
        "training_images": config.benchmark.images,
        "labels": config.benchmark.labels,
        "training_minutes": round(record.seconds() / 60, 1),
        **measure_benchmark(model, dataset, seed=config.seed),
    }
    with atomic_write(folder / "metrics.json", overwrite=True) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())
    if arguments.json:
        print_json(result)
    else:
        print(table(result))
    return DONE


def _config(arguments: argparse.Namespace) -> TrainConfig:
    """The preset's settings with those of the command line."""
    from core.errors import StudioError
    from core.training.config import load_config

    overrides = list(arguments.overrides)
    for field, value in (
        ("benchmark.labels", arguments.labels),
        ("benchmark.images", arguments.images),
        ("seed", arguments.seed),
    ):
        if value is not None:
            overrides.append(f"{field}={value}")
    if any((value or 0) < 0 for value in (arguments.labels, arguments.images, arguments.seed)):
        raise UsageError("--labels, --images and --seed are not negative.")
    config = load_config(preset_path(arguments.preset or arguments.name), overrides)
    if config.benchmark.name != arguments.name:
        raise StudioError(
            f"The preset {config.name} is not for {arguments.name}.",
            f"Choose one with benchmark.name = {arguments.name}.",
        )
    return config


def _prepare(arguments: argparse.Namespace, config: TrainConfig, data: Path) -> None:
    """Draw or read the images, unless the run has them."""
    from core.benchmarks.catalogue import open_benchmark
    from core.errors import StudioError
    from core.training.benchmark_data import prepare_benchmark, read_factors

    original = arguments.original is not None
    if (data / "index.json").exists():
        if read_factors(data)[0].original != original:
            raise StudioError(
                f"The images of this run are {'rendered' if original else 'those of the original'}.",
                f"{'Leave --original out' if original else 'Add --original'}, or choose another --run.",
            )
        return
    benchmark = open_benchmark(arguments.name, arguments.original)
    wanted = config.benchmark
    with progress_bar(wanted.images + wanted.held_out, "images") as bar:
        prepare_benchmark(
            benchmark,
            data,
            wanted.attributes,
            wanted.images,
            wanted.labels,
            wanted.held_out,
            config.seed,
            original,
            wanted.together,
            lambda done, _: bar.update(done - bar.n),
        )


def table(result: dict[str, Any]) -> str:
    """Markdown: the scores; then by attribute and by residual factor what is read, in percent."""
    source = "originals" if result["original"] else "rendered here"
    lines = [
        f"{result['benchmark']} ({source}), {result['training_images']} images, {result['labels']} labels an "
        f"attribute, seed {result['seed']}, {result['training_minutes']} minutes of training, "
        f"measured on {result['images']} held-out images",
        "",
        "| D | C | I | SAP | MIG |",
        "| ---: | ---: | ---: | ---: | ---: |",
        "| " + " | ".join(_number(result[name]) for name in SCORES) + " |",
        "",
        "| attribute | classified | leakage | leakage, bent | majority | chance | distance correlation² |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in result["attributes"]:
        classified, dependence = result["accuracy"][name], result["distance_correlation"][name]
        cells = [_percent(classified), *_read(result, "leakage", name), _number(dependence)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if result["residual"]:
        lines += ["", "| residual factor | read | read, bent | majority | chance |"]
        lines += ["| --- | ---: | ---: | ---: | ---: |"]
        for name in result["residual"]:
            lines.append(f"| {name} | " + " | ".join(_read(result, "residual", name)) + " |")
    lines += ["", f"- reconstruction, mean squared error: {result['reconstruction_mse']:.3g}"]
    return "\n".join(lines)


def _read(result: dict[str, Any], what: str, name: str) -> list[str]:
    """What a straight and a bent probe read of a factor, and what guessing gets right."""
    straight, bent = result[what].get(name, {}), result[f"{what}_bent"].get(name, {})
    shares = straight.get("accuracy"), bent.get("accuracy"), straight.get("majority"), straight.get("chance")
    return [_percent(share) for share in shares]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
