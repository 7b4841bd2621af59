"""What was opened lately, as links one below the other; hidden while there is nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

SHOWN = 4
TEXT_WIDTH = 320


class RecentList(QWidget):
    """Files or folders; `wanted` has the path of one that was clicked."""

    wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = QLabel("Recent")
        title.setProperty("role", "muted")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._links = QVBoxLayout()
        self._links.setSpacing(2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(title)
        column.addLayout(self._links)
        self.hide()

    def show_paths(self, paths: Iterable[Path]) -> None:
        """Offer these, at most four."""
        while (item := self._links.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        shown = list(paths)[:SHOWN]
        for path in shown:
            link = QPushButton()
            link.setText(link.fontMetrics().elidedText(path.name, Qt.TextElideMode.ElideMiddle, TEXT_WIDTH))
            link.setProperty("flat", True)
            link.setToolTip(str(path))
            link.setAccessibleName(f"Open {path.name}")
            link.clicked.connect(lambda _=False, path=path: self.wanted.emit(path))
            self._links.addWidget(link, 0, Qt.AlignmentFlag.AlignHCenter)
        self.setVisible(bool(shown))
