"""Train or measure the shipped annotator: a small CLIP of faces.

`annotator train` goes on from the last checkpoint of its folder; Ctrl+C stops after the current step, with a
checkpoint. `annotator measure` prints the table of docs/annotator.md: precision of the first K held-out faces
by score, K half of those that have the value, with wordings that were never in training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.cli.terminal import DONE, INTERRUPTED, UsageError, print_error, print_json, progress_bar

SUMMARY = "train or measure the annotator that is shipped"
EPILOG = """\
examples:
  {prog} train --data prepared/ --shared ../shared/data --run runs/annotator
  {prog} measure --data prepared/ --shared ../shared/data
  {prog} measure --data prepared/ --model vit-b-32-openai --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG.format(prog=parser.prog)
    parts = parser.add_subparsers(dest="action", required=True, metavar="train|measure")
    train = parts.add_parser("train", help="train, or go on")
    train.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="faces that `prepare` made")
    train.add_argument(
        "--shared", type=Path, required=True, metavar="FOLDER", help="the folder they came from, for labels"
    )
    train.add_argument("--run", type=Path, default=Path("runs/annotator"), metavar="FOLDER")
    train.add_argument("--fact-steps", type=int, metavar="N", help="of images alone")
    train.add_argument("--caption-steps", type=int, metavar="N", help="of images with captions, after those")
    train.add_argument("--images", type=int, metavar="N", help="images in a step")
    train.add_argument(
        "--eyes", type=Path, metavar="MODEL", help="begin with its classifier (default: ImageNet's weights)"
    )
    measure = parts.add_parser("measure", help="the table of docs/annotator.md")
    measure.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    measure.add_argument(
        "--shared", type=Path, metavar="FOLDER", help="the folder they came from: facial hair as it flags it"
    )
    measure.add_argument("--model", default="faces", help="key, file or folder (default: the shipped one)")
    measure.add_argument("--limit", type=int, metavar="N", help="every n-th image, about N of them")
    measure.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    return _train(arguments) if arguments.action == "train" else _measure(arguments)


def _train(arguments: argparse.Namespace) -> int:
    import msgspec

    from core.cli.train import stopped_by_interrupt
    from core.clip.teach import Teaching, eyes_of, teach
    from core.training.dataset import Dataset

    names = ("fact_steps", "caption_steps", "images")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    if any(value < (n == "images") for n, value in given.items()):
        raise UsageError("The steps are 0 or more, --images is 1 or more.")
    settings = msgspec.structs.replace(Teaching(), **given)
    (arguments.run / "control").mkdir(parents=True, exist_ok=True)
    with (
        stopped_by_interrupt(arguments.run / "control" / "stop"),
        progress_bar(settings.steps, "steps") as bar,
    ):

        def show(step: int, total: int, numbers: dict[str, float]) -> None:
            losses = " ".join(f"{name} {value:.3f}" for name, value in numbers.items())
            bar.set_description(losses, refresh=False)
            bar.update(step - bar.n)

        dataset = Dataset.open(arguments.data)
        eyes = eyes_of(arguments.eyes) if arguments.eyes else None
        model = teach(dataset, arguments.shared, arguments.run, settings, show, eyes)
    if model is None:
        print_error("stopped. The same command goes on.")
        return INTERRUPTED
    print(model)
    return DONE


def _measure(arguments: argparse.Namespace) -> int:
    from core.attributes import load_attribute_set
    from core.clip import ClipModel, find_choice
    from core.clip.facts import read_facts
    from core.clip.measure import (
        embed_prepared,
        flagged_hair,
        hair_by_eye,
        measure,
        measure_facial_hair,
        own_wordings,
        table,
    )
    from core.clip.wordings import WORDINGS
    from core.paths import resources
    from core.training.dataset import Dataset

    dataset = Dataset.open(arguments.data).part("held_out")
    if arguments.limit:
        import numpy as np

        dataset = dataset.take(np.arange(0, len(dataset), max(1, len(dataset) // arguments.limit)))
    model = ClipModel.load(find_choice(arguments.model))
    embeddings = embed_prepared(model, dataset)
    faces = own_wordings(load_attribute_set(resources() / "attributes" / "faces.toml"))
    sets = {"new wordings": WORDINGS, "prompts of the set": faces}
    columns = {name: measure(model, dataset, embeddings, texts) for name, texts in sets.items()}
    facial_hair = {"facial_hair, by eye": hair_by_eye(dataset)}
    if arguments.shared:
        facts = read_facts(arguments.shared, [dataset.index.names[row] for row in dataset.rows])
        facial_hair["facial_hair, as flagged"] = flagged_hair(facts)
    for title, said in facial_hair.items():
        for name, texts in sets.items():
            columns[name] += measure_facial_hair(model, embeddings, said, title, texts)
    if arguments.json:
        result: dict[str, Any] = {"model": model.key, "images": len(dataset)}
        for name, found in columns.items():
            result[name] = {
                f"{p.attribute}.{p.value}": {"precision": round(p.precision, 4), "k": p.k} for p in found
            }
        print_json(result)
    else:
        print(table(columns))
    return DONE
