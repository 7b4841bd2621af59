"""What the Curate workspace knows at a moment, and who is told when it changes. No input, no output."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from PySide6.QtCore import QObject, Signal

from core.annotate import Assignment, Preview, Rule, Scores, TopK
from core.attributes import Attribute, Value
from core.collection import Collection, LabelTable
from gui.curator.ordering import Arrangement, Known, proposals


class CuratorState(QObject):
    """The open collection, the attribute in work, and what the grid shows.

    `shown` (M,) int64: positions in `known.images` in the grid's order. `draft` is the attribute with prompts
    as they are being typed; scores belong to it.
    """

    collection_changed = Signal()  # another one, or none
    attribute_changed = Signal()  # another attribute, or its values
    labels_changed = Signal(object)  # (M,) positions whose label changed, None for any
    scores_changed = Signal()
    shown_changed = Signal()
    preview_changed = Signal()
    learned_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.collection: Collection | None = None
        self.attribute_name = ""
        self.draft: Attribute | None = None
        self.known: Known | None = None
        self.arrangement = Arrangement()
        self.shown = np.zeros(0, np.int64)
        self.rule: Rule = TopK()
        self.preview: Preview | None = None
        self.undo_title: str | None = None
        self.redo_title: str | None = None

    @property
    def attribute(self) -> Attribute | None:
        """The attribute as the collection has it."""
        return self.known.labels.attribute if self.known is not None else None

    @property
    def count(self) -> int:
        """Images of the collection."""
        return len(self.known.images) if self.known is not None else 0

    def set_collection(self, collection: Collection | None) -> None:
        """Another collection; what was known of the old one is forgotten."""
        self.collection, self.known, self.draft = collection, None, None
        self.attribute_name, self.arrangement, self.rule = "", Arrangement(), TopK()
        self.preview = self.undo_title = self.redo_title = None
        self.shown = np.zeros(0, np.int64)
        self.collection_changed.emit()

    def set_known(self, known: Known) -> None:
        """Images and labels anew; scores, conflicts and what was learned only if they come along."""
        before = self.attribute
        self.known = known
        same = before is not None and before.name == known.labels.attribute.name
        self.attribute_name = known.labels.attribute.name
        if not same:
            self.arrangement = replace(self.arrangement, value=-1, labelled=-1)
        if not same or before != known.labels.attribute:
            self.draft = known.labels.attribute
            self.attribute_changed.emit()
        self.labels_changed.emit(None)

    def set_labels(self, labels: LabelTable, positions: np.ndarray | None) -> None:
        """The labels anew; `positions` are those that changed, None for any."""
        if self.known is not None:
            self.known = replace(self.known, labels=labels)
            self.labels_changed.emit(positions)

    def foresee(self, positions: np.ndarray, value: np.ndarray | int, source: int) -> None:
        """Show a label that is being written."""
        assert self.known is not None
        old = self.known.labels
        values, sources = old.value.copy(), old.source.copy()
        values[positions], sources[positions] = value, source
        labels = replace(old, value=values, source=sources)
        self.set_labels(labels, positions)

    def set_scores(
        self, scores: Scores | None, assignment: Assignment | None, learned: np.ndarray | None
    ) -> None:
        """Scores of the draft."""
        if self.known is not None:
            self.known = replace(self.known, scores=scores, assignment=assignment, learned=learned)
            self.scores_changed.emit()

    def set_assignment(self, assignment: Assignment | None, preview: Preview | None) -> None:
        """What the rule would do."""
        if self.known is not None:
            self.known = replace(self.known, assignment=assignment)
            self.preview = preview
            self.preview_changed.emit()

    def set_learned(self, learned: np.ndarray | None) -> None:
        """What the probe says."""
        if self.known is not None:
            self.known = replace(self.known, learned=learned)
            self.learned_changed.emit()

    def set_shown(self, shown: np.ndarray) -> None:
        """The grid's images."""
        self.shown = shown
        self.shown_changed.emit()

    def set_draft_prompts(self, value: int, prompts: tuple[str, ...]) -> None:
        """Prompts as they are being typed."""
        if self.draft is not None:
            values: list[Value] = list(self.draft.values)
            values[value] = msgspec.structs.replace(values[value], prompts=prompts)
            self.draft = msgspec.structs.replace(self.draft, values=tuple(values))

    def proposals(self, positions: np.ndarray) -> np.ndarray:
        """(M,) int16: what Enter accepts for these images, -1 for nothing."""
        return proposals(self.known)[positions] if self.known is not None else np.zeros(0, np.int16)
