"""Follows the process that embeds a folder's images, and says in words how far it is. Qt-free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from core.collection import Collection
from core.collection.journal import images_in_words
from core.errors import StudioError
from gui.curator.jobs import Work, in_words

if TYPE_CHECKING:
    from core.clip import ClipChoice
    from core.clip.embed import EmbedJob, EmbedStatus

POLL = 0.2  # seconds between looks at the process
RESCORE = 15.0  # seconds after which what is embedded by then is scored
PATIENCE = 10.0  # seconds that a process may take to stop before it is killed


def job_of(collection: Collection, choice: ClipChoice) -> EmbedJob:
    """The process that embeds `collection`: one that is at work since an earlier window, or a new one.

    StudioError if one is at work with another model.
    """
    from core.clip.embed import EmbedJob

    found = EmbedJob.find(collection)
    if found is not None and found.model == choice.reference and found.poll().running:
        return found
    return EmbedJob.start(collection, choice)


async def follow(
    job: EmbedJob,
    tell: Callable[[Work], None],
    stopped: Callable[[], bool],
    rescore: Callable[[], Awaitable[None]],
) -> EmbedStatus:
    """Wait for the end of `job`, telling how far it is; ask it to stop once `stopped`.

    `rescore` is awaited now and then, while more becomes known. StudioError if the process fails.
    """
    asked = 0.0  # when it was asked to stop
    scored = time.monotonic()
    done = 0  # images that are scored
    try:
        while (status := job.poll()).running:
            now = time.monotonic()
            if asked:
                if now - asked > PATIENCE:
                    job.kill()
            elif stopped():
                job.cancel()
                asked = now
            tell(Work("running", "Stopping after the images at hand…") if asked else _progress(status))
            if not asked and status.done > done and now - scored > RESCORE:
                await rescore()
                done, scored = status.done, time.monotonic()
            await asyncio.sleep(POLL)
    except BaseException:  # nobody waits for it any more
        job.cancel()
        raise
    if status.state in ("failed", "lost") and not asked:
        raise StudioError(status.error, "What was embedded is kept. “Go on” tries again.")
    return status


def _progress(status: EmbedStatus) -> Work:
    if not status.total:
        return Work("running", "CLIP is being started…")
    text = f"CLIP looks at images: {status.done:,} of {status.total:,}"
    if status.images_per_second > 0:
        text += f" · {status.images_per_second:.1f} images/s"
    if status.seconds_left is not None:
        text += f" · {in_words(status.seconds_left)} left"
    return Work("running", text, status.done / status.total)


def oddities(status: EmbedStatus) -> str:
    """What a person should know of the images that were looked at; empty if there is nothing."""
    words = []
    if status.unreadable:
        have = "has" if status.unreadable == 1 else "have"
        words.append(f"{images_in_words(status.unreadable)} can't be read and {have} no scores.")
    if status.faceless:
        words.append(f"No face found in {images_in_words(status.faceless)}: CLIP saw the middle instead.")
    return " ".join(words)
