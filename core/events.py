"""Events: what a process tells of its work, a JSON object a line, for whoever looks on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

FILE = "events.jsonl"


def append_event(folder: Path, kind: str, /, **numbers: Any) -> None:
    """Append an event to the `events.jsonl` of `folder`; OSError where it can't be written.

    Both are positional only: an event may have a `folder` of its own.
    """
    line = json.dumps({"time": round(time.time(), 3), "kind": kind, **numbers}, ensure_ascii=False)
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
