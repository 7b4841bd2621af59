"""Tables of labels as CSV files: file names in the first column, an attribute in each other one."""

from __future__ import annotations

import csv
import io
import re
from functools import lru_cache
from pathlib import Path

from core.errors import StudioError

MOST_VALUES = 1000  # a column with more is a number or a text, not an attribute


@lru_cache(4096)
def plain_name(text: str) -> str:
    """A text as the name of an attribute or value: “Hair colour” is hair_colour."""
    return re.sub(r"\W+", "_", text.strip().lower()).strip("_")


def read_csv(file: Path) -> tuple[dict[str, str], list[tuple[int, str, list[str]]]]:
    """Titles of a CSV's columns by name (see `plain_name`); and its lines' numbers, file names and cells.

    Commas, semicolons or tabs part the cells; empty lines are skipped. StudioError if it isn't such a file.
    """
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudioError(f"The labels in {file} can't be read: {error}.", "Give a CSV in UTF-8.") from error
    first = text.split("\n", 1)[0]
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count)))
    except csv.Error as error:
        raise StudioError(f"{file.name} is no CSV: {error}.", "Correct the file.") from error
    header = [column.strip() for column in lines[0]] if lines else []
    titles = {plain_name(column): column for column in header[1:]}
    if not titles or "" in titles or len(titles) != len(header) - 1:
        raise StudioError(
            f"The first line of {file.name} does not name its columns.",
            "Begin with: file, then a different name for each attribute.",
        )
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise StudioError(
                f"Line {number} of {file.name} has {len(cells)} columns, the first line {len(header)}.",
                "Correct the file.",
            )
        rows.append((number, cells[0].strip(), [cell.strip() for cell in cells[1:]]))
    return titles, rows
