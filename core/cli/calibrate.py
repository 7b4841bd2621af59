"""Finish a trained model: how far its swaps go, and, if asked, what its residual codes are not to tell.

Strengths of the swaps are tried on the training images of a prepared folder, and the model's own classifier
counts what is seen. With --erase a direction of the residual codes that tells an attribute is taken out
first: 1 is the strongest, which costs the pictures the most. What comes out is a new model; `evaluate` says
what it is worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.terminal import DONE, print_json, progress_bar
from core.errors import StudioError

if TYPE_CHECKING:
    from core.model import ModelCard

SUMMARY = "set how far a trained model's swaps go"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="the model's folder")
    add("--data", type=Path, required=True, metavar="FOLDER", help="images that `prepare` made, or its DATA")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the new model goes, a new folder")
    add(
        "--erase",
        action="append",
        default=[],
        metavar="ATTRIBUTE:N",
        help="first take out of the residual codes the Nth direction that tells it; may be repeated",
    )
    add(
        "--attribute",
        action="append",
        default=[],
        metavar="NAME",
        help="only swaps of this attribute (default: of all); may be repeated",
    )
    add("--images", type=int, default=96, metavar="N", help="try strengths on so many images (default: 96)")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Erase, calibrate, and keep the result."""
    import msgspec

    from core.cli.evaluate import tell
    from core.model import Model
    from core.training.calibration import calibrate
    from core.training.dataset import Dataset
    from core.training.erasure import erase, refit
    from core.training.prepared import prepared_folder

    if arguments.out.exists() and any(arguments.out.iterdir()):
        raise StudioError(f"{arguments.out} is not empty.", "Name a new folder with --out.")
    chosen = [_direction(text) for text in arguments.erase]
    model = Model.load(arguments.model, arguments.device)
    dataset = Dataset.open(prepared_folder(arguments.data, tell))
    if chosen:
        tell("Directions of the residual codes are taken out.")
        erase(model, dataset, chosen)
        refit(model, dataset, _noise(model.card))
    named: list[str] = arguments.attribute or [a.name for a in model.card.attributes]
    with progress_bar(sum(len(model.card.attributes[name].values) for name in named), "values") as bar:
        found = calibrate(
            model,
            dataset,
            arguments.images,
            attributes=named,
            progress=lambda done, _: bar.update(done - bar.n),
        )
    record = {"calibration_images": arguments.images, "calibrated": ", ".join(named)}
    if chosen:
        record["erased"] = ", ".join(arguments.erase)
    # what was measured before is of another model
    model.card = msgspec.structs.replace(model.card, training={**model.card.training, **record}, metrics={})
    model.save(arguments.out)
    if arguments.json:
        print_json({"model": str(arguments.out), **found})
    else:
        for name, (before, after) in found.items():
            print(f"{name}: {100 * before:.1f} -> {100 * after:.1f} %, as its classifier sees it")
        print(arguments.out)
    return DONE


def _noise(card: ModelCard) -> float:
    """Deviation of the noise on residual codes that the model was trained with, 0 where nobody knows."""
    from core.training.config import stored_config

    settings = card.training.get("settings")
    return stored_config(settings.encode()).synthesis_noise if isinstance(settings, str) else 0.0


def _direction(text: str) -> tuple[str, int]:
    name, colon, number = text.partition(":")
    if not colon or not number.isdecimal():
        raise StudioError(f"“{text}” is not a direction.", "Write it as attribute:number, as in age:2.")
    return name, int(number)
