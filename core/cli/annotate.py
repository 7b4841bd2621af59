"""Label a folder of images with CLIP: attributes in words, no labels needed.

Images below FOLDER are embedded once; every value's prompts are compared with them, and a rule makes labels
of the scores. Labels are kept beside the images, in FOLDER/.zerodim, with the reason for each; the same
command goes on where it was stopped. A label by a person or an import is never changed. Images that several
values claim get no label and are listed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attributes import Attribute, AttributeSet, prompts_of
from core.cli.collections import downloaded, embedded_by, opened, scanned
from core.cli.terminal import DONE, UsageError, print_json
from core.errors import StudioError

if TYPE_CHECKING:
    from core.annotate.flow import Labelled
    from core.annotate.rules import Rule
    from core.collection import Collection

SUMMARY = "label a folder of images with CLIP"
RULES = ("topk", "balanced", "threshold", "margin")
EPILOG = """\
rules:
  topk       the K best images of each value; what several claim gets no label (the paper's, the default)
  balanced   the same, but each value gets K: what several claim goes to the one it ranks best for
  threshold  every image that reaches its value's --threshold; what several claim gets no label
  margin     the best value, where it is --margin above the runner-up

examples:
  {prog} holiday/ --attributes faces
  {prog} holiday/ --attributes weather.toml --rule topk --k 200 --model vit-b-32-openai --csv labels.csv
  {prog} holiday/ --only glasses --rule threshold --threshold glasses=0.27

exit code: 0 if all was done, 1 if something failed, 2 for wrong usage, 130 if stopped; then run it again"""
COLUMNS = (
    "file", "attribute", "value", "source", "score", "probability", "margin", "rank", "prompt", "rule",
    "model", "claimed_by",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the images, also in folders inside")
    add(
        "--attributes",
        metavar="SET",
        help="a set's name or TOML file; needed the first time, then those of the folder are used",
    )
    add(
        "--only",
        action="append",
        default=[],
        metavar="ATTRIBUTE",
        help="label this attribute; may be repeated (default: all)",
    )
    add("--rule", choices=RULES, default="topk", help="what makes a label of scores (default: topk)")
    add("--k", type=int, metavar="K", help="images of each value (default: by their number, at most 1000)")
    add(
        "--threshold",
        action="append",
        default=[],
        type=_threshold,
        metavar="[VALUE=]SCORE",
        help="the least score, from -1 to 1: of one value, or of all; may be repeated",
    )
    add("--margin", type=float, metavar="SCORE", help="the least distance to the runner-up's score")
    add("--model", default="faces", metavar="MODEL", help="CLIP: a key, a file or a folder (default: faces)")
    add("--download", action="store_true", help="fetch the model from its hub first, if it isn't here")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--dry-run", action="store_true", help="say what would be labelled, and label nothing")
    add("--csv", type=Path, metavar="OUT", help="write every label and its reason as a table")
    add("--overwrite", action="store_true", help="replace OUT if it exists")
    add("--json", action="store_true", help="print one JSON object")
    parser.usage = "%(prog)s FOLDER --attributes SET [--rule RULE] [options]"
    parser.epilog = EPILOG.format(prog=parser.prog)


def _threshold(text: str) -> tuple[str, float]:
    """`value=score`, or a score alone, which is for all values."""
    value, _, number = text.rpartition("=")
    try:
        score = float(number)
    except ValueError:
        score = float("nan")
    if not -1 <= score <= 1:
        raise argparse.ArgumentTypeError(f"“{text}” is not SCORE or VALUE=SCORE with a score from -1 to 1")
    return value, score


def run(arguments: argparse.Namespace) -> int:
    """Scan, embed, score and label, each where it is not done yet."""
    _check(arguments)
    if arguments.csv is not None and arguments.csv.exists() and not arguments.overwrite:
        raise StudioError(f"{arguments.csv} exists already.", "Choose another name, or give --overwrite.")
    from core.annotate.flow import conflict_list, label_by_clip, scorer_of, tried_by_clip
    from core.clip import find_choice

    choice = find_choice(arguments.model)
    if arguments.download:
        downloaded(choice, quiet=arguments.json)
    with opened(arguments.folder, arguments.attributes) as collection:
        wanted = _wanted(collection.attributes, arguments.only)
        rules = {name: _rule(arguments, collection.attributes[name]) for name in wanted}
        report = scanned(collection, quiet=arguments.json)
        paths = collection.images().paths
        if not paths:
            raise StudioError(f"There is no image in {arguments.folder}.", "Choose another folder.")
        model, status = embedded_by(collection, choice, arguments.device, quiet=arguments.json)
        scorer = scorer_of(collection, model)
        label = tried_by_clip if arguments.dry_run else label_by_clip
        done = [label(collection, scorer.score(collection.attributes[n]), rules[n]) for n in wanted]
        result = {
            "folder": str(arguments.folder),
            "model": model.key,
            "knows": model.domain,
            "images": len(paths),
            "embedded": 0 if status is None else status.done - status.unreadable,
            "faceless": 0 if status is None else status.faceless,
            "unreadable": 0 if status is None else status.unreadable,
            "broken": report.broken,
            "skipped": report.skipped,
            "dry_run": arguments.dry_run,
            "attributes": [{**_counts(one), "conflicts": conflict_list(one, paths)} for one in done],
        }
        if arguments.csv is not None:
            _write_csv(arguments.csv, done, collection, arguments.overwrite)
    if arguments.json:
        print_json(result)
    else:
        print(_table(result))
    return DONE


def _check(arguments: argparse.Namespace) -> None:
    """Options that go together; UsageError otherwise."""
    rule = arguments.rule
    if arguments.k is not None and (rule not in ("topk", "balanced") or arguments.k < 1):
        raise UsageError("--k is 1 or more, and goes with --rule topk or balanced.")
    if arguments.threshold and rule not in ("threshold", "margin"):
        raise UsageError("--threshold goes with --rule threshold or margin.")
    if rule == "threshold" and not arguments.threshold:
        raise UsageError("--rule threshold needs --threshold [VALUE=]SCORE.")
    if (rule == "margin") != (arguments.margin is not None):
        raise UsageError("--rule margin and --margin SCORE go together.")
    if arguments.margin is not None and not 0 <= arguments.margin <= 2:
        raise UsageError("--margin is from 0 to 2.")
    if rule == "margin" and any(value for value, _ in arguments.threshold):
        raise UsageError("with --rule margin, --threshold is one score for all values.")


def _wanted(attributes: AttributeSet, only: Sequence[str]) -> list[str]:
    """Names of the attributes to label, in the set's order."""
    if not len(attributes):
        raise StudioError(f"{attributes.title} has no attributes.", "Add some to its file.")
    for name in only:
        attributes.index(name)
    named = [a for a in attributes if a.name in only or not only]
    found = [a.name for a in named if only or any(prompts_of(a, value) for value in a.values)]
    if not found:
        raise StudioError(f"{attributes.title} has no prompts.", "Write some for at least one value.")
    return found


def _rule(arguments: argparse.Namespace, attribute: Attribute) -> Rule:
    """The rule that the command line asks for, for one attribute."""
    from core.annotate.rules import BalancedTopK, Margin, Threshold, TopK

    if arguments.rule == "margin":
        least = [score for _, score in arguments.threshold]
        return Margin(arguments.margin, least[-1] if least else -1.0)
    if arguments.rule == "threshold":
        given = dict(arguments.threshold)
        names = [value.name for value in attribute.values]
        for name in given:
            if name:
                attribute.index(name)
        return Threshold(
            {name: given[name if name in given else ""] for name in names if name in given or "" in given}
        )
    return (TopK if arguments.rule == "topk" else BalancedTopK)(arguments.k or 0)


def _counts(one: Labelled) -> dict[str, Any]:
    """What the rule did to one attribute, in numbers."""
    from core.annotate.rules import describe

    attribute, assignment = one.assignment.scores.attribute, one.assignment
    given = assignment.values[one.set_]
    return {
        "attribute": attribute.name,
        "title": attribute.title,
        "rule": describe(assignment.rule),
        "labelled": {v.name: int((given == i).sum()) for i, v in enumerate(attribute.values)},
        "kept": int(one.skipped.sum()),
        "conflicting": int(one.conflicts.sum()),
    }


def _table(result: dict[str, Any]) -> str:
    """The result for a person."""
    lines = [f"{result['images']:,} images, {result['embedded']:,} of them embedded now by {result['model']}"]
    if result["knows"]:
        lines.append(f"This model knows {result['knows']}: its labels of other images mean nothing.")
    if result["broken"]:
        count = len(result["broken"])
        files = "1 file" if count == 1 else f"{count:,} files"
        lines.append(f"{files} can't be read as an image; --json tells why.")
    if result["faceless"]:
        lines.append(f"No face was found in {result['faceless']:,} of them: their labels are guesses.")
    if result["unreadable"]:
        lines.append(f"{result['unreadable']:,} of them could not be embedded, and have no labels.")
    lines += result["skipped"]
    for one in result["attributes"]:
        lines += ["", f"{one['title']}: {one['rule']}"]
        width = max(map(len, one["labelled"]))
        lines += [f"  {name:<{width}}  {count:>7,}" for name, count in one["labelled"].items()]
        if one["conflicting"]:
            lines.append(f"  claimed by several, without a label: {one['conflicting']:,}")
        if one["kept"]:
            lines.append(f"  kept, set by people or imports: {one['kept']:,}")
    if any(one["conflicting"] for one in result["attributes"]):
        lines += ["", "--json and --csv list the images that several values claim."]
    if result["dry_run"]:
        lines += ["", "Nothing was labelled: this was a dry run."]
    return "\n".join(lines)


def _write_csv(out: Path, done: Sequence[Labelled], collection: Collection, overwrite: bool) -> None:
    """One line for each image and attribute that has a label or is in conflict."""
    import csv
    import io

    from core.collection import SOURCES
    from core.files import atomic_write

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    images = collection.images()
    for one in done:
        attribute, labels, assignment = one.labels.attribute, one.labels, one.assignment
        fresh = one.set_
        value = np.where(fresh, assignment.values, labels.value)
        rows = np.flatnonzero((value >= 0) | labels.settled | one.conflicts)
        reasons = assignment.reasons(rows)
        for position, reason in zip(rows.tolist(), reasons, strict=True):
            row: dict[str, Any] = {"file": images.paths[position], "attribute": attribute.name}
            if value[position] >= 0:
                row["value"] = attribute.values[value[position]].name
            row["source"] = "clip" if fresh[position] else SOURCES[labels.source[position]]
            if fresh[position] and reason is not None:
                row |= {key: reason[key] for key in COLUMNS if key in reason}
            if assignment.conflicts[position]:
                row["claimed_by"] = " ".join(assignment.claimants(position))
            writer.writerow(row)
    with atomic_write(out, overwrite=overwrite) as file:
        file.write(text.getvalue().encode())
