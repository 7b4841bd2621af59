"""Learns from corrections in the background, a moment after the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from core.annotate import flow
from core.annotate.probe import Probe, Proposals, learn, propose, readiness
from core.worker import JobContext

if TYPE_CHECKING:
    from gui.curator.session import CuratorSession
    from gui.curator.state import CuratorState

DELAY = 1500  # ms after the last label
LEAST = 0.9  # how sure it must be to propose


class Learner(QObject):
    """`probe` and `proposals` of the attribute in work, None before; `missing` says why not."""

    changed = Signal()

    def __init__(self, state: CuratorState, session: CuratorSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state, self._session = state, session
        self.probe: Probe | None = None
        self.proposals: Proposals | None = None
        self.missing = ""
        self._learned_from: bytes | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY)
        self._timer.timeout.connect(lambda: session.start(self.learn()))
        state.labels_changed.connect(self._labels_changed)
        state.scores_changed.connect(self._labels_changed)
        state.attribute_changed.connect(self._forget)
        state.collection_changed.connect(self._forget)

    def stop(self) -> None:
        """Learn no more."""
        self._timer.stop()

    def _forget(self) -> None:
        self.probe = self.proposals = self._learned_from = None
        self.missing = ""
        self._timer.stop()
        self.changed.emit()

    def _labels_changed(self, *_: object) -> None:
        if self._state.known is not None and self._state.known.scores is not None:
            self._timer.start()

    async def learn(self) -> None:
        """Learn if people's labels are other than they were, and tell what it says of all images."""
        known, annotator, state = self._state.known, self._session.work.annotator, self._state
        if known is None or annotator is None or known.scores is None:
            return
        labels = flow.training_labels(known.labels)
        mark = labels.tobytes()
        if mark != self._learned_from:
            attribute = known.labels.attribute
            self.missing = readiness(np.where(known.scores.known, labels, -1), attribute)
            if self.missing:
                self._learned_from = mark
                self.probe = self.proposals = None
                self.changed.emit()
                return

            def job(_: JobContext) -> tuple[Probe, np.ndarray]:
                embeddings = annotator.scorer.embeddings
                rows = np.flatnonzero(labels >= 0)
                probe = learn(embeddings[rows].astype(np.float32), labels[rows], attribute)
                return probe, _probabilities(probe, embeddings)

            probe, learned = await self._session.machine(job)
            now = state.known
            if now is None or len(learned) != len(now.images) or now.labels.attribute != attribute:
                return
            self.probe, self._learned_from = probe, mark
            state.set_learned(learned)
        now = state.known
        if now is not None and now.learned is not None and self.probe is not None:
            self.proposals = propose(now.learned, now.labels.value, now.labels.settled, LEAST)
        self.changed.emit()


def _probabilities(probe: Probe, embeddings: np.ndarray) -> np.ndarray:
    """(N, V) by parts, so that float16 embeddings are never all copied."""
    size = 8192
    parts = [
        probe.probabilities(embeddings[at : at + size].astype(np.float32))
        for at in range(0, len(embeddings), size)
    ]
    return np.concatenate(parts)
