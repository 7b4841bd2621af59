"""What the threads of the Curate workspace do for its session, and what it says of long work. Qt-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.attributes import AttributeSet
from core.collection import Collection, ImageTable
from core.errors import StudioError
from gui.curator.ordering import Known

if TYPE_CHECKING:
    from core.clip import ClipChoice

MODEL_SETTING = "clip"
ATTRIBUTE_SETTING = "attribute"


@dataclass(frozen=True)
class Work:
    """Long work for the bar over the grid: `state` is "", "running" or "stopped"."""

    state: str = ""
    text: str = ""
    fraction: float | None = None


def in_words(seconds: float) -> str:
    """“40 s”, “3 min”, “2 h”."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600, 1)} h"


def is_available(choice: ClipChoice) -> bool:
    """Whether a CLIP model is on this machine."""
    from core.clip import available

    return available(choice)


def fetch(choice: ClipChoice, tell: Callable[[float, str], None], cancelled: Callable[[], bool]) -> bool:
    """Download a CLIP model; False if cancelled."""
    from core.clip.hub import download

    return download(choice, tell, cancelled) is not None


def open_collection(folder: Path, attributes: AttributeSet | None) -> Collection:
    """The folder's collection, made with `attributes` if there is none."""
    if Collection.exists(folder) or attributes is None:
        return Collection.open(folder)
    return Collection.create(folder, attributes)


def read_known(collection: Collection, name: str) -> Known:
    """Images and labels that belong together; of the first attribute if there is none of that name."""
    names = [attribute.name for attribute in collection.attributes]
    if not name:
        name = collection.setting(ATTRIBUTE_SETTING, "") or ""
    chosen = name if name in names else names[0]
    while True:
        images: ImageTable = collection.images()
        labels = collection.labels(chosen)
        if len(labels) == len(images) and images is collection.images():
            return Known(images, labels)


def kept_choice(collection: Collection) -> ClipChoice:
    """The CLIP model that the collection was labelled with last; the shipped one if that is gone."""
    from core.clip import choices, find_choice

    kept = collection.setting(MODEL_SETTING)
    try:
        return find_choice(kept) if kept else choices()[0]
    except StudioError:  # a file that is gone
        return choices()[0]
