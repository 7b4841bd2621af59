"""Samples of a run: a grid of fixed images by swaps, with a slider through its history."""

from __future__ import annotations

from itertools import groupby

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QScrollArea, QSlider, QVBoxLayout, QWidget

from core.jobs import Sample
from gui.theme import Theme
from gui.trainer import words

HEAD, LEAST_TILE, MOST_TILE = 40, 60, 112


class SampleGrid(QWidget):
    """One sample, with the names of its columns above it."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.sample: Sample | None = None
        self.image = QImage()
        self._tile = LEAST_TILE
        theme.changed.connect(self.update)

    def show_sample(self, sample: Sample | None, image: QImage) -> None:
        """Show a sample's picture."""
        self.sample, self.image = sample, image
        self.updateGeometry()
        self.update()

    def fit(self, width: int) -> None:
        """Be as wide as `width`, as far as tiles can be."""
        columns = len(self.sample.columns) if self.sample is not None else 1
        self._tile = min(MOST_TILE, max(LEAST_TILE, width // max(1, columns)))
        self.setFixedSize(self.sizeHint())

    def sizeHint(self) -> QSize:
        """All tiles and the names."""
        if self.sample is None:
            return QSize(1, 1)
        return QSize(self._tile * len(self.sample.columns), HEAD + self._tile * self.sample.rows)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Names of attributes over those of values over pictures."""
        if self.sample is None or self.image.isNull():
            return
        tokens, tile = self._theme.tokens, self._tile
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        rows, columns = self.sample.rows, self.sample.columns
        painter.drawImage(QRectF(0, HEAD, tile * len(columns), tile * rows), self.image)
        small = QFont(self.font())
        small.setPointSizeF(max(6.5, small.pointSizeF() * 0.85))
        painter.setFont(small)
        metrics = painter.fontMetrics()
        place = 0
        for attribute, group in groupby(columns, key=lambda c: c.get("attribute", "")):
            titles = [column.get("title", "") for column in group]
            width = tile * len(titles)
            if attribute:
                painter.setPen(QColor(tokens.text))
                name = titles[0].split(": ")[0]
                text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, width - 6)
                painter.drawText(QRectF(place * tile + 3, 0, width - 6, 18), Qt.AlignmentFlag.AlignLeft, text)
                painter.setPen(QColor(tokens.border))
                if place:
                    painter.drawLine(place * tile, 2, place * tile, HEAD - 2)
            painter.setPen(QColor(tokens.muted))
            for title in titles:
                text = metrics.elidedText(title.split(": ")[-1], Qt.TextElideMode.ElideRight, tile - 5)
                area = QRectF(place * tile + 3, 19, tile - 5, 18)
                painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
                place += 1
        painter.end()


class SamplesTab(QWidget):
    """The newest sample until a person goes back; from then on the one that was chosen."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.samples: tuple[Sample, ...] = ()
        self.grid = SampleGrid(theme)
        self.area = QScrollArea()
        self.area.setWidget(self.grid)
        self.area.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Samples, the oldest at the left")
        self.slider.setPageStep(1)
        self.slider.valueChanged.connect(self._show)
        self.caption = QLabel()
        self.caption.setMinimumWidth(250)
        self._empty = QLabel("Samples are made while the run trains.\n“Sample now” asks for one at once.")
        self._empty.setProperty("role", "muted")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._bar = QWidget()
        row = QHBoxLayout(self._bar)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.caption)
        row.addWidget(self.slider, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 10)
        column.setSpacing(8)
        column.addWidget(self._bar)
        column.addWidget(self.area, 1)
        column.addWidget(self._empty, 1)
        self.show_samples(())

    def show_samples(self, samples: tuple[Sample, ...]) -> None:
        """The samples of a run, the oldest first."""
        if samples == self.samples and samples:
            return
        at_end = self.slider.value() == self.slider.maximum() or not self.samples
        self.samples = samples
        for widget in (self._bar, self.area):
            widget.setVisible(bool(samples))
        self._empty.setVisible(not samples)
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(samples) - 1))
        if at_end:
            self.slider.setValue(self.slider.maximum())
        self.slider.blockSignals(False)
        self.slider.setEnabled(len(samples) > 1)
        self._show()

    def _show(self, *_: object) -> None:
        if not self.samples:
            self.grid.show_sample(None, QImage())
            return
        sample = self.samples[min(self.slider.value(), len(self.samples) - 1)]
        self.grid.show_sample(sample, QImage(str(sample.path)))
        self.grid.fit(self.area.viewport().width())
        images = "held-out images" if sample.held_out else "training images"
        self.caption.setText(f"{words.stage(sample.stage)}, step {sample.step:,} · {images}")
        self.grid.setAccessibleName(self.caption.text())

    def resizeEvent(self, event: object) -> None:
        """The grid is as wide as there is room."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        self.grid.fit(self.area.viewport().width())
