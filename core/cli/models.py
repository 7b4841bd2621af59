"""List the installed models: their attributes and values, as `edit --set` takes them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.terminal import DONE, FAILED, described, print_error, print_json
from core.errors import StudioError

if TYPE_CHECKING:
    from core.model import ModelCard

SUMMARY = "list the models, their attributes and values"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="look at these models instead"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print every model; one whose card is broken does not hide the others."""
    from core.installed import list_models
    from core.model import load_card

    folders = arguments.folders or list_models()
    if not folders:
        raise StudioError("No model is installed.", "Install the program again, or import a model.")
    found: list[dict[str, Any]] = []
    texts, failures = [], 0
    for folder in folders:
        try:
            card = load_card(folder)
        except StudioError as error:
            failures += 1
            print_error(error)
            found.append({"folder": str(folder), "error": described(error)})
        else:
            found.append(summary(folder, card))
            texts.append(text(folder, card))
    if arguments.json:
        print_json({"models": found})
    else:
        print("\n\n".join(texts))
    return FAILED if failures else DONE


def summary(folder: Path, card: ModelCard) -> dict[str, Any]:
    """What `--json` says about a model."""
    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "folder": str(folder),
        "image_size": card.image_size,
        "attributes": {
            a.name: {"title": a.title, "values": [v.name for v in a.values]} for a in card.attributes
        },
        "licence": card.licence,
    }


def text(folder: Path, card: ModelCard) -> str:
    """The same for a person."""
    width = max(len(a.name) for a in card.attributes)
    lines = [f"{card.title} ({card.name}, {card.image_size} px)", f"  {folder}"]
    lines += [f"  {a.name:<{width}}  {', '.join(v.name for v in a.values)}" for a in card.attributes]
    return "\n".join(lines)
