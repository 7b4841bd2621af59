"""Change attributes of the faces in photos.

Every face is found and edited in full resolution; what is outside it stays as it is. `models` lists the
attributes and their values.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from core.cli.photos import make_folder, outputs, photos_of
from core.cli.plan import (
    Plan,
    Setting,
    Wanted,
    choose_model,
    for_model,
    plan,
    recipe_to_replay,
    swaps_of_settings,
    wanted_of_recipe,
)
from core.cli.terminal import DONE, FAILED, UsageError, described, print_error, print_json, progress_bar
from core.errors import StudioError
from core.faces.frame import Frame
from core.recipe import STRONGEST, Blend

SUMMARY = "edit photos and save the results"
EPILOG = """\
examples:
  {prog} portrait.jpg --set hair_color=blond --beyond --out blond.jpg
  {prog} portrait.jpg --set age=old:0.7 --set glasses=none --out out.png
  {prog} holiday/ --set facial_hair=none --face all --out edited/ --json

exit code: 0 if every photo was edited, 1 if some or all failed (the others are done), 2 for wrong usage"""
# of a refinement, at most; `core.editing.refine` needs fewer where the machine is quick
SECONDS = 15.0
BLENDS: dict[str, Blend] = {"keep-detail": "keep_detail", "resynthesise": "resynthesise"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("photos", nargs="*", type=Path, metavar="PHOTO", help="photos, or folders of photos")
    add(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=setting,
        metavar="ATTRIBUTE=VALUE[:STRENGTH]",
        help="give the faces this value; repeat it for more attributes",
    )
    add(
        "--strength",
        type=strength,
        default=1.0,
        metavar="S",
        help=f"how far towards the values, 0 to {STRONGEST} (default: 1), where --set doesn't say",
    )
    add(
        "--face",
        type=face,
        default="largest",
        metavar="all|largest|N",
        help="all faces, the largest (default), or the Nth largest",
    )
    add(
        "--frame",
        type=frame,
        metavar="X,Y,SIDE[,ANGLE]",
        help="edit in this square instead of looking for faces: its centre and side in pixels, degrees "
        "clockwise; the eyes belong at 45 %% of its height, a quarter of the side apart",
    )
    add(
        "--blend",
        choices=BLENDS,
        default="keep-detail",
        help="keep-detail (default) adds the change to the photo, resynthesise puts in the model's face",
    )
    add(
        "--beyond",
        action="store_true",
        help="let changes go on beyond the face's frame, along hair and skin",
    )
    add(
        "--refine",
        nargs="?",
        type=seconds,
        const=SECONDS,
        metavar="SECONDS",
        help=f"fit the model to each face first, for at most so long (default: {SECONDS:g}): its picture of "
        "the face is then the face",
    )
    add(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="instead of --set, replay a saved recipe: on its own photo, or on the photos given",
    )
    add(
        "--out",
        required=True,
        help="a file for one photo; a folder for several, made if missing, where names get “-edited”",
    )
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--quality", type=quality, default=95, help="of JPEG and WebP files, 1 to 100 (default: 95)")
    add("--model", type=Path, metavar="FOLDER", help="the model's folder (default: the starter model)")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--json", action="store_true", help="print one JSON object about all photos")
    parser.usage = "%(prog)s PHOTO... --set ATTRIBUTE=VALUE[:STRENGTH]... --out OUT [options]"
    parser.epilog = EPILOG.format(prog=parser.prog)


def strength(text: str) -> float:
    """A number from 0 to the strongest."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= STRONGEST:
        raise argparse.ArgumentTypeError(f"“{text}” is not a strength from 0 to {STRONGEST}")
    return number


def setting(text: str) -> Setting:
    """`attribute=value` or `attribute=value:strength`."""
    attribute, _, rest = text.partition("=")
    value, colon, number = rest.partition(":")
    if not (attribute and value) or (colon and not number):
        raise argparse.ArgumentTypeError(f"“{text}” is not ATTRIBUTE=VALUE or ATTRIBUTE=VALUE:STRENGTH")
    return Setting(attribute, value, strength(number) if colon else None)


def seconds(text: str) -> float:
    """A number above 0, at most an hour."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"“{text}” is not a number of seconds from 0 to 3600")
    return number


def face(text: str) -> str | int:
    """`all`, `largest`, or a number from 1."""
    if text in ("all", "largest"):
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"“{text}” is not all, largest, or a number from 1")


def frame(text: str) -> Frame:
    """Three or four numbers with commas between them."""
    parts = text.split(",")
    try:
        center_x, center_y, side, angle = map(float, parts if len(parts) == 4 else [*parts, "0"])
        return Frame(center_x, center_y, side, angle)
    except (ValueError, StudioError):
        raise argparse.ArgumentTypeError(f"“{text}” is not X,Y,SIDE or X,Y,SIDE,ANGLE in pixels") from None


def quality(text: str) -> int:
    """A whole number from 1 to 100."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"“{text}” is not a quality from 1 to 100")


def run(arguments: argparse.Namespace) -> int:
    """Edit every photo; one that fails does not keep the others from being done."""
    if bool(arguments.settings) == (arguments.recipe is not None):
        raise UsageError("say what to change, either with --set or with --recipe.")
    if arguments.refine is not None and arguments.recipe is not None:
        raise UsageError("a recipe says itself whether faces are refined: leave --refine out.")
    if arguments.beyond and arguments.recipe is not None:
        raise UsageError("a recipe says itself whether edits go beyond the frame: leave --beyond out.")
    if not arguments.photos and arguments.recipe is None:
        raise UsageError("name a photo, or a folder of photos.")
    recipe = None if arguments.recipe is None else recipe_to_replay(arguments.recipe)
    named = arguments.photos if recipe is None or arguments.photos else [Path(recipe.photo)]
    photos = photos_of(named)
    out = Path(arguments.out)
    several = len(photos) > 1 or any(path.is_dir() for path in (*named, out))
    folder = several or arguments.out.endswith(("/", "\\"))
    targets = outputs(photos, out, folder=folder)
    from core.editing import EditEngine  # torch: not before it is known to be needed

    engine = EditEngine(choose_model(arguments.model, recipe), arguments.device)
    card = engine.load()
    wanted = None
    if recipe is None:
        swaps = swaps_of_settings(arguments.settings, arguments.strength, card)
        wanted = Wanted(
            swaps,
            BLENDS[arguments.blend],
            arguments.face,
            arguments.frame,
            arguments.refine,
            arguments.beyond,
        )
    else:
        recipe = for_model(recipe, card)
        if arguments.photos:
            wanted = wanted_of_recipe(recipe, arguments.face, arguments.frame)

    def plan_of(photo: Path, show: Callable[[float, str], None]) -> Plan:
        if wanted is not None:
            return plan(engine, card, photo, wanted, show)
        assert recipe is not None
        return Plan(recipe)

    if folder:
        make_folder(out)
    reports: list[dict[str, Any]] = []
    with progress_bar(len(photos), "photos", quiet=arguments.json) as bar:
        for number, (photo, target) in enumerate(zip(photos, targets, strict=True)):
            bar.set_description(photo.name)
            started = time.perf_counter()

            # the bar only goes up: where faces are refined, each of them and the export start at 0
            def show(fraction: float, text: str = "", before: int = number) -> None:
                bar.update(max(0.0, before + fraction - bar.n))

            try:
                planned = plan_of(photo, lambda fraction, text: show(0.8 * fraction))
                engine.export(
                    planned.recipe,
                    target,
                    overwrite=arguments.overwrite,
                    quality=arguments.quality,
                    progress=show,
                )
            except StudioError as error:
                print_error(f"{photo}: {error}")
                reports.append({"photo": str(photo), "ok": False, "error": described(error)})
            else:
                reports.append(report(photo, target, planned, time.perf_counter() - started))
                if not arguments.json:
                    bar.write(sentence(photo, target, planned))
            show(1)
    failures = sum(not one["ok"] for one in reports)
    if arguments.json:
        print_json(
            {"model": card.name, "edited": len(reports) - failures, "failed": failures, "photos": reports}
        )
    return FAILED if failures else DONE


def report(photo: Path, out: Path, planned: Plan, seconds: float) -> dict[str, Any]:
    """What `--json` says about an edited photo; `recipe` can be saved and given to `--recipe`."""
    return {
        "photo": str(photo),
        "ok": True,
        "out": str(out),
        "seen": planned.seen,
        "recipe": msgspec.to_builtins(planned.recipe),
        "seconds": round(seconds, 3),
    }


def sentence(photo: Path, out: Path, planned: Plan) -> str:
    """The same for a person, in a line."""
    edits = [edit for edit in planned.recipe.faces if edit.swaps]
    swaps = dict.fromkeys(f"{swap.attribute}={swap.value}" for edit in edits for swap in edit.swaps)
    return f"{photo} -> {out}: {'1 face' if len(edits) == 1 else f'{len(edits)} faces'}, {', '.join(swaps)}"
