"""Between the Curate workspace's state and its threads: labels go to one, CLIP's work to the other.

Labels have a thread of their own, so that they are on the disk at once however long CLIP takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PySide6.QtCore import QObject, Signal

from core.annotate import Rule, flow
from core.annotate.probe import Probe, Proposals
from core.annotate.quality import Disagreement, disagreements
from core.attributes import AttributeSet
from core.collection import SOURCES, Change, LabelTable
from core.collection.edits import SetPrompts
from core.collection.imports import ImportPreview
from core.errors import StudioError
from core.worker import JobContext, Worker
from gui.curator import ordering
from gui.curator.annotator import foresee
from gui.curator.embedding import PATIENCE
from gui.curator.jobs import (
    ATTRIBUTE_SETTING,
    MODEL_SETTING,
    Work,
    kept_choice,
    open_collection,
    read_known,
)
from gui.curator.long_work import LongWork
from gui.curator.ordering import Arrangement
from gui.curator.state import CuratorState
from gui.curator.thumbnails import Thumbnails
from gui.tasks import Tasks, told_to_end
from gui.workspace import Activity

if TYPE_CHECKING:
    from core.clip import ClipChoice

T = TypeVar("T")


class CuratorSession(Tasks):
    """Opens, scans, embeds, scores, labels. Errors for people are emitted, never raised."""

    activity_changed = Signal(object)
    said = Signal(str)  # a sentence about what was done
    travelled = Signal(object)  # (M,) positions that an undo or a redo changed

    def __init__(self, state: CuratorState, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state, self._thumbnails = state, thumbnails
        self._desk, self._machine = Worker("labels"), Worker("clip")
        self.work = LongWork(self, state, thumbnails)
        self._writes = 0  # labels on their way to the disk
        self._scorings = 0  # scores on their way
        self._arrangings = 0

    async def close(self) -> None:
        """End everything; labels that were given are written first, and the process that embeds stops."""
        await self.work.end(PATIENCE)
        for task in [t for t in self._tasks if t.get_name().startswith("label")]:
            await asyncio.gather(task, return_exceptions=True)
        await super().close()
        self._machine.close()
        self._desk.close()
        if self._state.collection is not None:
            self._state.collection.close()

    async def _on(
        self,
        worker: Worker,
        job: Callable[[JobContext], T],
        lane: str | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> T:
        return await asyncio.wrap_future(worker.submit(job, lane=lane, progress=progress))

    async def desk(self, job: Callable[[], T]) -> T:
        """Run a short job on the thread of the labels, in turn."""
        return await self._on(self._desk, lambda _: job())

    async def machine(self, job: Callable[[JobContext], T], lane: str | None = None) -> T:
        """Run a job on CLIP's thread."""
        return await self._on(self._machine, job, lane)

    @property
    def up_to_date(self) -> bool:
        """Whether all labels are written, and the grid shows what is known."""
        under_way = any(not task.done() for task in self._tasks if not self.work.is_task(task))
        return not (under_way or self._writes or self._scorings or self._arrangings)

    @property
    def writing(self) -> bool:
        """Whether labels are on their way to the disk."""
        return self._writes > 0

    # opening

    async def open(
        self, folder: Path, attributes: AttributeSet | None = None, choice: ClipChoice | None = None
    ) -> bool:
        """Open a folder; `attributes` are for one without a collection. True if its grid is shown."""
        await self.close_collection()
        self.work.stopped = False
        collection = await self.desk(lambda: open_collection(folder, attributes))
        try:
            if not len(collection.images()):
                await self.work.scan(collection)
            known = await self.desk(lambda: read_known(collection, ""))
            if not len(known.images):
                if self.work.stopped:
                    collection.close()
                    self.work.tell(Work())
                    return False
                raise StudioError(
                    f"There are no images in {folder}.",
                    "Choose a folder with photos; those in folders within it count too.",
                )
        except BaseException:
            collection.close()
            self.work.tell(Work())
            raise
        if choice is None:
            choice = await self.desk(lambda: kept_choice(collection))
        else:
            kept = choice.reference
            await self.desk(lambda: collection.keep_setting(MODEL_SETTING, kept))
        name = known.labels.attribute.name
        rule = await self.desk(lambda: flow.kept_rule(collection, name))
        self._thumbnails.open(collection.folder, collection.home)
        self._state.set_collection(collection)
        self._state.rule = rule
        self._state.set_known(known)
        await self._find_titles()
        await self.arrange()
        self.work.begin(choice, rescan=True)
        return True

    async def close_collection(self) -> None:
        """Let go of the open collection, once its labels are written."""
        await self.work.end()
        while self._writes or self._scorings or self._arrangings:
            await asyncio.sleep(0.01)
        self.work.forget()
        collection = self._state.collection
        if collection is not None:
            self._state.set_collection(None)
            await self.desk(collection.close)

    # scores

    async def score(self) -> None:
        """Score the draft, foresee the rule, and arrange again."""
        annotator, state = self.work.annotator, self._state
        if annotator is None or state.draft is None or state.known is None:
            return
        self._scorings += 1
        try:
            draft, known, rule = state.draft, state.known, state.rule

            def job(context: JobContext):
                if context.cancelled():
                    return None
                scores = annotator.score(draft)
                try:
                    assignment, found = foresee(rule, scores, known.labels)
                except StudioError:  # a rule for another attribute's values
                    assignment, found = None, None
                return scores, assignment, found

            try:
                made = await self.machine(job, lane="score")
            except asyncio.CancelledError:
                if told_to_end():
                    raise
                return  # newer scores are on their way
            if made is None or annotator is not self.work.annotator or state.known is None:
                return
            scores, assignment, found = made
            if draft is state.draft and len(scores) == state.count:
                state.set_scores(scores, assignment, state.known.learned)
                state.set_assignment(assignment, found)
                await self.arrange()
        finally:
            self._scorings -= 1

    async def foresee(self) -> None:
        """What the rule would do now."""
        state = self._state
        known, rule = state.known, state.rule
        if known is None or known.scores is None:
            return
        scores = known.scores
        self._scorings += 1
        try:
            assignment, found = await self.machine(lambda _: foresee(rule, scores, known.labels), lane="rule")
        except asyncio.CancelledError:
            if told_to_end():
                raise
            return
        finally:
            self._scorings -= 1
        if state.known is not None and state.known.scores is scores and state.rule == rule:
            state.set_assignment(assignment, found)

    def set_rule(self, rule: Rule) -> None:
        """Another rule: foreseen at once, applied when asked for."""
        if rule != self._state.rule:
            self._state.rule = rule
            self.start(self.foresee())

    async def apply_rule(self) -> None:
        """Label with the rule, as one step."""
        state = self._state
        if state.known is None or state.known.scores is None or state.collection is None:
            return
        rule, scores, collection = state.rule, state.known.scores, state.collection

        def job() -> Change:
            change = flow.label_by_clip(collection, scores, rule).change
            assert change is not None
            return change

        self.activity_changed.emit(Activity("Applying the rule…"))
        try:
            await self._write(job, None)
        finally:
            self.activity_changed.emit(Activity())
        await self.foresee()
        await self.arrange()

    # what is shown

    def set_arrangement(self, wanted: Arrangement) -> None:
        """Filter and order otherwise."""
        if wanted != self._state.arrangement:
            self._state.arrangement = wanted
            self.start(self.arrange())

    async def arrange(self) -> None:
        """Find the rows of the grid."""
        state = self._state
        self._arrangings += 1
        try:
            known, wanted = state.known, state.arrangement
            if known is None:
                return
            try:
                shown = await self._on(self._desk, lambda _: ordering.arrange(known, wanted), lane="arrange")
            except asyncio.CancelledError:
                if told_to_end():
                    raise
                return
            if state.known is not None and state.known.images is known.images and wanted == state.arrangement:
                state.set_shown(shown)
        finally:
            self._arrangings -= 1

    async def choose_attribute(self, name: str) -> None:
        """Work at another attribute."""
        collection = self._state.collection
        if collection is None:
            return
        known, rule = await self.desk(
            lambda: (read_known(collection, name), flow.kept_rule(collection, name))
        )
        if self._state.collection is not collection:
            return
        self._state.rule = rule
        self._state.set_known(known)
        self._state.set_scores(None, None, None)
        await self.arrange()
        await self.score()
        await self.desk(lambda: collection.keep_setting(ATTRIBUTE_SETTING, name))

    # labels

    def label(
        self, positions: np.ndarray, values: np.ndarray | int, source: str = "person", title: str = ""
    ) -> None:
        """Label images: seen at once, on the disk a moment later, one step to undo."""
        known, collection, name = self._state.known, self._state.collection, self._state.attribute_name
        if known is None or collection is None or not len(positions):
            return
        ids = known.images.ids[positions]
        self._state.foresee(positions, values, SOURCES.index(source))
        job = self._write(lambda: collection.set_labels(name, ids, values, source, title=title), positions)
        self.start(job).set_name("label")

    async def _write(self, job: Callable[[], Change], positions: np.ndarray | None) -> Change:
        collection, name = self._state.collection, self._state.attribute_name
        assert collection is not None
        self._writes += 1
        try:
            change, labels = await self.desk(lambda: (job(), collection.labels(name)))
        except BaseException:
            self._writes -= 1
            if self._state.collection is collection:
                self._take_labels(await self.desk(lambda: collection.labels(name)), None)
            raise
        self._writes -= 1
        here = self._state.collection is collection and self._state.attribute_name == name
        if here and not self._writes:  # else a later answer knows more
            self._take_labels(labels, positions)
            await self._find_titles()
        return change

    def _take_labels(self, labels: LabelTable, positions: np.ndarray | None) -> None:
        if len(labels) == self._state.count:
            self._state.set_labels(labels, positions)

    async def _find_titles(self) -> None:
        collection = self._state.collection
        if collection is not None:
            titles = await self.desk(lambda: (collection.undo_title, collection.redo_title))
            self._state.undo_title, self._state.redo_title = titles
            self._state.labels_changed.emit(np.zeros(0, np.int64))

    async def travel(self, forward: bool) -> None:
        """Undo or redo the last step."""
        collection = self._state.collection
        if collection is None:
            return
        change = await self.desk(collection.redo if forward else collection.undo)
        if change is None or self._state.collection is not collection:
            return
        if change.kind == "attributes":
            await self.reload()
        elif change.attribute and change.attribute != self._state.attribute_name:
            await self.choose_attribute(change.attribute)
        else:
            name = self._state.attribute_name
            self._take_labels(await self.desk(lambda: collection.labels(name)), None)
        await self._find_titles()
        if self._state.known is not None:
            positions = self._state.known.images.positions(change.ids)
            self.travelled.emit(positions[positions >= 0])
        self.said.emit(f"{'Done again' if forward else 'Taken back'}: {change.title}")

    async def edit_attributes(self, *edits: Any, title: str = "") -> None:
        """Change attributes and values; labels are kept."""
        collection = self._state.collection
        if collection is not None:
            await self.desk(lambda: collection.edit_attributes(list(edits), title))
            await self.reload()

    async def keep_prompts(self, value: str, prompts: tuple[str, ...]) -> None:
        """Keep prompts that were typed, as one step to undo."""
        collection, name = self._state.collection, self._state.attribute_name
        if collection is None:
            return
        await self.desk(lambda: collection.edit_attributes(SetPrompts(name, value, prompts)))
        known = await self.desk(lambda: read_known(collection, name))
        draft = self._state.draft
        self._state.set_known(replace(known, **self._scored()))
        if draft is not None and draft != known.labels.attribute:
            self._state.draft = draft  # another text is being typed
        await self._find_titles()
        await self.score()

    def _scored(self) -> dict[str, Any]:
        known = self._state.known
        if known is None:
            return {}
        return {"scores": known.scores, "assignment": known.assignment, "learned": known.learned}

    async def take_learned(self, probe: Probe, proposals: Proposals, positions: np.ndarray) -> None:
        """Make labels of what was learned, as one step."""
        collection = self._state.collection
        if collection is not None and len(positions):
            await self._write(lambda: flow.label_by_probe(collection, probe, proposals, positions), None)

    async def find_duplicates(self) -> tuple[int, list[Disagreement]]:
        """How many groups of images look alike, and those with different labels."""
        known, collection = self._state.known, self._state.collection
        if known is None or collection is None:
            return 0, []
        self.activity_changed.emit(Activity("Looking for duplicates…"))
        try:
            groups = await self.machine(lambda c: collection.near_duplicates(cancelled=c.cancelled))
        finally:
            self.activity_changed.emit(Activity())
        return len(groups), disagreements(groups, known.labels, known.images.positions)

    async def export(self, target: Path, kind: str, attributes: list[str] | None, details: bool) -> None:
        """Write labels; an existing file was asked about."""
        collection = self._state.collection
        if collection is None:
            return
        loop = asyncio.get_running_loop()

        def tell(fraction: float, text: str) -> None:
            loop.call_soon_threadsafe(self.activity_changed.emit, Activity(text or "Exporting…", fraction))

        try:
            report = await self.desk(
                lambda: collection.export_labels(
                    target, kind, attributes, details=details, overwrite=True, progress=tell
                )
            )
        finally:
            loop.call_soon(self.activity_changed.emit, Activity())
        self.said.emit(f"{report.labels:,} labels of {report.images:,} images written to {target.name}.")
        if report.problems:
            raise StudioError(f"{len(report.problems):,} images could not be copied.", report.problems[0])

    async def import_labels(
        self, found: ImportPreview, add_values: bool, add_attributes: bool, overwrite: bool
    ) -> None:
        """Do what the preview shows, as one step."""
        collection = self._state.collection
        if collection is None:
            return
        change = await self.desk(
            lambda: collection.import_labels(
                found, add_values=add_values, add_attributes=add_attributes, overwrite_person=overwrite
            )
        )
        await self.reload()
        self.said.emit(change.title)

    async def reload(self) -> None:
        """Read images, attributes and labels again."""
        collection = self._state.collection
        if collection is None:
            return
        known = await self.desk(lambda: read_known(collection, self._state.attribute_name))
        self._state.set_known(known)
        await self._find_titles()
        await self.arrange()
        await self.score()
