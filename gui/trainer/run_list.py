"""The runs as a list: picture, title, state, how far, what came of it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPainterPath
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from core.jobs import RunInfo
from gui.theme import Theme
from gui.trainer import words

ROW, PICTURE, GAP = 76, 52, 12
INFO, IMAGE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
Index = QModelIndex | QPersistentModelIndex


class RunDelegate(QStyledItemDelegate):
    """Paints one run."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, _option: QStyleOptionViewItem, _index: Index) -> QSize:
        """All rows are alike."""
        return QSize(200, ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Picture at the left; title, state and progress beside it."""
        info: RunInfo | None = index.data(INFO)
        if info is None:
            return
        tokens = self._theme.tokens
        rect = QRectF(option.rect)
        state = option.state
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(Qt.PenStyle.NoPen)
        card = rect.adjusted(6, 3, -6, -3)
        if state & QStyle.StateFlag.State_Selected:
            painter.setBrush(QColor(tokens.accent_soft))
            painter.drawRoundedRect(card, 8, 8)
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(QColor(tokens.control_hover))
            painter.drawRoundedRect(card, 8, 8)
        if state & QStyle.StateFlag.State_HasFocus and state & QStyle.StateFlag.State_Selected:
            painter.setPen(QColor(tokens.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(card.adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        picture = QRectF(card.left() + 9, rect.center().y() - PICTURE / 2, PICTURE, PICTURE)
        self._draw_picture(painter, picture, index.data(IMAGE))
        left = picture.right() + GAP
        room = card.right() - 10 - left
        own = option.font
        bold = QFont(own)
        bold.setWeight(QFont.Weight.DemiBold)
        self._text(painter, QRectF(left, picture.top() - 1, room, 19), info.title, tokens.text, bold)
        small = QFont(own)
        small.setPointSizeF(max(7.0, small.pointSizeF() * 0.92))
        colour = tokens.danger if info.state == "failed" else tokens.muted
        text = words.state(info)
        if told := (words.result(info) or self._left(info)):
            text = f"{text} · {told}"
        self._text(painter, QRectF(left, picture.top() + 19, room, 17), text, colour, small)
        self._draw_progress(painter, QRectF(left, picture.bottom() - 7, room, 4), info)
        painter.restore()

    @staticmethod
    def _left(info: RunInfo) -> str:
        if info.state == "training" and info.seconds_left is not None:
            return f"{words.duration(info.seconds_left)} left"
        return ""

    @staticmethod
    def _text(painter: QPainter, rect: QRectF, text: str, colour: str, font: QFont) -> None:
        painter.setFont(font)
        painter.setPen(QColor(colour))
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(rect.width()))
        painter.drawText(rect, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)

    def _draw_picture(self, painter: QPainter, rect: QRectF, image: QImage | None) -> None:
        tokens = self._theme.tokens
        path = QPainterPath()
        path.addRoundedRect(rect, 6, 6)
        painter.fillPath(path, QColor(tokens.canvas))
        if image is not None and not image.isNull():
            painter.save()
            painter.setClipPath(path)
            painter.drawImage(rect, image)
            painter.restore()
        else:
            painter.setPen(QColor(tokens.muted))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, "–")

    def _draw_progress(self, painter: QPainter, rect: QRectF, info: RunInfo) -> None:
        if info.state == "finished":
            return
        tokens = self._theme.tokens
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.groove))
        painter.drawRoundedRect(rect, 2, 2)
        share = words.fraction(info)
        colour = {"failed": tokens.danger, "paused": tokens.muted, "queued": tokens.muted}.get(
            info.state, tokens.accent
        )
        painter.setBrush(QColor(colour))
        if share:
            painter.drawRoundedRect(QRectF(rect.left(), rect.top(), rect.width() * share, 4), 2, 2)


class RunList(QListWidget):
    """`run_chosen(folder)` is emitted when a person or the program chooses another run."""

    run_chosen = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("runList")
        self.setAccessibleName("Runs")
        self.setItemDelegate(RunDelegate(theme, self))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.setFrameShape(QListWidget.Shape.NoFrame)
        self.currentItemChanged.connect(self._chosen)
        theme.changed.connect(self.viewport().update)

    def show_runs(self, runs: tuple[RunInfo, ...], pictures: dict[Path, QImage]) -> None:
        """Show these, in their order; the choice stays."""
        folders = [info.folder for info in runs]
        if folders != [self.item(i).data(INFO).folder for i in range(self.count())]:
            kept = self.folder
            self.blockSignals(True)
            self.clear()
            for info in runs:
                item = QListWidgetItem()
                item.setData(INFO, info)
                self.addItem(item)
            self.blockSignals(False)
            if kept in folders:
                self.setCurrentRow(folders.index(kept))
        for row, info in enumerate(runs):
            item = self.item(row)
            item.setData(INFO, info)
            item.setData(IMAGE, pictures.get(info.folder))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{info.title}, {words.state(info)}")
            item.setToolTip(f"{info.title}\n{words.state(info)}\n{info.folder}")

    @property
    def folder(self) -> Path | None:
        """The chosen run's folder."""
        item = self.currentItem()
        return item.data(INFO).folder if item is not None else None

    def choose(self, folder: Path | None) -> None:
        """Choose a run."""
        for row in range(self.count()):
            if self.item(row).data(INFO).folder == folder:
                self.setCurrentRow(row)
                return
        self.setCurrentRow(-1)

    def _chosen(self, *_: object) -> None:
        self.run_chosen.emit(self.folder)
