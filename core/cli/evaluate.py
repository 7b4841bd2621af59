"""Measure what a model is worth, on held-out images of a prepared folder.

Swaps are judged by a classifier that shares nothing with the model: another network, trained on images that
the model never saw. For the shared faces one comes with the program. For other images it is kept beside them,
and made first where there is none, in some minutes to an hour.

--data also takes the photographs as they came; they are prepared first, once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.terminal import DONE, print_error, print_json, progress_bar
from core.errors import StudioError

if TYPE_CHECKING:
    from core.model import Model
    from core.training.dataset import Dataset
    from core.training.finetune import AnyJudge
    from core.training.judge import Judge

SUMMARY = "measure the quality of a model"
PER_ATTRIBUTE = {
    "accuracy": "classified",
    "judge_accuracy": "by the judge",
    "judge_recall": "the same, mean of values",
    "swap_success": "swapped",
    "swap_success_kept_detail": "swapped, keep detail",
    "swap_preserved": "others unchanged",
    "refined_swap_success": "swapped, refined",
    "refined_swap_success_kept_detail": "swapped, refined, keep detail",
    "identity_kept": "same person",
    "leakage": "leakage",
    "leakage_majority": "majority",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="the model's folder")
    add("--data", type=Path, required=True, metavar="FOLDER", help="images that `prepare` made, or its DATA")
    add(
        "--held-out",
        action="store_true",
        help="the whole table, on held-out images: with Refine and identity, and written into the card",
    )
    add(
        "--refine",
        type=int,
        default=24,
        metavar="N",
        help="with --held-out: refine so many images, and see in ten times as many whether it is still the "
        "same person (default: 24)",
    )
    add(
        "--limit",
        type=int,
        default=1500,
        metavar="N",
        help="swap at most so many held-out images (default: 1500); all else is measured on all of them",
    )
    add(
        "--judge",
        type=Path,
        metavar="FILE",
        help="the judge (default: the one that comes along, where it is one for these images, or else "
        "swaps-judge-SIZE.safetensors beside them)",
    )
    add(
        "--judge-steps", type=int, default=4000, metavar="N", help="how long to train a judge (default: 4000)"
    )
    add("--without-judge", action="store_true", help="leave the swaps out")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--write", action="store_true", help="write the numbers into the model's card")
    add("--json", action="store_true", help="print one JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write into the card if asked."""
    import msgspec

    from core.model import Model, save_card
    from core.training.dataset import Dataset
    from core.training.evaluate import evaluate
    from core.training.finetune import FittedJudge
    from core.training.prepared import prepared_folder

    model = Model.load(arguments.model, arguments.device)
    data = prepared_folder(arguments.data, tell)
    dataset = Dataset.open(data)
    judge: AnyJudge | None = None
    if not arguments.without_judge:
        judge = judge_for(dataset, arguments.judge, model.card.image_size, arguments.judge_steps)
        if dataset.attributes != model.card.attributes:
            judge = FittedJudge(judge, dataset.attributes, model.card.attributes)
    metrics = evaluate(model, dataset, judge, arguments.limit)
    if arguments.held_out:
        metrics |= fidelity(model, dataset, judge, arguments.refine)
    if arguments.write or arguments.held_out:
        save_card(msgspec.structs.replace(model.card, metrics=metrics), arguments.model)
    if arguments.json:
        print_json({"model": model.card.name, "metrics": metrics})
    else:
        print(table(metrics, [a.name for a in model.card.attributes]))
    return DONE


def judge_for(dataset: Dataset, named: Path | None, image_size: int, steps: int) -> Judge:
    """The judge that was `named`, the one that comes along, the one beside the images, or a new one there."""
    from core.training.judge import SIZE, Judge, shipped_judge, train_judge

    size = min(image_size, SIZE)
    if named is None and size == SIZE and (shipped := shipped_judge(dataset)) is not None:
        return shipped
    file = named or dataset.folder / f"swaps-judge-{size}.safetensors"
    if file.exists():
        return Judge.load(file)
    tell(f"A judge of the swaps is trained, once: {steps} steps. It is kept as {file}.")
    judge = train_judge(dataset, size, steps)
    judge.save(file)
    return Judge.load(file)


def tell(line: str) -> None:
    """What is done and takes long, on standard error."""
    print(line, file=sys.stderr)


def fidelity(model: Model, dataset: Dataset, judge: AnyJudge | None, count: int) -> dict[str, Any]:
    """What takes seconds an image; identity is left out, with a sentence, where it can't be had."""
    from core.training.evaluate import encode_all, pixels_of, sample
    from core.training.fidelity import identity_metrics, refined_metrics

    metrics: dict[str, Any] = {}
    held, size = dataset.part("held_out"), model.card.image_size
    few = sample(held, count)
    images, inside = pixels_of(few, size)
    with progress_bar(len(few), "refined") as bar:
        metrics |= refined_metrics(
            model, judge, images, inside, encode_all(model, images), lambda done: bar.update(done - bar.n)
        )
    more = sample(held, 10 * count)
    images, inside = pixels_of(more, size)
    try:
        metrics |= identity_metrics(model, more, images, inside, encode_all(model, images))
    except StudioError as error:
        print_error(error)
    return metrics


def table(metrics: dict[str, Any], attributes: list[str]) -> str:
    """Markdown: shares in percent, an attribute a line, then what is one number for all."""
    columns = [name for name in PER_ATTRIBUTE if metrics.get(name)]
    lines = ["| | " + " | ".join(PER_ATTRIBUTE[name] for name in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for attribute in attributes:
        shares = (metrics[name].get(attribute) for name in columns)
        cells = ("" if share is None else f"{100 * share:.1f} %" for share in shares)
        lines.append(f"| {attribute} | " + " | ".join(cells) + " |")
    lines.append("")
    for name, value in metrics.items():
        if isinstance(value, float):
            lines.append(f"- {name.replace('_', ' ')}: {value:.4g}")
    return "\n".join(lines)
