"""Between the editor's state and the worker: every request goes out here, every result comes back here.

The engine lives on the worker thread and is made there, so that torch is never imported on the window's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PySide6.QtCore import QObject, Signal

from core.editing.requests import RenderRequest
from core.faces.frame import Frame
from core.recipe import Recipe, Refinement
from core.worker import JobContext, Worker
from gui.editor import edits
from gui.editor.layers import Picture
from gui.editor.state import EditorState
from gui.tasks import Tasks, told_to_end
from gui.workspace import Activity

if TYPE_CHECKING:
    from core.editing import EditEngine, OpenedPhoto, Patch
    from core.model import ModelCard

# Longer side, in pixels, of what the canvas shows of a large photo, and of what it shows once it is zoomed in
# beyond that: 4096 is all of a 12-megapixel photo, and 100 MB for before and after.
SCREEN = 1600
DETAIL = 4096

T = TypeVar("T")


def make_engine(model: Path | None) -> EditEngine:
    """The engine for a model's folder, the starter model if None. Imports torch: only for the worker."""
    from core.editing import EditEngine
    from core.preload import preload_torch

    preload_torch()
    return EditEngine(model)


class Session(Tasks):
    """Opens, looks, renders and saves for the state. Errors for people are emitted, never raised."""

    activity_changed = Signal(object)
    opened = Signal(object)  # the Picture of another photo
    rendered = Signal(int, object, object)  # the request's number, its Picture, its patches

    def __init__(
        self,
        state: EditorState,
        worker: Worker,
        model: Path | None = None,
        engine: Callable[[Path | None], EditEngine] = make_engine,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._state, self._worker, self._model, self._factory = state, worker, model, engine
        self._engine: EditEngine | None = None
        self._pump: asyncio.Task[Any] | None = None
        self.asked = 0  # number of the newest request
        self._shown = 0  # the newest request whose answer is on the canvas
        self._photos = 0  # counts photos asked for, so that an answer for an earlier one is known
        self._photo_shown = 0
        self._busy: list[Activity] = []
        self._looking: set[Frame] = set()
        self._pictures: dict[int, Picture] = {}
        self._screen = SCREEN
        self.saving = 0
        self.refined: set[tuple[Frame, Refinement]] = set()  # what the engine needn't make again
        state.recipe_changed.connect(self._recipe_changed)

    async def saved(self) -> None:
        """Wait until no save is under way."""
        while self.saving:
            await asyncio.sleep(0.05)

    async def _run(
        self, job: Callable[[JobContext, EditEngine], T], *, lane: str | None = None, text: str = ""
    ) -> T:
        """Run a job with the engine on the worker; `text` is said in the status bar meanwhile."""
        loop = asyncio.get_running_loop()
        activity = Activity(text)

        def with_engine(context: JobContext) -> T:
            if self._engine is None:
                self._engine = self._factory(self._model)
            return job(context, self._engine)

        def progress(fraction: float, words: str) -> None:
            loop.call_soon_threadsafe(self._progress, activity, Activity(words or text, fraction))

        if text:
            self._busy.append(activity)
            self.activity_changed.emit(activity)
        try:
            return await asyncio.wrap_future(self._worker.submit(with_engine, lane=lane, progress=progress))
        finally:
            if text:
                self._busy.remove(activity)
                self.activity_changed.emit(self._busy[-1] if self._busy else Activity())

    async def run(self, job: Callable[[EditEngine], T]) -> T:
        """Run a short job with the engine, in turn with everything else."""
        return await self._run(lambda _, engine: job(engine))

    @contextmanager
    def telling(self, text: str) -> Iterator[Callable[[float], None]]:
        """Say in the status bar what goes on in the block, and how far it is: a share of 1."""
        own = Activity(text, 0.0)
        self._busy.append(own)
        self.activity_changed.emit(own)
        try:
            yield lambda fraction: self._progress(own, Activity(text, fraction))
        finally:
            self._busy.remove(own)
            self.activity_changed.emit(self._busy[-1] if self._busy else Activity())

    def _progress(self, own: Activity, now: Activity) -> None:
        if self._busy and self._busy[-1] is own:
            self.activity_changed.emit(now)

    # model and photo

    async def load(self) -> None:
        """Load the model, so that the first photo finds it ready."""
        if self._state.card is None:
            card = await self._run(lambda _, engine: engine.load(), text="Loading the model…")
            if self._state.card is None:
                self._state.set_card(card)

    async def use_model(self, folder: Path) -> None:
        """Edit with another model; the present one stays on any error.

        Swaps that the other model knows are kept. Steps can't be taken back beyond this: the values they
        would bring back may not be there.
        """

        def loading(_context: JobContext, _engine: EditEngine) -> tuple[EditEngine, ModelCard]:
            engine = self._factory(folder)
            return engine, engine.load()

        self._worker.cancel("render")
        self._engine, card = await self._run(loading, text="Loading the model…")
        self._model = folder
        path, recipe, unsaved = self._state.path, self._state.recipe, self._state.unsaved
        self._state.set_card(card)
        if path is not None and recipe is not None:
            await self.open(path, edits.for_model(recipe, card.name, card.attributes))
            if unsaved:
                self._state.undo.resetClean()

    @property
    def model(self) -> Path | None:
        """The folder of the model in use; None for the starter model."""
        return self._model

    async def free_device(self) -> None:
        """Forget the model and all that is cached; the next edit loads it again."""

        def forget(_context: JobContext, engine: EditEngine) -> None:
            engine.forget()

        self.refined.clear()
        if self._engine is not None:
            await self._run(forget, text="Freeing the device…")

    async def open(self, path: Path, recipe: Recipe | None = None) -> bool:
        """Open a photo, with a saved recipe if given; true if it is shown. The old one stays on any error."""
        self._photos += 1
        mine = self._photos
        self._worker.cancel("render")
        try:
            await self.load()
            opened, picture = await self._run(
                _opening(path, SCREEN), lane="open", text=f"Opening {path.name}…"
            )
        except asyncio.CancelledError:
            if told_to_end():
                raise
            return False  # a later photo took this one's place
        except Exception as error:
            if mine == self._photos:
                self.tell(error)
            return False
        if mine != self._photos:
            return False
        self._shown = self.asked  # what was rendered for the photo before is of no use now
        self._looking.clear()
        self.refined.clear()
        self._screen, self._pictures = SCREEN, {SCREEN: picture}
        self._photo_shown = mine
        self.opened.emit(picture)
        self._state.set_photo(opened, recipe)
        return True

    def want_detail(self, wanted: bool) -> None:
        """Show the photo at a higher resolution, because the canvas is zoomed in, or at the usual one."""
        screen = DETAIL if wanted else SCREEN
        if screen == self._screen or self._state.photo is None or self._state.photo.scale >= 1:
            return
        self._screen = screen
        if screen in self._pictures:
            self.request_render()
        else:
            self.start(self._fetch_detail())

    async def _fetch_detail(self) -> None:
        path, photo = self._state.path, self._photo_shown
        if path is None:
            return
        try:
            _, picture = await self._run(_opening(path, DETAIL), lane="detail", text="Sharpening…")
        except asyncio.CancelledError:
            if told_to_end():
                raise
            return
        if photo == self._photo_shown:
            self._pictures[DETAIL] = picture
            if self._screen == DETAIL:
                self.request_render()

    # rendering

    def _recipe_changed(self) -> None:
        self.request_render()
        for frame in self._state.unseen():
            if frame not in self._looking:
                self._looking.add(frame)
                self.start(self._look(frame))

    def request_render(self) -> int:
        """Ask for the after picture of the present recipe; returns the request's number.

        At most one request is with the worker. The newest one that came meanwhile follows, so that a drag is
        seen while it goes on; all between are skipped.
        """
        self.asked += 1
        if not edits.changes(self._state.recipe):
            self._show(self.asked, self._present_screen(), ())
        elif self._pump is None or self._pump.done():
            self._pump = self.start(self._render())
        return self.asked

    def _present_screen(self) -> int:
        """The resolution to render at: the wanted one, as soon as its picture is there."""
        return self._screen if self._screen in self._pictures else SCREEN

    async def _render(self) -> None:
        while self._shown < self.asked and self._state.recipe is not None:
            number, photo, screen = self.asked, self._photo_shown, self._present_screen()
            recipe = self._state.recipe
            needed = {(f.frame, f.refinement) for f in recipe.faces if f.refinement is not None}
            text = "" if needed <= self.refined else "Refining the face…"  # of a saved recipe
            try:
                patches = await self._run(_rendering(number, recipe, screen), lane="render", text=text)
                self.refined |= needed
            except asyncio.CancelledError:
                if told_to_end():
                    raise
                continue  # another photo was on its way: see whether there is still something to show
            except Exception:
                if photo == self._photo_shown:
                    self._shown = max(self._shown, number)  # asking again would fail again
                    raise
                continue
            # stale: of another photo, or older than what is shown (a reset is shown at once)
            if photo == self._photo_shown and number > self._shown:
                self._show(number, screen, patches)

    def _show(self, number: int, screen: int, patches: tuple[Patch, ...]) -> None:
        self._shown = number
        if (picture := self._pictures.get(screen)) is not None:
            self.rendered.emit(number, picture, patches)

    @property
    def up_to_date(self) -> bool:
        """Whether the newest request's answer is on the canvas and nothing else is under way."""
        return self._shown == self.asked and not self._busy

    async def _look(self, frame: Frame) -> None:
        """Let the model look at a frame that a person placed."""
        path, photo = self._state.path, self._photo_shown
        if path is None:
            return
        try:
            view = await self._run(
                lambda _, engine: engine.describe(path, frame), text="Looking at the face…"
            )
            if photo == self._photo_shown:
                self._state.add_view(view, frame)
        finally:
            self._looking.discard(frame)

    # saving

    async def save(self, out: Path, *, overwrite: bool, quality: int = 95) -> bool:
        """Write the edited photo at full resolution; true if it was saved."""
        recipe = self._state.recipe
        if recipe is None:
            return False
        self.saving += 1
        try:
            await self._run(
                lambda context, engine: engine.export(
                    recipe, out, overwrite=overwrite, quality=quality, progress=context.progress
                ),
                text=f"Saving {out.name}…",
            )
        except Exception as error:
            self.tell(error)
            return False
        finally:
            self.saving -= 1
        if self._state.recipe == recipe:  # else there are edits newer than the file
            self._state.undo.setClean()
        return True


def _opening(path: Path, screen: int) -> Callable[[JobContext, EditEngine], tuple[OpenedPhoto, Picture]]:
    """The job that opens a photo and makes its Picture: its copying would cost the window milliseconds."""

    def job(_: JobContext, engine: EditEngine) -> tuple[OpenedPhoto, Picture]:
        opened = engine.open(path, screen)
        return opened, Picture((opened.width, opened.height), opened.preview)

    return job


def _rendering(
    number: int, recipe: Recipe, screen: int
) -> Callable[[JobContext, EditEngine], tuple[Patch, ...]]:
    """The job that renders a recipe."""
    request = RenderRequest(number, recipe, screen)
    return lambda context, engine: engine.render(request, context.cancelled, context.progress).patches
