"""The panel's page of quality: progress, balance, confusion, conflicts, duplicates that disagree."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from core.annotate.quality import Disagreement, balance, confusion
from core.collection.journal import images_in_words
from gui.curator.label_tab import heading
from gui.curator.state import CuratorState
from gui.widgets.labels import muted_label


class QualityTab(QWidget):
    """`conflicts_wanted` and `images_wanted(positions)` show images in the grid."""

    conflicts_wanted = Signal()
    duplicates_wanted = Signal()
    images_wanted = Signal(object)

    def __init__(self, state: CuratorState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._found: np.ndarray = np.zeros(0, np.int64)
        self.progress, self.agreement, self.conflicts, self.duplicates = (muted_label() for _ in range(4))
        self.table = QGridLayout()
        self.table.setHorizontalSpacing(10)
        self.table.setVerticalSpacing(4)
        self.show_conflicts = QPushButton("Show conflicts")
        self.show_conflicts.clicked.connect(self.conflicts_wanted)
        self.search = QPushButton("Find duplicates")
        self.search.setToolTip("Images that are the same, or look alike, with different labels")
        self.search.clicked.connect(self.duplicates_wanted)
        self.show_found = QPushButton("Show them")
        self.show_found.clicked.connect(lambda: self.images_wanted.emit(self._found))
        self.show_found.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 14)
        column.setSpacing(8)
        for part in (
            heading("Progress and balance"), self.progress,
            heading("CLIP and people"), self.agreement, self.table,
            heading("Conflicts"), self.conflicts, self.show_conflicts,
            heading("Duplicates"), self.duplicates, self.search, self.show_found,
        ):  # fmt: skip
            if isinstance(part, QGridLayout):
                column.addLayout(part)
            else:
                column.addWidget(part)
        column.addStretch(1)
        for signal in (state.labels_changed, state.preview_changed, state.scores_changed):
            signal.connect(self._changed)
        state.attribute_changed.connect(self._forget)

    def _forget(self) -> None:
        self.duplicates.setText("")
        self.show_found.hide()

    def _changed(self, *_: object) -> None:
        if self.isVisible():
            self.show_all()

    def showEvent(self, event: object) -> None:
        """Up to date when it is seen."""
        super().showEvent(event)  # type: ignore[arg-type]
        self.show_all()

    def show_all(self) -> None:
        """All parts."""
        known = self._state.known
        if known is None:
            return
        found = balance(known.labels)
        words = (
            f"{found.progress:.0%} of {found.images:,} images are labelled, "
            f"{found.by_people + found.none_of_them:,} by people."
        )
        if np.isfinite(found.imbalance):
            words += f" The commonest value has {found.imbalance:.1f} times as many as the rarest."
        elif np.isinf(found.imbalance):
            empty = [
                v.title
                for v, n in zip(known.labels.attribute.values, found.counts.sum(axis=1), strict=True)
                if not n
            ]
            words += f" Without images: {', '.join(empty)}."
        self.progress.setText(words)
        proposed = known.scores.best if known.scores is not None else None
        compared = confusion(known.labels, proposed)
        self._show_table(compared.counts if compared.total else None)
        self.agreement.setText(
            f"They agree on {compared.agreement:.0%} of {compared.total:,} images. Rows are CLIP's best "
            "value, columns yours."
            if compared.total
            else "Label some images: then it is seen where CLIP errs."
        )
        conflicts = int(known.assignment.conflicts.sum()) if known.assignment is not None else 0
        self.conflicts.setText(f"{images_in_words(conflicts)} claimed by several values under the rule.")
        self.show_conflicts.setEnabled(conflicts > 0)

    def _show_table(self, counts: np.ndarray | None) -> None:
        while (item := self.table.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        attribute = self._state.attribute
        if counts is None or attribute is None or len(attribute.values) > 8:
            return
        titles = [value.title for value in attribute.values]
        for c, title in enumerate([*titles, "None"]):
            cell = self._cell(title if len(title) <= 6 else f"{title[:5]}…", True)
            cell.setToolTip(title)
            self.table.addWidget(cell, 0, c + 1)
        for r, title in enumerate(titles):
            self.table.addWidget(self._cell(title, True, left=True), r + 1, 0)
            for c in range(len(titles) + 1):
                self.table.addWidget(self._cell(f"{counts[r, c]:,}", c == r), r + 1, c + 1)

    @staticmethod
    def _cell(text: str, strong: bool, left: bool = False) -> QLabel:
        label = QLabel(text)
        label.setProperty("role", "title" if strong else "muted")
        label.setAlignment(Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight)
        return label

    def show_duplicates(self, groups: int, found: list[Disagreement]) -> None:
        """What the search found."""
        known = self._state.known
        words = f"{groups:,} groups of images look alike; {len(found):,} of them have different labels."
        self.duplicates.setText(words)
        self.show_found.setVisible(bool(found))
        if known is not None and found:
            positions = known.images.positions(np.concatenate([group.ids for group in found]))
            self._found = positions[positions >= 0]
