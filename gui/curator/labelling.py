"""What keys and menus do to labels: on the selection, or on all before or after the current image."""

from __future__ import annotations

import numpy as np

from core.collection import IMPORT
from core.collection.journal import images_in_words
from gui.curator.grid import Grid
from gui.curator.session import CuratorSession
from gui.curator.state import CuratorState

# share of the images with the smallest margins that count as uncertain
UNSURE = 0.1


class Labelling:
    """One step to undo for each call."""

    def __init__(self, state: CuratorState, session: CuratorSession, grid: Grid) -> None:
        self._state, self._session, self._grid = state, session, grid

    def set_value(self, value: int) -> None:
        """Give the selected images a value, -1 for none of them, and go on."""
        attribute = self._state.attribute
        if attribute is None or value >= len(attribute.values):
            return
        positions = self._grid.selected()
        if len(positions):
            self._session.label(positions, value)
            self._grid.go_on()

    def unset(self) -> None:
        """Remove the labels of the selected images."""
        positions = self._grid.selected()
        if len(positions):
            self._session.label(positions, -1, "none")
            self._grid.go_on()

    def accept(self) -> None:
        """Make the proposals for the selected images a person's labels, and go on."""
        self._accept(self._grid.selected(), "")
        self._grid.go_on()

    def reject(self) -> None:
        """Say that the proposals for the selected images are wrong, and go on."""
        self._reject(self._grid.selected(), "")
        self._grid.go_on()

    def accept_rows(self, above: bool) -> None:
        """Accept everything from the first image shown to the current one, or from that to the last."""
        positions = self._range(above)
        self._accept(positions, "above" if above else "below")

    def reject_rows(self, above: bool) -> None:
        """Reject everything from the first image shown to the current one, or from that to the last."""
        positions = self._range(above)
        self._reject(positions, "above" if above else "below")

    def _range(self, above: bool) -> np.ndarray:
        row = self._grid.currentIndex().row()
        if row < 0:
            return np.zeros(0, np.int64)
        shown = self._state.shown[: row + 1] if above else self._state.shown[row:]
        known = self._state.known
        assert known is not None
        return shown[known.labels.source[shown] < IMPORT]  # what a person settled stays

    def _accept(self, positions: np.ndarray, where: str) -> None:
        attribute = self._state.attribute
        if attribute is None or not len(positions):
            return
        known = self._state.known
        assert known is not None
        open_ones = positions[known.labels.source[positions] < IMPORT]
        values = self._state.proposals(open_ones)
        has = values >= 0
        if has.any():
            title = f"Accept {attribute.title} on {images_in_words(int(has.sum()))}"
            self._session.label(open_ones[has], values[has], title=f"{title} {where}".rstrip())

    def _reject(self, positions: np.ndarray, where: str) -> None:
        """With two values it is the other one, with more none is known: the image has none of them."""
        attribute = self._state.attribute
        if attribute is None or not len(positions):
            return
        proposed = self._state.proposals(positions)
        has = proposed >= 0
        positions, proposed = positions[has], proposed[has]
        if len(positions):
            values = 1 - proposed if len(attribute.values) == 2 else np.full(len(positions), -1, np.int16)
            title = f"Reject {attribute.title} on {images_in_words(len(positions))}"
            self._session.label(positions, values, title=f"{title} {where}".rstrip())

    def next_uncertain(self) -> bool:
        """Go to the next shown image that nobody settled and CLIP is unsure of; false if there is none."""
        known, shown = self._state.known, self._state.shown
        if known is None or known.scores is None or not len(shown):
            return False
        margin = known.scores.margin
        finite = margin[np.isfinite(margin)]
        if not len(finite):
            return False
        unsure = (margin <= np.quantile(finite, UNSURE)) & (known.labels.source < IMPORT)
        if known.assignment is not None:
            unsure |= known.assignment.conflicts & (known.labels.source < IMPORT)
        rows = np.flatnonzero(unsure[shown])
        later = rows[rows > self._grid.currentIndex().row()]
        if not len(rows):
            return False
        self._grid.go_to(int(later[0] if len(later) else rows[0]))
        return True
