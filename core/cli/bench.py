"""Measure how fast this machine edits, trains and labels.

`bench edit` takes a 12-megapixel photo through every step, first and then warm, and drags sliders in a
window to see whether it ever waits. Times are in milliseconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from core.cli import bench_annotate, bench_curate, bench_train
from core.cli.terminal import DONE, machine, print_json, progress_bar
from core.errors import StudioError

SUMMARY = "measure the speed of this machine"
# the other measurements, each with SUMMARY, add_arguments and run as a command has them
OTHERS: dict[str, ModuleType] = {"train": bench_train, "curate": bench_curate, "annotate": bench_annotate}
# 12 megapixels, as telephones make them
WIDTH, HEIGHT = 4000, 3000
# longer side, in pixels, of the picture that the window shows
SCREEN = 1600
STEPS = {
    "load": "load the model",
    "open": "decode the file",
    "detect": "find faces",
    "encode": "align and encode a face",
    "swap_decode": "swap and decode",
    "blend": "blend in full resolution",
    "save": "save as JPEG",
    "refine": "refine a face",
    "screen": "changed control to after picture at screen size",
}
# a refinement takes seconds
REFINED = 3
# what `gui.editor.stall_probe` measures
WINDOW = {
    "stall": "event loop's stall while sliders are dragged",
    "single": "changed control to painted picture",
    "drag": "the same while sliders are dragged",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    edit = what.add_parser("edit", help="editing a photo", description=__doc__, allow_abbrev=False)
    add = edit.add_argument
    add("--photo", type=Path, help="the photo (default: 12 megapixels made from scikit-image's astronaut)")
    add("--model", type=Path, metavar="FOLDER", help="the model's folder (default: the starter model)")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--runs", type=int, default=20, help="warm runs of each step (default: 20)")
    add(
        "--drag",
        type=float,
        default=10,
        metavar="SECONDS",
        help="how long to drag sliders in the window; 0 leaves it out (default: 10)",
    )
    add("--json", action="store_true", help="print one JSON object")
    for name, module in OTHERS.items():
        module.add_arguments(
            what.add_parser(name, help=module.SUMMARY, description=module.__doc__, allow_abbrev=False)
        )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.what in OTHERS:
        return OTHERS[arguments.what].run(arguments)
    with tempfile.TemporaryDirectory(prefix="zerodim-bench-") as temporary:
        photo = arguments.photo or make_photo(Path(temporary))
        result = measure_steps(photo, arguments, Path(temporary))
        if arguments.drag > 0:
            result["stalls"] = arguments.program.measure_stalls(photo, arguments.model, arguments.drag)
    if arguments.json:
        print_json(result)
    else:
        print_table(result)
    return DONE


def make_photo(folder: Path) -> Path:
    """A 12-megapixel JPEG with one face, made from a picture that a package carries."""
    try:
        from skimage import data
    except ImportError:
        raise StudioError("There is no photo to measure with.", "Name one with --photo.") from None
    from PIL import Image

    square = Image.fromarray(data.astronaut()).resize((HEIGHT, HEIGHT), Image.Resampling.LANCZOS)
    margin = (WIDTH - HEIGHT) // 2
    wide = np.pad(np.asarray(square), ((0, 0), (margin, margin), (0, 0)), mode="reflect")
    path = folder / "astronaut.jpg"
    Image.fromarray(wide).save(path, quality=92)
    return path


class Stopwatch:
    """Milliseconds of each step, run by run."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the block as one run of `step`."""
        started = time.perf_counter()
        yield
        self.times.setdefault(step, []).append((time.perf_counter() - started) * 1000)

    def summary(self) -> dict[str, dict[str, float]]:
        """Of each step the first run, and of the later ones median and 95th percentile."""
        found: dict[str, dict[str, float]] = {}
        for step, (first, *warm) in self.times.items():
            found[step] = {"first": round(first, 1)}
            if warm:
                found[step]["median"] = round(float(np.median(warm)), 1)
                found[step]["p95"] = round(float(np.percentile(warm, 95)), 1)
                found[step]["runs"] = len(warm)
        return found


def measure_steps(path: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every step on the photo's largest face, then what the window asks for when a control changes."""

    from core.editing import Decoded, EditEngine, RenderRequest, blend_face
    from core.faces.finder import FaceFinder
    from core.faces.frame import align
    from core.images import open_photo, save_photo
    from core.installed import default_model
    from core.model import Model
    from core.recipe import FaceEdit, Recipe, Swap

    watch, runs = Stopwatch(), arguments.runs
    model_folder = arguments.model or default_model()
    with watch("load"):
        model = Model.load(model_folder, arguments.device)
        finder = FaceFinder()
    # any will do: all cost the same
    attribute = model.card.attributes.attributes[0]
    swaps = [
        Swap(attribute.name, attribute.values[number % len(attribute.values)].name, 0.5 + 0.5 * number / runs)
        for number in range(runs + 1)
    ]
    with progress_bar(2 * len(swaps), "runs", quiet=arguments.json) as bar:
        for swap in swaps:
            with watch("open"):
                photo = open_photo(path)
                srgb = photo.srgb()
            with watch("detect"):
                faces = finder.find(srgb)
            if not faces:
                raise StudioError(f"No face was found in {path}.", "Measure with another photo.")
            frame = faces[0].frame
            with watch("encode"):
                aligned, inside = align(srgb, frame, model.card.image_size)
                codes = model.encode(aligned[None], inside[None])
            original = model.decode(codes)[0]
            with watch("swap_decode"):
                edited = model.decode(model.swap(codes, [swap]))[0]
            left, top, right, bottom = bounds = frame.bounds(photo.width, photo.height)
            pixels = srgb.copy()
            with watch("blend"):
                decoded = Decoded(original, edited, aligned, inside)
                region = srgb[top:bottom, left:right]
                pixels[top:bottom, left:right] = blend_face(region, bounds, frame, decoded)
            with watch("save"):
                save_photo(photo, photo.from_srgb(pixels), folder / "out.jpg", overwrite=True)
            bar.update()
        engine = EditEngine(model_folder, arguments.device)
        engine.load()
        opened = engine.open(path)
        for _ in range(REFINED):
            with watch("refine"):
                refined = engine.refine(path, opened.faces[0].frame)
        for number, swap in enumerate(swaps):
            recipe = Recipe(str(path.resolve()), model.card.name, (FaceEdit(opened.faces[0].frame, (swap,)),))
            with watch("screen"):
                engine.render(RenderRequest(number, recipe, SCREEN), lambda: False)
            bar.update()
    return {
        "photo": {"width": photo.width, "height": photo.height, "faces": len(faces)},
        "model": {"name": model.card.name, "image_size": model.card.image_size},
        "machine": {"device": str(model.device), **machine()},
        "refined_psnr": {"before": round(refined.psnr[0], 1), "after": round(refined.psnr[1], 1)},
        "milliseconds": watch.summary(),
    }


def print_table(result: dict[str, Any]) -> None:
    """The same for a person."""
    photo, model, where = result["photo"], result["model"], result["machine"]
    megapixels = photo["width"] * photo["height"] / 1e6
    print(
        f"{megapixels:.1f} megapixels, model {model['name']} ({model['image_size']} px), "
        f"{where['device']}, {where['threads']} threads, torch {where['torch']}\n"
    )
    width = max(map(len, STEPS.values()))
    print(f"{'milliseconds':<{width}}  {'first':>8}  {'median':>8}  {'p95':>8}")
    for step, title in STEPS.items():
        row = result["milliseconds"][step]
        cells = (f"{row[key]:8.1f}" if key in row else " " * 8 for key in ("first", "median", "p95"))
        print(f"{title:<{width}}  {'  '.join(cells)}".rstrip())
    if "stalls" in result:
        stalls, columns = result["stalls"], ("p50", "p95", "p99", "max")
        print(f"\n{'window, milliseconds':<{width}}  " + "  ".join(f"{column:>8}" for column in columns))
        for name, title in WINDOW.items():
            print(f"{title:<{width}}  " + "  ".join(f"{stalls[f'{name}_{c}']:8.1f}" for c in columns))
