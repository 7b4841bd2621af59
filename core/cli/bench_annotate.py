"""Measure how fast this machine labels with CLIP: embedding, scoring, opening a large collection; and memory.

Embedding takes made-up photos of two sizes through the program's own way, from files to rows on the disk.
From the source tree a plain open_clip loop in fp32 (tests/bench/clip_loop.py) embeds the same files with the
same weights, by turns with ours, so that both see the machine alike, and the embeddings are compared. A model
that aligns faces is measured without that, on whole images, as the plain loop sees them. The other numbers
are of random embeddings and a made-up collection. Seconds are medians; beside them stand the seconds that
processors worked, which other programs don't lengthen.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.cli.terminal import DONE, machine, print_json, progress_bar
from core.memory import peak_bytes

SUMMARY = "labelling with CLIP: embedding, scores, opening"
PLAIN = "tests.bench.clip_loop"
# what cameras and what data sets have: name, width and height, how many
PHOTOS = (("2048x1536", (2048, 1536), 48), ("256x256", (256, 256), 192))
PROMPTS, VALUES, DIM = 40, 10, 512
# runs this file's `peak` alone, so that the peak is of nothing else
PEAK = "import sys; from core.cli.bench_annotate import peak; peak(sys.argv[1])"
WHAT = {
    "rescore": "score {images:,} images for {prompts} prompts",
    "rank": "and rank them for {values} values",
    "change": "after one prompt changed, with counts",
    "preview": "counts of another K",
    "open": "open a collection of {images:,} images, to its rows",
    "labels": "and the labels of an attribute",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--model", default="faces", metavar="MODEL", help="CLIP: a key, a file or a folder (default: faces)")
    add("--images", type=int, default=100_000, help="for all but embedding (default: 100000)")
    add("--runs", type=int, default=5, help="runs of each (default: 5)")
    add("--threads", type=int, help="threads of torch (default: torch's own choice)")
    add("--without-plain", action="store_true", help="measure ours only")
    add("--without-embedding", action="store_true", help="leave the embedding of photos out")
    add("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = {
        "machine": machine(),
        "runs": arguments.runs,
        "images": arguments.images,
        "prompts": PROMPTS,
        "values": VALUES,
    }
    with tempfile.TemporaryDirectory(prefix="zerodim-bench-") as temporary:
        folder = Path(temporary)
        if not arguments.without_embedding:
            result["embedding"] = embedding(folder, arguments)
        result["seconds"] = scoring(arguments.images, arguments.runs) | opening(
            folder / "large", arguments.images, arguments.runs
        )
        result["peak_megabytes"] = _peak_of(folder / "large")
    if arguments.json:
        print_json(result)
    else:
        print(table(result))
    return DONE


# ------------------------------------------------------------------------------------------------ embedding


def embedding(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Images a second of ours and of the plain loop, and how alike their embeddings are."""
    from core.clip import ClipModel, find_choice

    choice = find_choice(arguments.model)
    if choice.path is not None and choice.path.is_dir():
        choice = find_choice(_without_card(choice.path, folder / "model"))
    model = ClipModel.load(choice, "cpu")
    plain = None
    if not arguments.without_plain:
        try:
            module = importlib.import_module(PLAIN)
            plain = (module, *module.load(choice))
        except ImportError:  # the program as it is installed
            plain = None
    found: dict[str, Any] = {"model": model.key, "photos": {}}
    with progress_bar(len(PHOTOS) * (arguments.runs + 1), "runs", quiet=arguments.json) as bar:
        for name, size, count in PHOTOS:
            photos = folder / name
            make_photos(photos, size, count)
            found["photos"][name] = _race(photos, count, model, plain, arguments.runs, bar)
    return found


def _without_card(model: Path, copy: Path) -> Path:
    """The same weights as a model that looks at whole images: one that aligns faces first does more than
    the plain loop."""
    from core.clip.choices import CONFIG_NAME, weights_in

    weights = weights_in(model)
    copy.mkdir()
    shutil.copy(model / CONFIG_NAME, copy)
    if weights is not None:
        shutil.copy(weights, copy)
    return copy


def make_photos(folder: Path, size: tuple[int, int], count: int) -> None:
    """JPEGs with structure at all scales down to some pixels, each as strong, which is what photos have."""
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        whole = np.zeros((size[1], size[0], 3), np.float32)
        scales = [4**n for n in range(1, 6) if 4**n <= size[1] / 4]
        for cells in scales:
            noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
            whole += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), np.float32) / len(scales)
        Image.fromarray(whole.astype(np.uint8)).save(folder / f"{number:04d}.jpg", quality=90)


def _race(photos: Path, count: int, model: Any, plain: Any, runs: int, bar: Any) -> dict[str, Any]:
    from core.attributes import AttributeSet
    from core.clip.embed import embed_collection
    from core.collection import Collection

    with Collection.create(photos, AttributeSet("none", "None", ())) as collection:
        collection.scan()
        images = collection.images()
        home = collection.home
    paths = [photos / path for path in images.paths]
    watch = Stopwatch()
    rows: dict[str, np.ndarray] = {}
    for _ in range(runs + 1):
        shutil.rmtree(home / "embeddings", ignore_errors=True)
        with Collection.open(photos) as collection:
            watch("ours", partial(embed_collection, collection, model))
            rows["ours"] = collection.embeddings(model.key, model.dim).rows(images.ids)
        if plain is not None:
            module, network, preprocess = plain
            rows["plain"] = watch("plain", partial(module.embed_files, network, preprocess, paths))
        bar.update()
    medians = watch.medians()
    found = {side: count / spent["wall"] for side, spent in medians.items()}
    if plain is not None:
        # of each pair of runs, as the machine's load changes
        wall, processor = (np.array([t[i] for t in watch.times["plain"]]) for i in (0, 1))
        ours = np.array(watch.times["ours"])
        found["times"] = float(np.median((wall / ours[:, 0])[1:]))
        found["processor_times"] = float(np.median((processor / ours[:, 1])[1:]))
        a, b = (rows[side] / np.linalg.norm(rows[side], axis=1, keepdims=True) for side in ("ours", "plain"))
        found["least_cosine"] = float((a * b).sum(axis=1).min())
    return found


# -------------------------------------------------------------------------------------- scoring and opening


class Stopwatch:
    """Wall and processor seconds of each step."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        """Time a call; what it returns."""
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        spent = (time.perf_counter() - wall, time.process_time() - processor)
        self.times.setdefault(step, []).append(spent)
        return result

    def medians(self) -> dict[str, dict[str, float]]:
        """Of each step, without its first run where there are more."""
        found = {}
        for step, times in self.times.items():
            wall, processor = zip(*(times[1:] or times), strict=True)
            found[step] = {
                "wall": round(statistics.median(wall), 4),
                "processor": round(statistics.median(processor), 4),
            }
        return found


def random_embeddings(images: int) -> np.ndarray:
    """(N, 512) float32 of unit length."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((images, DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def some_attribute(change: str = "") -> Any:
    """Ten values with four prompts each; `change` is put to one of the prompts."""
    from core.attributes import Attribute, Value

    per_value = PROMPTS // VALUES
    values = [
        Value(f"v{v}", f"V{v}", tuple(f"value {v}, prompt {p}" for p in range(per_value)))
        for v in range(VALUES)
    ]
    first = values[0].prompts
    values[0] = Value("v0", "V0", (first[0] + change, *first[1:]))
    return Attribute("made-up", "Made-up", tuple(values))


def random_texts(texts: Any) -> np.ndarray:
    """(T, 512) embeddings that go by the text."""
    return np.stack([np.random.default_rng(list(text.encode())).standard_normal(DIM) for text in texts])


def scoring(images: int, runs: int) -> dict[str, dict[str, float]]:
    """Seconds of scores, ranks, a changed prompt, and counts of a rule."""
    from core.annotate import Scorer, Scores, TopK, preview

    rows, watch = random_embeddings(images), Stopwatch()

    def ranked(scores: Scores) -> np.ndarray:
        return scores.rank

    def changed(scorer: Scorer, text: str) -> None:
        preview(TopK(1000), scorer.score(some_attribute(text)))

    for number in range(runs + 1):
        scorer = Scorer(rows, random_texts)
        scores = watch("rescore", partial(scorer.score, some_attribute()))
        watch("rank", partial(ranked, scores))
        watch("change", partial(changed, scorer, f" {number}"))
        watch("preview", partial(preview, TopK(500 + number), scores))
    return watch.medians()


def opening(folder: Path, images: int, runs: int) -> dict[str, dict[str, float]]:
    """Seconds until the rows of a large collection are there. Leaves it, with embeddings, in `folder`."""
    from core.attributes import AttributeSet
    from core.collection.synthetic import synthetic_collection

    with synthetic_collection(
        folder, AttributeSet("bench", "Bench", (some_attribute(),)), images, labelled=0.3
    ) as collection:
        store = collection.embeddings("random", DIM)
        ids, rows = store.missing(), random_embeddings(images)
        for start in range(0, images, 10_000):
            store.write(ids[start : start + 10_000], rows[start : start + 10_000])
    watch = Stopwatch()
    for _ in range(runs + 1):
        with watch("open", partial(_opened, folder)) as collection:
            watch("labels", partial(collection.labels, "made-up"))
    return watch.medians()


def _opened(folder: Path) -> Any:
    from core.collection import Collection

    collection = Collection.open(folder)
    collection.images()
    return collection


# --------------------------------------------------------------------------------------------------- memory


def _peak_of(folder: Path) -> dict[str, float] | None:
    """Peak memory in megabytes of a process that does all with the large collection, step by step."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder)], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def peak(folder: str) -> None:
    """Print this process's peak memory: started, collection open, all scored and ranked."""
    from core.annotate import TopK, preview
    from core.annotate.flow import scorer_of

    class Texts:
        key, dim, embed_texts = "random", DIM, staticmethod(random_texts)

    found = {"started": round(peak_bytes() / 1e6)}
    collection = _opened(Path(folder))
    labels = collection.labels("made-up")
    found["open"] = round(peak_bytes() / 1e6)
    scores = scorer_of(collection, Texts()).score(labels.attribute)
    preview(TopK(1000), scores, labels.settled)
    _ = scores.rank, scores.margin, scores.entropy
    found["scored"] = round(peak_bytes() / 1e6)
    collection.close()
    print(json.dumps(found))


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    where, lines = result["machine"], []
    lines += [f"{where['threads']} threads, torch {where['torch']}, median of {result['runs']} runs", ""]
    if "embedding" in result:
        lines += [f"Embedding with {result['embedding']['model']}:", ""]
        lines += [
            "| photos | images/s | plain | times | times, processor | least cosine |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for name, row in result["embedding"]["photos"].items():
            cells = [name, f"{row['ours']:.1f}"]
            if "plain" in row:
                cells += [f"{row[key]:.2f}" for key in ("plain", "times", "processor_times")]
                cells.append(f"{row['least_cosine']:.6f}")
            else:
                cells += [""] * 4
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["| what | seconds | processor |", "| --- | ---: | ---: |"]
    for step, seconds in result["seconds"].items():
        title = WHAT[step].format(**result)
        lines.append(f"| {title} | {seconds['wall']:.3f} | {seconds['processor']:.3f} |")
    if result["peak_megabytes"]:
        megabytes = result["peak_megabytes"]
        lines += ["", "Peak memory, megabytes: "
                  + ", ".join(f"{name} {value:,.0f}" for name, value in megabytes.items())]  # fmt: skip
    return "\n".join(lines)
