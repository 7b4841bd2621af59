"""One image large, with the scores of every value and every prompt as bars."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QSizePolicy, QWidget

from gui.curator.model import NONE_OF_THEM, SOURCE_WORDS
from gui.curator.ordering import proposals
from gui.curator.state import CuratorState
from gui.curator.thumbnails import Thumbnails
from gui.theme import Theme

STEPS = {
    Qt.Key.Key_Left: -1, Qt.Key.Key_Up: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Down: 1,
    Qt.Key.Key_PageUp: -10, Qt.Key.Key_PageDown: 10,
}  # fmt: skip


class Picture(QWidget):
    """The image, as large as there is room, never stretched beyond three times its size."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.image: QImage | None = None
        self.title = ""
        self.setMinimumWidth(200)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The image on the canvas, its name below."""
        painter = QPainter(self)
        tokens = self._theme.tokens
        painter.fillRect(self.rect(), QColor(tokens.canvas))
        line = self.fontMetrics().height() + 10
        room = QRectF(self.rect()).adjusted(16, 16, -16, -line - 8)
        if self.image is not None and self.image.width():
            scale = min(room.width() / self.image.width(), room.height() / self.image.height(), 3)
            width, height = self.image.width() * scale, self.image.height() * scale
            centre = room.center()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(
                QRectF(centre.x() - width / 2, centre.y() - height / 2, width, height), self.image
            )
        painter.setPen(QColor(tokens.text))
        where = QRectF(12, self.height() - line, self.width() - 24, line - 4)
        text = self.fontMetrics().elidedText(self.title, Qt.TextElideMode.ElideMiddle, int(where.width()))
        painter.drawText(where, int(Qt.AlignmentFlag.AlignCenter), text)


class Bars(QWidget):
    """Scores as bars: a value with its prompts below it. Rows are (text, score, depth, marked)."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.rows: list[tuple[str, float, int, bool]] = []
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.MinimumExpanding)

    def set_rows(self, rows: list[tuple[str, float, int, bool]]) -> None:
        """Show these."""
        self.rows = rows
        self.updateGeometry()
        self.setMinimumHeight(self.sizeHint().height())
        self.setAccessibleDescription("; ".join(f"{text} {score:.3f}" for text, score, _, _ in rows))
        self.update()

    @property
    def _row(self) -> int:
        return self.fontMetrics().height() + 14

    def sizeHint(self) -> QSize:
        """All rows."""
        return QSize(300, 16 + self._row * max(1, len(self.rows)))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Texts, bars, numbers. Bars go from the lowest to the highest score of this image."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        tokens = self._theme.tokens
        if not self.rows:
            painter.setPen(QColor(tokens.muted))
            painter.drawText(self.rect().adjusted(12, 12, -12, -12), 0, "No scores yet")
            return
        finite = [score for _, score, _, _ in self.rows if math.isfinite(score)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        spread = max(high - low, 1e-6)
        metrics = self.fontMetrics()
        y = 8.0
        for text, score, depth, marked in self.rows:
            left = 12 + 14 * depth
            width = self.width() - left - 12
            number = f"{score:.3f}" if math.isfinite(score) else "–"
            room = width - metrics.horizontalAdvance("0.000 ") - 6
            painter.setPen(QColor(tokens.text if depth == 0 else tokens.muted))
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, int(room))
            painter.drawText(QRectF(left, y, room, metrics.height()), 0, shown)
            painter.drawText(
                QRectF(left, y, width, metrics.height()), int(Qt.AlignmentFlag.AlignRight), number
            )
            painter.setPen(Qt.PenStyle.NoPen)
            bar = QRectF(left, y + metrics.height() + 2, width, 6 if depth == 0 else 4)
            painter.setBrush(QColor(tokens.control_hover))
            painter.drawRoundedRect(bar, 2, 2)
            if math.isfinite(score):
                bar.setWidth(max(4.0, width * (0.06 + 0.94 * (score - low) / spread)))
                painter.setBrush(QColor(tokens.accent if marked else tokens.muted))
                painter.drawRoundedRect(bar, 2, 2)
            y += self._row


class LargeView(QWidget):
    """`step_wanted(n)` moves on by n images; `left` when a person goes back to the grid."""

    step_wanted = Signal(int)
    left = Signal()

    def __init__(
        self, state: CuratorState, thumbnails: Thumbnails, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._state, self._thumbnails = state, thumbnails
        self._position, self._number = -1, -1
        self.picture = Picture(theme)
        self.bars = Bars(theme)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setObjectName("panelBody")
        scroll.setWidget(self.bars)
        self.bars.setObjectName("panelBody")
        self.bars.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setFixedWidth(300)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.picture, 1)
        row.addWidget(scroll)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("One image")
        thumbnails.loaded.connect(self._loaded)
        for signal in (state.labels_changed, state.scores_changed, state.learned_changed):
            signal.connect(self._known_changed)

    def show_position(self, position: int) -> None:
        """Show the image at a position; its thumbnail until it is loaded."""
        known = self._state.known
        self._position = position
        if known is None or not 0 <= position < len(known.images):
            self.picture.image, self.picture.title = None, ""
            self.bars.set_rows([])
            self.picture.update()
            return
        number = int(known.images.ids[position])
        if number != self._number:
            self._number = number
            self.picture.image = self._thumbnails.get(number)
            side = round(max(self.picture.width(), self.picture.height(), 400) * self.devicePixelRatioF())
            self._thumbnails.want_large(number, known.images.paths[position], side)
        self._describe()

    def _loaded(self, number: int, image: QImage | None) -> None:
        if number == self._number and image is not None:
            self.picture.image = image
            self.picture.update()

    def _known_changed(self, *_: object) -> None:
        if self.isVisible():
            self._describe()

    def _describe(self) -> None:
        known, position = self._state.known, self._position
        if known is None or not 0 <= position < len(known.images):
            return
        labels = known.labels
        value, source = int(labels.value[position]), int(labels.source[position])
        titles = [v.title for v in labels.attribute.values]
        label = titles[value] if value >= 0 else NONE_OF_THEM if labels.settled[position] else "No label"
        by = f" ({SOURCE_WORDS[source]})" if source else ""
        name = PurePosixPath(known.images.paths[position]).name
        self.picture.title = f"{name}   ·   {labels.attribute.title}: {label}{by}"
        self.picture.update()
        scores = known.scores
        rows: list[tuple[str, float, int, bool]] = []
        if scores is not None and len(scores.attribute.values) == len(titles):
            marked = value if value >= 0 else int(proposals(known)[position])
            for i, title in enumerate(titles):
                text = title
                if known.learned is not None and math.isfinite(known.learned[position, i]):
                    text += f"  ·  learned {known.learned[position, i]:.0%}"
                rows.append((text, float(scores.values[position, i]), 0, i == marked))
                rows.extend(
                    (scores.texts[p], float(scores.prompts[position, p]), 1, i == marked)
                    for p in range(len(scores.texts))
                    if scores.owner[p] == i
                )
        self.bars.set_rows(rows)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move on, Escape goes back."""
        step = STEPS.get(Qt.Key(event.key()))
        if step is not None and not event.modifiers():
            self.step_wanted.emit(step)
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, _event: object) -> None:
        """Back to the grid."""
        self.left.emit()
