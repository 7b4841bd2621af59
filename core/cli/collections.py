"""What commands on a folder with labels share: opening, scanning and embedding it, each with a bar."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.terminal import progress_bar, share_bar
from core.errors import StudioError

if TYPE_CHECKING:
    from core.clip import ClipChoice, ClipModel
    from core.clip.embed import EmbedStatus
    from core.collection import Collection, ScanReport

# seconds between looks at the process that embeds, and how long it may take to stop
POLL, PATIENCE = 0.2, 60.0


def opened(folder: Path, attributes: str | None = None) -> Collection:
    """The folder's collection, made with the set called `attributes` if there is none yet.

    StudioError if that isn't given then, or if the collection has other attributes.
    """
    from core.annotate.sets import find_set
    from core.collection import Collection

    if not Collection.exists(folder):
        if attributes is None:
            raise StudioError(
                f"{folder} has no labels yet.", "Say with --attributes which set of attributes it is for."
            )
        return Collection.create(folder, find_set(attributes))
    wanted = None if attributes is None else find_set(attributes)
    collection = Collection.open(folder)
    if wanted is not None and wanted.attributes != collection.attributes.attributes:
        collection.close()
        raise StudioError(
            f"The labels of {folder} are for other attributes than {wanted.title}.",
            "Leave --attributes out to go on with them, or edit them in the window.",
        )
    return collection


def downloaded(choice: ClipChoice, *, quiet: bool) -> None:
    """Fetch a model's weights if they aren't here; what was fetched before Ctrl+C is kept."""
    from core.clip import available, download

    if available(choice):
        return
    with share_bar("MB", total=choice.megabytes, quiet=quiet) as show:
        download(choice, show)


def scanned(collection: Collection, *, quiet: bool) -> ScanReport:
    """Look through the folder."""
    with share_bar("of the folder", quiet=quiet) as show:
        return collection.scan(show)


def embedded_by(
    collection: Collection, choice: ClipChoice, device: str, *, quiet: bool
) -> tuple[ClipModel, EmbedStatus | None]:
    """The model, and how the process ended that embedded what was missing; None if nothing was.

    Ctrl+C lets it finish the batch at hand. StudioError if it fails.
    """
    from core.clip import ClipModel
    from core.clip.embed import EmbedJob

    # loaded here too, for the prompts: what is wrong with it is said at once
    model = ClipModel.load(choice, device)
    lacking = len(collection.embeddings(model.key, model.dim).missing())
    if not lacking:
        return model, None
    job = EmbedJob.start(collection, choice, device)
    with progress_bar(lacking, "images", quiet=quiet) as bar:
        bar.set_description("Embedding")
        try:
            while (status := job.poll()).running:
                bar.update(status.done - bar.n)
                time.sleep(POLL)
        except KeyboardInterrupt:
            job.cancel()
            until = time.monotonic() + PATIENCE
            while job.poll().running and time.monotonic() < until:
                time.sleep(POLL)
            raise
    if status.state == "cancelled":  # by Ctrl+C, which reaches the child too, or from a window
        raise KeyboardInterrupt
    if status.state != "finished":
        raise StudioError(status.error, "What is embedded is kept: the same command goes on.")
    return model, status
