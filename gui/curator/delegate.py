"""Draws a tile: the picture, its label and where that came from, score and margin."""

from __future__ import annotations

import math

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from core.collection import IMPORT, PERSON
from gui.curator.model import SOURCE_WORDS, TILE, Tile
from gui.theme import Theme

GAP = 4
INSET = 6


class TileDelegate(QStyledItemDelegate):
    """`side` is the length of the picture's square in logical pixels."""

    def __init__(self, theme: Theme, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.side = 140
        self._fonts()

    def _fonts(self) -> None:
        self._label = QFont()
        self._label.setWeight(QFont.Weight.DemiBold)
        self._small = QFont()
        self._small.setPointSizeF(self._small.pointSizeF() * 0.87)
        self._label_metrics, self._small_metrics = QFontMetrics(self._label), QFontMetrics(self._small)
        self._line = self._label_metrics.height()
        self._small_line = self._small_metrics.height()

    def tile_size(self) -> QSize:
        """Of every tile, with its captions and the gap around it."""
        extra = 2 * (GAP + INSET)
        return QSize(self.side + extra, self.side + extra + 4 + self._line + self._small_line)

    def sizeHint(self, _option: QStyleOptionViewItem, _index: QModelIndex | QPersistentModelIndex) -> QSize:
        """The same for all."""
        return self.tile_size()

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Draw one tile."""
        tile = index.data(TILE)
        if not isinstance(tile, Tile):
            return
        tokens = self._theme.tokens
        state = option.state
        selected = bool(state & QStyle.StateFlag.State_Selected)
        current = bool(state & QStyle.StateFlag.State_HasFocus)
        frame = QRectF(option.rect).adjusted(GAP, GAP, -GAP, -GAP)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(
            QPen(QColor(tokens.accent if selected or current else tokens.border), 2 if selected else 1)
        )
        painter.setBrush(QColor(tokens.accent_soft if selected else tokens.surface))
        painter.drawRoundedRect(frame.adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        square = QRectF(frame.left() + INSET, frame.top() + INSET, self.side, self.side)
        self._picture(painter, square, tile)
        self._captions(painter, square, tile)
        painter.restore()

    def _picture(self, painter: QPainter, square: QRectF, tile: Tile) -> None:
        tokens = self._theme.tokens
        if tile.picture is None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.control_hover))
            painter.drawRoundedRect(square, 4, 4)
            if tile.broken:
                painter.setPen(QColor(tokens.muted))
                painter.setFont(self._small)
                painter.drawText(square, Qt.AlignmentFlag.AlignCenter, "No picture")
        else:
            ratio = painter.device().devicePixelRatioF()
            longer = max(tile.picture.width(), tile.picture.height())
            scale = min(1 / ratio, self.side / longer) if longer else 1
            width, height = tile.picture.width() * scale, tile.picture.height() * scale
            if longer * scale < self.side * 0.98:  # a small image fills its tile
                width, height = width * self.side / (longer * scale), height * self.side / (longer * scale)
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            centre = square.center()
            painter.drawImage(
                QRectF(centre.x() - width / 2, centre.y() - height / 2, width, height), tile.picture
            )
        if tile.conflict:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.danger))
            spot = QRectF(square.right() - 20, square.top() + 4, 16, 16)
            painter.drawEllipse(spot)
            painter.setPen(QColor(tokens.surface))
            painter.setFont(self._label)
            painter.drawText(spot, Qt.AlignmentFlag.AlignCenter, "!")

    def _captions(self, painter: QPainter, square: QRectF, tile: Tile) -> None:
        tokens = self._theme.tokens
        left, top, width = square.left(), square.bottom() + 4, square.width()
        source = SOURCE_WORDS[tile.source]
        room = width
        if source:
            painter.setFont(self._small)
            badge = self._small_metrics.horizontalAdvance(source) + 10
            if badge < width * 0.6:
                room = width - badge - 4
                spot = QRectF(left + width - badge, top + 1, badge, self._line - 2)
                own = tile.source == PERSON
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(tokens.accent if own else tokens.control_hover))
                painter.drawRoundedRect(spot, spot.height() / 2, spot.height() / 2)
                painter.setPen(QColor(tokens.on_accent if own else tokens.text))
                painter.drawText(spot, Qt.AlignmentFlag.AlignCenter, source)
        text = tile.label or (f"{tile.guess}?" if tile.guess else "No label")
        painter.setFont(self._label if tile.label else self._small)
        painter.setPen(QColor(tokens.text if tile.source >= IMPORT or tile.label else tokens.muted))
        metrics = self._label_metrics if tile.label else self._small_metrics
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, int(room))
        painter.drawText(QRectF(left, top, room, self._line), Qt.AlignmentFlag.AlignVCenter, shown)
        line = QRectF(left, top + self._line, width, self._small_line)
        painter.setFont(self._small)
        if tile.learned:
            painter.setPen(QColor(tokens.accent))
            shown = self._small_metrics.elidedText(
                f"Learned: {tile.learned}" if width >= 110 else tile.learned,
                Qt.TextElideMode.ElideMiddle,
                int(width),
            )
            painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, shown)
        elif math.isfinite(tile.score):
            words = f"{tile.score:.3f}"
            if math.isfinite(tile.margin):
                words += f"  Δ{tile.margin:.3f}" if width < 110 else f"   margin {tile.margin:.3f}"
            painter.setPen(QColor(tokens.muted))
            painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, words)
