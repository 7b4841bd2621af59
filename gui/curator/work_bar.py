"""What goes on with the folder, how far it is, and a button to stop it or to go on."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QPushButton, QWidget

from gui.curator.jobs import Work
from gui.widgets.elided_label import ElidedLabel


class WorkBar(QFrame):
    """Over the grid, while there is something to tell."""

    stop_wanted = Signal()
    go_on_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("workBar")
        self.text = ElidedLabel()
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setRange(0, 1000)
        self.progress.setMinimumWidth(120)
        self.progress.setMaximumWidth(260)
        self.progress.setAccessibleName("Progress")
        self.button = QPushButton("Stop")
        self.button.setProperty("flat", True)
        self.button.clicked.connect(self._clicked)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 5, 8, 5)
        row.setSpacing(12)
        row.addWidget(self.text, 1)
        row.addWidget(self.progress)
        row.addWidget(self.button)
        self._work = Work()
        self.hide()

    def show_work(self, work: Work) -> None:
        """Tell."""
        self._work = work
        self.text.setText(work.text)
        self.progress.setVisible(work.fraction is not None)
        if work.fraction is not None:
            self.progress.setValue(round(1000 * work.fraction))
        self.button.setText("Stop" if work.state == "running" else "Go on")
        self.setVisible(bool(work.state))

    def _clicked(self) -> None:
        (self.stop_wanted if self._work.state == "running" else self.go_on_wanted).emit()
