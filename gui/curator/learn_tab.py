"""The panel's page of learning: what corrections teach, its proposals, and how good the labels are."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from core.annotate.precision import estimates
from gui.curator.label_tab import heading
from gui.curator.learner import Learner
from gui.curator.state import CuratorState
from gui.widgets.labels import muted_label


class LearnTab(QWidget):
    """`review_wanted` shows the proposals in the grid, `apply_wanted` makes labels of them."""

    review_wanted = Signal()
    apply_wanted = Signal()
    check_wanted = Signal(int)

    def __init__(self, state: CuratorState, learner: Learner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state, self._learner = state, learner
        self.status = muted_label()
        self.review = QPushButton("Look at the proposals")
        self.review.setToolTip("Show the images for which it proposes another label")
        self.review.clicked.connect(self.review_wanted)
        self.apply = QPushButton("Take over those shown")
        self.apply.setToolTip("Label the images in the grid as proposed: one step to undo")
        self.apply.clicked.connect(self.apply_wanted)
        self.precision = muted_label()
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 14)
        column.setSpacing(9)
        column.addWidget(heading("Learned from your corrections"))
        for widget in (self.status, self.review, self.apply):
            column.addWidget(widget)
        column.addSpacing(8)
        column.addWidget(heading("How many labels are right"))
        column.addWidget(self.precision)
        column.addStretch(1)
        for signal in (state.labels_changed, state.learned_changed, state.shown_changed):
            signal.connect(self._changed)
        learner.changed.connect(self._changed)

    def _changed(self, *_: object) -> None:
        if self.isVisible():
            self.show_all()

    def showEvent(self, event: object) -> None:
        """Up to date when it is seen."""
        super().showEvent(event)  # type: ignore[arg-type]
        self.show_all()

    def show_all(self) -> None:
        """Both parts."""
        probe, proposals = self._learner.probe, self._learner.proposals
        words = self._learner.missing
        if probe is not None and proposals is not None:
            accuracy = probe.accuracy
            words = (
                f"From {probe.count:,} labels. It would be right on {accuracy.share:.0%} of images like "
                f"them ({accuracy.low:.0%} to {accuracy.high:.0%}, cross-validated). "
                f"It proposes another label for {int(proposals.differs.sum()):,} images."
            )
            if probe.left_out:
                words += f" Too few labels: {', '.join(probe.left_out)}."
        self.status.setText(words or "It learns in the background as soon as there are enough labels.")
        self.review.setEnabled(proposals is not None and bool(proposals.differs.any()))
        shown = self._state.shown
        can = proposals is not None and len(shown) > 0 and bool(proposals.differs[shown].any())
        self.apply.setEnabled(can)
        self.precision.setText(self._precision())

    def _precision(self) -> str:
        known = self._state.known
        if known is None:
            return ""
        lines = []
        for found in estimates(known.labels):
            e = found.estimate
            if e.checked:
                lines.append(
                    f"{found.title}: {e.correct:,} of {e.checked:,} checked are right "
                    f"({e.low:.0%} to {e.high:.0%}). {e.checks_to_halve:,} more checks halve that interval."
                )
            elif found.proposed:
                lines.append(f"{found.title}: none of {found.proposed:,} checked yet.")
        return "\n".join(lines) or "Apply a rule, then accept or correct its labels: each counts as a check."
