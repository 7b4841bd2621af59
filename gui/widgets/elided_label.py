"""Text that ends in an ellipsis where it doesn't fit, with all of it as the tooltip."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QToolButton, QWidget


class ElidedLabel(QLabel):
    """A one-line label that may be narrower than its text."""

    def __init__(
        self,
        text: str = "",
        parent: QWidget | None = None,
        align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
    ) -> None:
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)
        self._tip = ""

    def setText(self, text: str) -> None:
        """Show `text`."""
        super().setText(text)
        self._update_tip()

    def set_tip(self, tip: str) -> None:
        """A tooltip to show instead of the whole text."""
        self._tip = tip
        self._update_tip()

    def minimumSizeHint(self) -> QSize:
        """Room for a few letters and the ellipsis."""
        wanted = min(super().sizeHint().width(), self.fontMetrics().horizontalAdvance("Mmm…"))
        return QSize(wanted, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show the tooltip only where text is missing."""
        super().resizeEvent(event)
        self._update_tip()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the text, shortened to the width."""
        painter = QPainter(self)
        rect = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, rect.width())
        self.style().drawItemText(
            painter,
            rect,
            int(self.alignment()),
            self.palette(),
            self.isEnabled(),
            text,
            QPalette.ColorRole.WindowText,
        )

    def _update_tip(self) -> None:
        cut = self.fontMetrics().horizontalAdvance(self.text()) > self.contentsRect().width()
        super().setToolTip(self._tip or (self.text() if cut else ""))


class ElidedButton(QToolButton):
    """A tool button whose text ends in an ellipsis where the button is too narrow for it."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.full = text
        self.setText(text)
        # may shrink: a fixed policy would make its size hint the smallest size
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        """Room for a few letters."""
        return QSize(min(self.sizeHint().width(), 56), self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Shorten the text to the new width."""
        super().resizeEvent(event)
        missing = self.sizeHint().width() - self.width()
        shown = self.full
        if missing > 0:
            metrics = self.fontMetrics()
            room = metrics.horizontalAdvance(self.full) - missing
            shown = metrics.elidedText(self.full, Qt.TextElideMode.ElideRight, room)
        if shown != self.text():
            self.setText(shown)

    def sizeHint(self) -> QSize:
        """The size that shows all of the text."""
        hint = super().sizeHint()
        extra = self.fontMetrics().horizontalAdvance(self.full) - self.fontMetrics().horizontalAdvance(
            self.text()
        )
        return QSize(hint.width() + extra, hint.height())
