"""The grid of tiles: a list view that wraps, with its own arithmetic for movement and selection."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QWidget

from gui.curator.delegate import TileDelegate
from gui.curator.model import ImageModel
from gui.curator.state import CuratorState
from gui.curator.thumbnails import Thumbnails
from gui.theme import Theme

SIDES = (72, 96, 120, 140, 168, 200, 248, 320)
NOTHING = "No image is like that.\nChoose “All images” at “Show”, and “As anything, or not” at “Labelled”."
AHEAD = 2  # screens of thumbnails that are fetched beyond what is seen


class Grid(QListView):
    """`moved` tells that another image is current; `large_wanted` that it was double-clicked."""

    moved = Signal()
    large_wanted = Signal()
    painted = Signal()
    zoomed = Signal(int)

    def __init__(
        self, state: CuratorState, thumbnails: Thumbnails, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._state, self._thumbnails, self._theme = state, thumbnails, theme
        self.setObjectName("grid")
        self.setAccessibleName("Images")
        # a list that wraps, not Qt's icon mode, whose layout takes seconds for 100,000 items
        self.setViewMode(QListView.ViewMode.ListMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSelectionRectVisible(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setDragEnabled(False)
        self.delegate = TileDelegate(theme, self)
        self.setItemDelegate(self.delegate)
        self.images = ImageModel(state, thumbnails, self)
        self._kept: tuple[np.ndarray, int] = (np.zeros(0, np.int64), -1)
        self.images.modelAboutToBeReset.connect(self._remember)
        self.setModel(self.images)
        self.images.modelReset.connect(self._recall)
        self._want = QTimer(self)
        self._want.setSingleShot(True)
        self._want.setInterval(15)
        self._want.timeout.connect(self._want_seen)
        self._fetch = QTimer(self)  # once a person has let go of the window's edge
        self._fetch.setSingleShot(True)
        self._fetch.setInterval(150)
        self._fetch.timeout.connect(self._fetch_sharp)
        self.verticalScrollBar().valueChanged.connect(lambda _: self._start_wanting())
        self.doubleClicked.connect(lambda _: self.large_wanted.emit())
        theme.changed.connect(self.viewport().update)
        self.set_side(self.delegate.side)

    # tiles

    def set_side(self, side: int) -> None:
        """How large tiles are at least, in logical pixels: they grow to fill the width."""
        self.side = side
        self._fill_width()
        self._fetch_sharp()
        self.scroll_to_current()
        self._start_wanting()

    def zoom(self, step: int) -> None:
        """The next larger or smaller size."""
        nearest = min(range(len(SIDES)), key=lambda i: abs(SIDES[i] - self.side))
        side = SIDES[min(len(SIDES) - 1, max(0, nearest + step))]
        if side != self.side:
            self.set_side(side)
            self.zoomed.emit(side)

    def _fill_width(self) -> None:
        """As many columns of tiles as there is room for, and nothing left beside them."""
        # what Qt lays tiles out in: always without the style's own bar, and a pixel less
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent, None, self.verticalScrollBar())
        room = self.maximumViewportSize().width() - bar - 1
        self.delegate.side = self.side
        least = self.delegate.tile_size().width()
        self.delegate.side += max(0, room // max(1, room // least) - least)
        if self.gridSize() != self.delegate.tile_size():
            self.setGridSize(self.delegate.tile_size())
            self.verticalScrollBar().setSingleStep(self.gridSize().height() // 3)
            self._fetch.start()

    def _fetch_sharp(self) -> None:
        """Thumbnails of exactly the tiles' size; until then those there are stretched."""
        self._fetch.stop()
        self._thumbnails.set_side(round(self.delegate.side * self.devicePixelRatioF()))
        self._start_wanting()

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return max(1, self.viewport().width() // max(1, self.gridSize().width()))

    def seen(self) -> tuple[int, int]:
        """The first row (of the model) that is seen, and the one after the last."""
        height, columns = max(1, self.gridSize().height()), self.columns
        top = self.verticalScrollBar().value()
        first = top // height * columns
        last = ((top + self.viewport().height()) // height + 1) * columns
        return min(first, len(self._state.shown)), min(last, len(self._state.shown))

    def _start_wanting(self) -> None:
        if not self._want.isActive():
            self._want.start()

    def _want_seen(self) -> None:
        known = self._state.known
        if known is None or not self.isVisible():
            return
        first, last = self.seen()
        count = max(1, last - first)
        rows = [*range(first, last)]
        rows += [*range(last, min(len(self._state.shown), last + AHEAD * count))]
        rows += [*range(max(0, first - count), first)][::-1]
        images, digest = known.images, known.images.digest
        positions = self._state.shown[rows].tolist()
        self._thumbnails.want(
            [(int(images.ids[p]), images.paths[p], digest[p].tobytes().hex()) for p in positions]
        )

    # where a person is

    @property
    def position(self) -> int:
        """The current image's position in the collection, -1 for none."""
        row = self.currentIndex().row()
        return int(self._state.shown[row]) if 0 <= row < len(self._state.shown) else -1

    def selected_rows(self) -> np.ndarray:
        """(K,) rows, rising; the current one where nothing is selected."""
        chosen = self.selectionModel().selection()
        ranges = [(chosen.at(i).top(), chosen.at(i).bottom()) for i in range(chosen.count())]
        if ranges:
            return np.unique(np.concatenate([np.arange(a, b + 1) for a, b in ranges]))
        row = self.currentIndex().row()
        return np.array([row] if row >= 0 else [], np.int64)

    def selected(self) -> np.ndarray:
        """(K,) positions in the collection."""
        return self._state.shown[self.selected_rows()]

    def go_to(self, row: int) -> None:
        """Make a row the current and only selected one."""
        row = max(0, min(len(self._state.shown) - 1, row))
        if len(self._state.shown):
            self.setCurrentIndex(self.images.index(row))
            self.scroll_to_current()

    def go_on(self) -> None:
        """To the image after the selected ones."""
        rows = self.selected_rows()
        if len(rows):
            self.go_to(int(rows[-1]) + 1)

    def scroll_to_current(self) -> None:
        """Show the current tile."""
        if self.currentIndex().isValid():
            self.scrollTo(self.currentIndex())

    def _remember(self) -> None:
        """The selection by images, before rows become others. The state has the new rows already."""
        rows = self.selected_rows()
        old = self._shown_before
        ids = old[rows[rows < len(old)]] if len(old) else np.zeros(0, np.int64)
        row = self.currentIndex().row()
        self._kept = (ids, int(old[row]) if 0 <= row < len(old) else -1)
        if row <= 0 and len(ids) <= 1:  # at the beginning: there a person stays
            self._kept = (np.zeros(0, np.int64), -1)

    _shown_before = np.zeros(0, np.int64)

    def _recall(self) -> None:
        self._shown_before = self._state.shown
        kept, current = self._kept
        count = self._state.count
        if len(kept) and len(kept) <= 20_000 and kept.max() < count:
            rows = self.images.rows_of(kept)
            selection = QItemSelection()
            if len(rows):
                starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
                for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
                    a, b = int(rows[start]), int(rows[end - 1])
                    selection.select(self.images.index(a), self.images.index(b))
            place = self.images.rows_of(np.array([current] if 0 <= current < count else [], np.int64))
            if len(place):
                self.selectionModel().setCurrentIndex(
                    self.images.index(int(place[0])), QItemSelectionModel.SelectionFlag.NoUpdate
                )
            self.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if not self.currentIndex().isValid() and len(self._state.shown):
            self.setCurrentIndex(self.images.index(0))
        if self.currentIndex().row() == 0:
            self.scrollToTop()
        self.scroll_to_current()
        self._start_wanting()
        self.moved.emit()

    # Qt

    def currentChanged(
        self, current: QModelIndex | QPersistentModelIndex, previous: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Tell."""
        super().currentChanged(current, previous)
        self.moved.emit()

    def dataChanged(
        self,
        _first: QModelIndex | QPersistentModelIndex,
        _last: QModelIndex | QPersistentModelIndex,
        _roles: object = (),
    ) -> None:
        """Paint again what is seen; Qt would lay out all items anew, though tiles never change their size."""
        self.viewport().update()

    def moveCursor(
        self, action: QAbstractItemView.CursorAction, _modifiers: Qt.KeyboardModifier
    ) -> QModelIndex:
        """By arithmetic: tiles are a regular grid."""
        move = QAbstractItemView.CursorAction
        row, last = self.currentIndex().row(), len(self._state.shown) - 1
        page = max(1, self.viewport().height() // max(1, self.gridSize().height())) * self.columns
        steps = {
            move.MoveLeft: -1, move.MovePrevious: -1, move.MoveRight: 1, move.MoveNext: 1,
            move.MoveUp: -self.columns, move.MoveDown: self.columns,
            move.MovePageUp: -page, move.MovePageDown: page,
        }  # fmt: skip
        if action == move.MoveHome:
            row = 0
        elif action == move.MoveEnd:
            row = last
        elif 0 <= row + steps.get(action, 0) <= last:
            row += steps.get(action, 0)
        elif action in (move.MovePageUp, move.MovePageDown):
            row = 0 if action == move.MovePageUp else last
        return self.images.index(max(0, row))

    def keyboardSearch(self, _search: str) -> None:
        """Letters are keys of actions."""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """The focus comes along, so that keys label."""
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        super().mousePressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """With Ctrl tiles become larger or smaller."""
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            if event.angleDelta().y():
                self.zoom(1 if event.angleDelta().y() > 0 else -1)
            event.accept()
        else:
            super().wheelEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Other tiles, and more of them, may be seen."""
        super().resizeEvent(event)
        self._fill_width()
        self._start_wanting()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint, or say why there is nothing; `painted` is for measurements."""
        super().paintEvent(event)
        if self._state.known is not None and not len(self._state.shown):
            painter = QPainter(self.viewport())
            painter.setPen(QColor(self._theme.tokens.muted))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, NOTHING)
        self.painted.emit()
