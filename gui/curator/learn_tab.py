"""The panel's page of learning: what corrections teach, its proposals, and how good the labels are."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from core.annotate.precision import Estimate, ValueEstimate, estimates
from gui.curator.label_tab import heading
from gui.curator.learner import Learner
from gui.curator.state import CuratorState
from gui.widgets.labels import muted_label


class Audit(QWidget):
    """How many of a value's labels are right, and a button to check some more of them."""

    check_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = heading("")
        self.button = QPushButton("Check some")
        self.button.setProperty("flat", True)
        self.button.setToolTip("Show some unchecked labels, picked at random, to accept or correct")
        self.button.clicked.connect(self.check_wanted)
        self.words = muted_label()
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.words)

    def show_estimate(self, found: ValueEstimate) -> None:
        """Tell."""
        self.title.setText(found.title)
        self.button.setAccessibleName(f"Check some of {found.title}")
        self.button.setEnabled(found.proposed > 0)
        self.words.setText(_sentence(found.estimate, found.proposed))


class LearnTab(QWidget):
    """`review_wanted` shows the proposals in the grid, `apply_wanted` makes labels of them, `check_wanted`
    shows labels of a value to check."""

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
        self.precision = muted_label("Apply a rule, then accept or correct its labels: each is a check.")
        self.audits: list[Audit] = []
        self._rows = QVBoxLayout()
        self._rows.setSpacing(10)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 14)
        column.setSpacing(9)
        column.addWidget(heading("Learned from your corrections"))
        for widget in (self.status, self.review, self.apply):
            column.addWidget(widget)
        column.addSpacing(8)
        column.addWidget(heading("How many labels are right"))
        column.addWidget(self.precision)
        column.addLayout(self._rows)
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
        self._show_precision()

    def _show_precision(self) -> None:
        known = self._state.known
        found = estimates(known.labels) if known is not None else []
        if not any(one.proposed or one.estimate.checked for one in found):
            found = []
        self.precision.setVisible(not found)
        for value in range(len(self.audits), len(found)):
            audit = Audit()
            audit.check_wanted.connect(lambda value=value: self.check_wanted.emit(value))
            self.audits.append(audit)
            self._rows.addWidget(audit)
        for audit, one in zip(self.audits, found, strict=False):
            audit.show_estimate(one)
        for i, audit in enumerate(self.audits):
            audit.setVisible(i < len(found))


def _sentence(known: Estimate, proposed: int) -> str:
    if known.checked:
        count = known.checks_to_halve
        more = "1 more check halves" if count == 1 else f"{count:,} more checks halve"
        return (
            f"{known.correct:,} of {known.checked:,} checked are right: {known.low:.0%} to {known.high:.0%}. "
            f"{more} that interval."
        )
    return f"None of {proposed:,} checked yet." if proposed else "CLIP labelled none."
