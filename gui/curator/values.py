"""The values of the attribute in work: key, name, number of images, how much is labelled."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from gui.curator.actions import MOST_KEYS
from gui.curator.state import CuratorState
from gui.widgets.elided_label import ElidedButton


class ValueList(QWidget):
    """A click on a value shows its scores (`value_wanted`, -1: none), on a count filters (`label_wanted`)."""

    value_wanted = Signal(int)
    label_wanted = Signal(int)

    def __init__(self, state: CuratorState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self.buttons: list[ElidedButton] = []
        self.counts: list[QToolButton] = []
        state.attribute_changed.connect(self._rebuild)
        state.labels_changed.connect(lambda _: self.show_counts())

    def _rebuild(self) -> None:
        while (item := self._column.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.buttons, self.counts = [], []
        attribute = self._state.attribute
        titles = [value.title for value in attribute.values] if attribute is not None else []
        for i, title in enumerate([*titles, "None of them", "No label"]):
            row = QWidget()
            line = QHBoxLayout(row)
            line.setContentsMargins(0, 0, 0, 0)
            line.setSpacing(6)
            is_value = i < len(titles)
            key = QLabel(str(i + 1) if is_value and i < MOST_KEYS else "0" if i == len(titles) else "")
            key.setFixedWidth(16)
            key.setProperty("role", "muted")
            key.setAlignment(Qt.AlignmentFlag.AlignCenter)
            button = ElidedButton(title)
            button.setProperty("chip", True)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setCheckable(is_value)
            button.setEnabled(is_value)
            button.setAccessibleName(f"Scores of {title}")
            button.setToolTip(f"Order and measure by the scores of {title}" if is_value else title)
            button.clicked.connect(lambda on, i=i: self.value_wanted.emit(i if on else -1))
            count = QToolButton()
            count.setProperty("plain", True)
            count.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            wanted = i if is_value else -2 if i == len(titles) else -3
            count.setToolTip("Show only these")
            count.clicked.connect(lambda _=False, wanted=wanted: self.label_wanted.emit(wanted))
            line.addWidget(key)
            line.addWidget(button, 0)
            line.addStretch(1)
            line.addWidget(count)
            self._column.addWidget(row)
            self.buttons.append(button)
            self.counts.append(count)
        self.show_counts()

    def show_counts(self) -> None:
        """Numbers of images as they are now."""
        known = self._state.known
        if known is None or len(self.counts) != len(known.labels.attribute.values) + 2:
            return
        labels = known.labels
        numbers = [*labels.counts().tolist()]
        numbers.append(int(np.count_nonzero((labels.value < 0) & labels.settled)))
        numbers.append(int(np.count_nonzero(labels.source == 0)))
        for count, number in zip(self.counts, numbers, strict=True):
            count.setText(f"{number:,}")
        for i, button in enumerate(self.buttons):
            button.setChecked(button.isCheckable() and i == self._state.arrangement.value)
