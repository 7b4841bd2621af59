"""The grid's rows as Qt wants them: one for each shown image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QImage

from core.collection import CLIP, IMPORT, NONE, PERSON, PROBE
from gui.curator.ordering import shown_scores
from gui.curator.state import CuratorState
from gui.curator.thumbnails import Thumbnails

TILE = Qt.ItemDataRole.UserRole
SOURCE_WORDS = {NONE: "", CLIP: "CLIP", PROBE: "Learned", IMPORT: "Imported", PERSON: "You"}
NONE_OF_THEM = "None of them"


@dataclass(frozen=True)
class Tile:
    """What the delegate draws. `label` is empty where there is none; `guess` what Enter would accept.

    `learned` is what the probe proposes (“Old 93%”) where that is another value than label or guess.
    """

    picture: QImage | None
    broken: bool
    label: str
    guess: str
    learned: str
    source: int
    score: float
    margin: float
    conflict: bool


class ImageModel(QAbstractListModel):
    """Rows are the state's `shown` images."""

    def __init__(self, state: CuratorState, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state, self._thumbnails = state, thumbnails
        self._scores = np.zeros(0, np.float32)
        self._place = np.zeros(0, np.int64)  # row of each position, -1 where it isn't shown
        state.shown_changed.connect(self._reset)
        state.labels_changed.connect(self._labels_changed)
        state.scores_changed.connect(self._scores_changed)
        state.preview_changed.connect(self.repaint_all)
        state.learned_changed.connect(self.repaint_all)
        thumbnails.ready.connect(self.repaint_all)
        self._reset()

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex = QModelIndex()) -> int:  # noqa: B008
        """Images shown."""
        return 0 if parent.isValid() else len(self._state.shown)

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole):
        """The Tile, or its words for tooltips and screen readers."""
        row = index.row()
        known = self._state.known
        if known is None or not 0 <= row < len(self._state.shown):
            return None
        position = int(self._state.shown[row])
        if role == TILE:
            return self.tile(position)
        if role in (
            Qt.ItemDataRole.DisplayRole,
            Qt.ItemDataRole.AccessibleTextRole,
            Qt.ItemDataRole.ToolTipRole,
        ):
            tile = self.tile(position)
            words = [known.images.paths[position], tile.label or "No label"]
            if tile.source:
                words.append(SOURCE_WORDS[tile.source])
            if tile.learned:
                words.append(f"learned: {tile.learned}")
            return ", ".join(words)
        return None

    def tile(self, position: int) -> Tile:
        """What is known of the image at a position."""
        known = self._state.known
        assert known is not None
        labels, number = known.labels, int(known.images.ids[position])
        value, source = int(labels.value[position]), int(labels.source[position])
        values = labels.attribute.values
        label = values[value].title if value >= 0 else NONE_OF_THEM if source >= IMPORT else ""
        best = int(known.scores.best[position]) if known.scores is not None else -1
        return Tile(
            self._thumbnails.get(number),
            number in self._thumbnails.broken,
            label,
            values[best].title if 0 <= best < len(values) and value < 0 and source < IMPORT else "",
            self._learned(position, value if value >= 0 else best),
            source,
            float(self._scores[position]) if position < len(self._scores) else float("nan"),
            float(known.scores.margin[position]) if known.scores is not None else float("nan"),
            bool(known.assignment.conflicts[position]) if known.assignment is not None else False,
        )

    def _learned(self, position: int, said: int) -> str:
        """The probe's value and how sure it is, where that isn't the value `said` and nobody settled it."""
        known = self._state.known
        assert known is not None
        if known.learned is None or known.labels.settled[position] or position >= len(known.learned):
            return ""
        row = known.learned[position]
        if not np.isfinite(row).any() or int(np.nanargmax(row)) == said:
            return ""
        value = int(np.nanargmax(row))
        return f"{known.labels.attribute.values[value].title} {row[value]:.0%}"

    def rows_of(self, positions: np.ndarray) -> np.ndarray:
        """(K,) rows of those of `positions` that are shown, rising."""
        rows = self._place[np.asarray(positions, np.int64)]
        return np.sort(rows[rows >= 0])

    def repaint_all(self) -> None:
        """What is seen may look otherwise: Qt paints only what is seen."""
        if len(self._state.shown):
            self.dataChanged.emit(self.index(0), self.index(len(self._state.shown) - 1), [TILE])

    def _reset(self) -> None:
        self.beginResetModel()
        self._place = np.full(self._state.count, -1, np.int64)
        self._place[self._state.shown] = np.arange(len(self._state.shown))
        self._find_scores()
        self.endResetModel()

    def _find_scores(self) -> None:
        known = self._state.known
        if known is not None:
            self._scores = shown_scores(known, self._state.arrangement.value)

    def _labels_changed(self, positions: np.ndarray | None) -> None:
        if self._state.count != len(self._place):
            return  # other images: they are about to be arranged
        if positions is None or len(positions) > 500:
            self._find_scores()
            self.repaint_all()
            return
        for row in self.rows_of(positions).tolist():
            self.dataChanged.emit(self.index(row), self.index(row), [TILE])

    def _scores_changed(self) -> None:
        self._find_scores()
        self.repaint_all()
