"""Choose one of a few named values, or none: chips that wrap, or a list where there are many."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from gui.widgets.elided_label import ElidedButton
from gui.widgets.flow_layout import FlowLayout
from gui.widgets.labels import restyle

MOST_CHIPS = 8
STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Up: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Down: 1}


class ValueChoice(QWidget):
    """`chosen` is emitted with a value's name, or None, when a person chooses; never by `show_choice`."""

    chosen = Signal(object)

    def __init__(
        self, title: str, values: Sequence[tuple[str, str]], nothing: str, parent: QWidget | None = None
    ) -> None:
        """`values` are names and titles; `nothing` is what the list calls no choice."""
        super().__init__(parent)
        self.setAccessibleName(title)
        self._names = [name for name, _ in values]
        self._titles = dict(values)
        self._chips: list[ElidedButton] = []
        self._list: QComboBox | None = None
        if len(values) > MOST_CHIPS:
            self._make_list(title, nothing)
        else:
            self._make_chips(title)

    def _make_chips(self, title: str) -> None:
        row = FlowLayout(self)
        for name in self._names:
            chip = ElidedButton(self._titles[name], self)
            chip.setCheckable(True)
            chip.setProperty("chip", True)
            chip.setAccessibleName(f"{title}: {self._titles[name]}")
            chip.installEventFilter(self)
            # `clicked` comes only from a person; a second click takes the choice back
            chip.clicked.connect(lambda on, name=name: self._choose(name if on else None))
            self._chips.append(chip)
            row.addWidget(chip)
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._set_tab_stop(0)

    def _make_list(self, title: str, nothing: str) -> None:
        box = QComboBox()
        box.setAccessibleName(title)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        box.addItem(nothing, None)
        for name in self._names:
            box.addItem(self._titles[name], name)
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        box.installEventFilter(self)
        box.activated.connect(lambda index: self.chosen.emit(box.itemData(index)))
        row = QVBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(box)
        self._list = box

    def _choose(self, name: str | None) -> None:
        self.show_choice(name)
        self.chosen.emit(name)

    def show_choice(self, name: str | None) -> None:
        """Show `name` as chosen, without a signal."""
        if self._list is not None:
            self._list.setCurrentIndex(self._names.index(name) + 1 if name in self._names else 0)
            return
        for chip, own in zip(self._chips, self._names, strict=True):
            chip.setChecked(own == name)
        self._set_tab_stop(self._names.index(name) if name in self._names else 0)

    def show_detected(self, name: str | None, tips: dict[str, str]) -> None:
        """Mark the value that the photo has, and give each value a tooltip."""
        if self._list is not None:
            for i, own in enumerate(self._names):
                self._list.setItemData(i + 1, tips.get(own, ""), Qt.ItemDataRole.ToolTipRole)
            return
        for chip, own in zip(self._chips, self._names, strict=True):
            chip.setToolTip(tips.get(own, self._titles[own]))
            if chip.property("detected") != (own == name):
                chip.setProperty("detected", own == name)
                restyle(chip)

    def tab_widgets(self) -> list[QWidget]:
        """What the Tab key visits, in order."""
        return [self._list] if self._list is not None else list(self._chips)

    def _set_tab_stop(self, index: int) -> None:
        """Tab stops at one chip of the row; arrows go on from there."""
        for i, chip in enumerate(self._chips):
            chip.setFocusPolicy(Qt.FocusPolicy.StrongFocus if i == index else Qt.FocusPolicy.ClickFocus)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Arrows move between chips; the wheel over a list scrolls the panel."""
        if event.type() == QEvent.Type.Wheel and watched is self._list:
            event.ignore()
            return True
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and watched in self._chips:
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._chips[self._chips.index(watched)].click()
                return True
            step = STEPS.get(Qt.Key(event.key()))
            if step is not None and not event.modifiers():
                index = (self._chips.index(watched) + step) % len(self._chips)
                self._set_tab_stop(index)
                self._chips[index].setFocus(Qt.FocusReason.TabFocusReason)
                return True
        return super().eventFilter(watched, event)
