"""Measure the Curate workspace over a made-up collection, in a window that is offscreen where there is no
screen: until the first thumbnails are seen, while the grid is scrolled, and from a key press that labels to
the painted grid. Times are in milliseconds."""

from __future__ import annotations

import argparse

from core.cli.terminal import DONE, print_json

SUMMARY = "labelling many images"
WORDS = {
    "images": "images",
    "grid_shown": "the grid is shown",
    "first_thumbnails": "all thumbnails that are seen are there",
    "frame_p95": "a frame while scrolling, 95 % are faster",
    "frame_max": "the worst frame while scrolling",
    "stall_max": "the longest that the window stood still",
    "key_p50": "key press to painted grid, half are faster",
    "key_p95": "key press to painted grid, 95 % are faster",
    "memory_mb": "the most memory, in MB",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("--images", type=int, default=100_000, metavar="N", help="how many (default: 100,000)")
    add("--scroll", type=float, default=6, metavar="SECONDS", help="how long to scroll (default: 6)")
    add("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    found = arguments.program.measure_curate(arguments.images, arguments.scroll)
    if arguments.json:
        print_json(found)
    else:
        for name, words in WORDS.items():
            print(f"{words:46} {found[name]:>10,.1f}")
    return DONE
