"""The chosen run: what it does now, its curves, samples, log and result."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QTabWidget, QVBoxLayout, QWidget

from core.jobs import RunInfo
from gui.theme import Theme
from gui.trainer import words
from gui.trainer.banner import FailureBanner
from gui.trainer.curves_tab import CurvesTab
from gui.trainer.log_tab import LogTab
from gui.trainer.result_tab import ResultTab, folder_name
from gui.trainer.samples_tab import SamplesTab
from gui.trainer.state import TrainerState
from gui.widgets.elided_label import ElidedLabel
from gui.widgets.labels import muted_label, restyle

FACTS = ("Stage", "Step", "Images a second", "Time left", "Memory")


class RunPage(QWidget):
    """`slow_wanted` asks for what the result tab shows and takes reading many files."""

    slow_wanted = Signal()

    def __init__(self, state: TrainerState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("trainPage")
        self._state = state
        self.title = ElidedLabel()
        self.title.setProperty("role", "heading")
        self.subtitle = ElidedLabel()
        self.subtitle.setProperty("role", "muted")
        self.chip = QLabel()
        self.chip.setObjectName("stateChip")
        self.facts: dict[str, ElidedLabel] = {}
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName("How far the run is")
        self.banner = FailureBanner(theme)
        self.notes = muted_label()
        self.curves, self.samples = CurvesTab(theme), SamplesTab(theme)
        self.log, self.result = LogTab(), ResultTab()
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for title, tab in (
            ("Curves", self.curves),
            ("Samples", self.samples),
            ("Log", self.log),
            ("Result and settings", self.result),
        ):
            tab.setObjectName("trainPage")
            tab.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
            self.tabs.addTab(tab, title)
        self.tabs.currentChanged.connect(self._tab_changed)
        self._lay_out()
        state.chosen_changed.connect(self._forget)
        state.events_came.connect(self._add_events)
        state.looked.connect(self.show_run)
        state.plots_ready.connect(self.curves.make_plot)

    def _lay_out(self) -> None:
        names = QVBoxLayout()
        names.setSpacing(2)
        names.addWidget(self.title)
        names.addWidget(self.subtitle)
        top = QHBoxLayout()
        top.addLayout(names, 1)
        top.addWidget(self.chip, 0, Qt.AlignmentFlag.AlignTop)
        facts = QHBoxLayout()
        facts.setSpacing(0)
        for name in FACTS:
            cell = QFrame()
            column = QVBoxLayout(cell)
            column.setContentsMargins(0, 0, 12, 0)
            column.setSpacing(1)
            caption = QLabel(name)
            caption.setProperty("role", "muted")
            self.facts[name] = ElidedLabel("–")
            self.facts[name].setProperty("role", "title")
            self.facts[name].setAccessibleName(name)
            column.addWidget(caption)
            column.addWidget(self.facts[name])
            facts.addWidget(cell, 3 if name == "Stage" else 2)
        head = QWidget()
        head.setObjectName("trainHead")
        column = QVBoxLayout(head)
        column.setContentsMargins(18, 14, 18, 14)
        column.setSpacing(10)
        column.addLayout(top)
        column.addLayout(facts)
        column.addWidget(self.progress)
        column.addWidget(self.notes)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(head)
        whole.addWidget(self.banner)
        whole.addWidget(self.tabs, 1)

    def show_run(self) -> None:
        """The chosen run as it was at the last look."""
        info = self._state.info
        if info is None:
            return
        self.title.setText(info.title)
        self.subtitle.setText(_subtitle(info))
        self._show_chip(info)
        stage = words.stage(info.stage) if info.stage else "–"
        self._say("Stage", stage)
        self._say("Step", f"{info.done:,} of {info.total:,}" if info.total else "–")
        self._say("Images a second", f"{info.images_per_second:.1f}" if info.images_per_second else "–")
        left = info.seconds_left if info.state == "training" else None
        self._say("Time left", words.duration(left))
        self._say("Memory", words.size(info.memory) if info.memory else "–")
        share = words.fraction(info)
        self.progress.setRange(0, 0 if share is None else 1000)
        if share is not None:
            self.progress.setValue(round(share * 1000))
        self.progress.setVisible(info.state != "finished")
        self.notes.setText(" ".join(info.notes))
        self.notes.setVisible(bool(info.notes))
        self.banner.show_error(info.error if info.state == "failed" else None)
        self.samples.show_samples(self._state.samples)
        self.result.show_run(info, self._state.titles)

    def _say(self, name: str, text: str) -> None:
        if self.facts[name].text() != text:
            self.facts[name].setText(text)

    def _show_chip(self, info: RunInfo) -> None:
        text = words.state(info)
        kind = "bad" if info.state == "failed" else "good" if info.state == "finished" else "busy"
        kind = "idle" if info.state in ("paused", "queued") else kind
        if (self.chip.text(), self.chip.property("kind")) != (text, kind):
            self.chip.setText(text)
            self.chip.setProperty("kind", kind)
            restyle(self.chip)

    def _forget(self) -> None:
        self.log.clear()
        self.curves.forget()
        self.samples.show_samples(())
        self.result.show_slow(0, "", {})
        self.show_run()
        self.curves.show_run(self._state.curves, {})
        if self.tabs.currentWidget() is self.result:
            self.slow_wanted.emit()

    def _add_events(self, events: tuple, first: bool) -> None:
        if first:
            self.log.clear()
        self.log.add(events)
        if first or any(event.kind in ("step", "evaluation") for event in events):
            self.curves.show_run(self._state.curves, self._state.titles)

    def _tab_changed(self, _index: int) -> None:
        if self.tabs.currentWidget() is self.result:
            self.slow_wanted.emit()


def _subtitle(info: RunInfo) -> str:
    spec = info.spec
    parts = [f"fine-tunes {folder_name(spec.base)}" if spec.base else "from scratch"]
    parts.append(f"on {folder_name(spec.data)}")
    if info.images:
        parts.append(f"{info.images:,} images")
    parts.append(f"device {info.device or ', '.join(spec.devices)}")
    text = " · ".join(parts)
    return text[0].upper() + text[1:]
