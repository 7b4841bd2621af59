"""The panel at the right: pages for labelling, prompts, learning and quality."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollArea, QTabWidget, QVBoxLayout, QWidget

from gui.curator.label_tab import LabelTab
from gui.curator.learn_tab import LearnTab
from gui.curator.learner import Learner
from gui.curator.prompts_tab import PromptsTab
from gui.curator.quality_tab import QualityTab
from gui.curator.session import CuratorSession
from gui.curator.state import CuratorState
from gui.theme import Theme


class Panel(QWidget):
    """Pages; each is made of its own module."""

    def __init__(
        self, state: CuratorState, session: CuratorSession, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.label = LabelTab(state, theme)
        self.prompts = PromptsTab(state)
        self.learner = Learner(state, session, self)
        self.learn = LearnTab(state, self.learner)
        self.quality = QualityTab(state)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setUsesScrollButtons(False)
        self._add(self.label, "Label")
        self._add(self.prompts, "Prompts")
        self._add(self.learn, "Learn")
        self._add(self.quality, "Quality")
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 0, 0, 0)
        column.addWidget(self.tabs)

    def _add(self, page: QWidget, title: str) -> None:
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        page.setObjectName("panelBody")
        page.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        scroll.setWidget(page)
        self.tabs.addTab(scroll, title)
