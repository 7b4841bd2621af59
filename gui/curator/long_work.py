"""The long work of the Curate workspace: looking for images, and having CLIP see and score them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from core.collection import Collection
from core.collection.journal import images_in_words
from core.errors import StudioError
from gui.curator.annotator import Annotator
from gui.curator.embedding import follow, job_of, oddities
from gui.curator.jobs import MODEL_SETTING, Work, fetch, is_available, read_known
from gui.curator.state import CuratorState
from gui.curator.thumbnails import Thumbnails
from gui.workspace import Activity

if TYPE_CHECKING:
    from core.clip import ClipChoice
    from core.clip.embed import EmbedJob
    from gui.curator.session import CuratorSession


class LongWork(QObject):
    """Scans and embeds for a session, one collection at a time; can be stopped and gone on with."""

    changed = Signal(object)  # Work

    def __init__(self, session: CuratorSession, state: CuratorState, thumbnails: Thumbnails) -> None:
        super().__init__(session)
        self._session, self._state, self._thumbnails = session, state, thumbnails
        self.annotator: Annotator | None = None
        self.ask_download: Callable[[ClipChoice], Awaitable[bool]] | None = None
        self.now = Work()
        self.stopped = False
        self._annotating: asyncio.Task[Any] | None = None

    def is_task(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task of the session is this work."""
        return task is self._annotating

    async def end(self, patience: float | None = None) -> None:
        """Stop, and wait for that (at most `patience` seconds)."""
        self.stopped = True
        if self._annotating is not None and not self._annotating.done():
            await asyncio.wait([self._annotating], timeout=patience)

    def forget(self) -> None:
        """The collection is closed."""
        self.annotator = None
        self.tell(Work())

    async def scan(self, collection: Collection) -> list[int]:
        """Bring the images up to date; ids of those whose file changed."""
        loop = asyncio.get_running_loop()

        def tell(fraction: float, text: str) -> None:
            loop.call_soon_threadsafe(self.tell, Work("running", text, fraction or None))

        self.tell(Work("running", "Looking for images"))
        report = await self._session.machine(
            lambda context: collection.scan(tell, lambda: self.stopped or context.cancelled())
        )
        if report.broken:
            one = len(report.broken) == 1
            words = "file can't be read and is" if one else "files can't be read and are"
            self._session.said.emit(f"{len(report.broken):,} {words} left out.")
        return report.changed

    def begin(self, choice: ClipChoice, rescan: bool) -> None:
        """Start: look for new images if `rescan`, then embed and score."""
        self.stopped = False
        self._annotating = self._session.start(self._annotate(choice, rescan))

    def stop(self) -> None:
        """Stop the long work; what is done is kept."""
        self.stopped = True

    def go_on(self) -> None:
        """Go on with the long work."""
        if self.annotator is not None and (self._annotating is None or self._annotating.done()):
            self.begin(self.annotator.choice, rescan=False)

    def choose_model(self, choice: ClipChoice) -> None:
        """Annotate with another model."""
        collection = self._state.collection
        if collection is not None:
            self._session.start(self._change_model(collection, choice))

    async def _change_model(self, collection: Collection, choice: ClipChoice) -> None:
        self.stopped = True
        if self._annotating is not None:
            await asyncio.gather(self._annotating, return_exceptions=True)
        await self._session.desk(lambda: collection.keep_setting(MODEL_SETTING, choice.reference))
        self._state.set_scores(None, None, None)
        self.annotator = None
        self.begin(choice, rescan=False)

    async def _annotate(self, choice: ClipChoice, rescan: bool) -> None:
        """Look for new images, embed what has no embedding, score."""
        collection = self._state.collection
        if collection is None:
            return
        try:
            if rescan:
                await self._look_again(collection)
            if self.annotator is None:
                self.annotator = Annotator(collection, choice)
            annotator = self.annotator
            if not await self._have(choice):
                self.tell(Work("stopped", f"{choice.title} is not on this machine."))
                return
            self.tell(Work("running", f"Loading {choice.title}"))
            await self._embed(annotator)
        except BaseException as error:
            hint = Work("stopped", "CLIP's scores are not there.")
            self.tell(hint if isinstance(error, Exception) else Work())
            raise

    async def _have(self, choice: ClipChoice) -> bool:
        """Whether the model is here; where it isn't, a person is asked whether to fetch it."""
        if choice.shipped or choice.path is not None:
            return True  # where something is missing, loading says what
        self.tell(Work("running", f"Looking for {choice.title}"))
        if await self._session.machine(lambda _: is_available(choice)):
            return True
        if self.ask_download is None or not await self.ask_download(choice):
            return False
        loop = asyncio.get_running_loop()

        def tell(fraction: float, text: str) -> None:
            loop.call_soon_threadsafe(self.tell, Work("running", text, fraction))

        return await self._session.machine(lambda _: fetch(choice, tell, lambda: self.stopped))

    async def _look_again(self, collection: Collection) -> None:
        changed = await self.scan(collection)
        self._thumbnails.forget(changed)
        known = await self._session.desk(lambda: read_known(collection, self._state.attribute_name))
        old = self._state.known
        if old is None or known.images is not old.images:
            self._state.set_known(known)
            await self._session.arrange()

    async def _embed(self, annotator: Annotator) -> None:
        """Have what is missing embedded by a process, and score it."""
        job, missing = await self._find_missing(annotator)
        total = missing
        if job is not None:

            async def rescore() -> None:
                await self._session.machine(lambda _: annotator.forget_embeddings())
                await self._session.score()

            try:
                status = await follow(job, self.tell, lambda: self.stopped, rescore)
            except StudioError:
                await rescore()
                raise
            await self._session.machine(lambda _: annotator.forget_embeddings())
            missing = len(await self._session.machine(lambda _: annotator.missing()))
            if status.state == "finished" and (words := oddities(status)):
                self._session.said.emit(words)
                missing -= status.unreadable
        await self._session.score()
        if missing > 0:
            words = f"{images_in_words(missing)} wait{'s' if missing == 1 else ''} for CLIP."
            self.tell(Work("stopped", words, 1 - missing / max(total, missing)))
        else:
            self.tell(Work())

    async def _find_missing(self, annotator: Annotator) -> tuple[EmbedJob | None, int]:
        """The process that embeds what is missing, None if nothing is; and the number of images."""
        collection, choice = annotator.collection, annotator.choice
        job: EmbedJob | None = None
        # it starts while the model is loaded here
        if not await self._session.machine(lambda _: collection.embedded):
            job = await self._session.machine(lambda _: job_of(collection, choice))
        try:
            missing = len(await self._session.machine(lambda _: annotator.missing()))
        except BaseException:
            if job is not None:
                job.cancel()
            raise
        if job is None and missing and not self.stopped:
            job = await self._session.machine(lambda _: job_of(collection, choice))
        return job, missing

    def tell(self, work: Work) -> None:
        """Show how it goes."""
        self.now = work
        self.changed.emit(work)
        busy = work.state == "running"
        self._session.activity_changed.emit(Activity(work.text, work.fraction) if busy else Activity())
