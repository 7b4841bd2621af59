"""One attribute in the panel: its title, what the photo shows, its values, and the strength of a change."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSpinBox, QToolButton, QVBoxLayout, QWidget

from core.attributes import Attribute
from core.recipe import Swap
from gui.theme import Theme
from gui.widgets import icons
from gui.widgets.elided_label import ElidedLabel
from gui.widgets.labels import restyle
from gui.widgets.numbers import give_room
from gui.widgets.strength_slider import LARGEST, StrengthSlider
from gui.widgets.value_choice import ValueChoice


class AttributeRow(QFrame):
    """Shows a swap of one attribute, and says what a person wants changed."""

    value_wanted = Signal(str, object)
    strength_wanted = Signal(str, float)
    gesture_ended = Signal()

    def __init__(self, attribute: Attribute, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attribute")
        self.attribute = attribute
        self._theme = theme
        self._titles = {value.name: value.title for value in attribute.values}
        self._seen: Mapping[str, float] | None = {}
        name = attribute.title
        self.title = ElidedLabel(name)
        self.title.setProperty("role", "title")
        self.detected = ElidedLabel("", align=Qt.AlignmentFlag.AlignRight)
        self.detected.setProperty("role", "muted")
        font = self.detected.font()
        font.setPointSizeF(font.pointSizeF() * 0.9)
        self.detected.setFont(font)
        self.reset = QToolButton()
        self.reset.setProperty("plain", True)
        self.reset.setToolTip(f"Leave {name.lower()} as in the photo")
        self.reset.setAccessibleName(f"Reset {name.lower()}")
        self.reset.clicked.connect(lambda: self.value_wanted.emit(attribute.name, None))
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset.setSizePolicy(policy)
        self.values = ValueChoice(name, [(v.name, v.title) for v in attribute.values], "As in the photo")
        self.values.chosen.connect(lambda value: self.value_wanted.emit(attribute.name, value))
        self._make_strength(name)

        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self.title, 3)
        head.addWidget(self.detected, 2)
        head.addWidget(self.reset)
        column = QVBoxLayout(self)
        column.setContentsMargins(13, 9, 10, 11)
        column.setSpacing(7)
        column.addLayout(head)
        column.addWidget(self.values)
        column.addWidget(self.strength)
        theme.changed.connect(self._colour)
        self._colour()
        self.show_swap(None)

    def _make_strength(self, name: str) -> None:
        self.strength = QWidget()
        self.slider = StrengthSlider()
        self.slider.setAccessibleName(f"Strength of {name.lower()}")
        self.slider.setToolTip("Strength: arrows for fine steps, a double click for 100 %")
        self.slider.valueChanged.connect(self._strength_changed)
        self.slider.sliderReleased.connect(self.gesture_ended)
        self.number = QSpinBox()
        give_room(self.number)
        self.number.setRange(0, LARGEST)
        self.number.setSuffix(" %")
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.number.setAccessibleName(f"Strength of {name.lower()} in per cent")
        self.number.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.number.setKeyboardTracking(False)
        self.number.setFixedWidth(self.number.fontMetrics().horizontalAdvance("150 %") + 22)
        self.number.valueChanged.connect(self._strength_changed)
        self.number.editingFinished.connect(self.gesture_ended)
        row = QHBoxLayout(self.strength)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)

    def _strength_changed(self, value: int) -> None:
        self._show_strength(value)
        self.strength_wanted.emit(self.attribute.name, value / 100)

    def _show_strength(self, value: int) -> None:
        for widget in (self.slider, self.number):
            if widget.value() != value:
                blocked = widget.blockSignals(True)
                widget.setValue(value)
                widget.blockSignals(blocked)

    def show_swap(self, swap: Swap | None) -> None:
        """Show the swap of this attribute, or that there is none."""
        changed = swap is not None
        self.values.show_choice(swap.value if swap is not None else None)
        # a widget that goes away while it has the focus would send it to the far end of the window
        if not changed and self._has_focus_below():
            self.values.tab_widgets()[0].setFocus()
        self.strength.setVisible(changed)
        self.reset.setVisible(changed)
        if swap is not None:
            self._show_strength(round(swap.strength * 100))
        if self.property("changed") != changed:
            self.setProperty("changed", changed)
            restyle(self)

    def _has_focus_below(self) -> bool:
        return self.slider.hasFocus() or self.number.hasFocus() or self.reset.hasFocus()

    def show_detected(self, probabilities: Mapping[str, float] | None) -> None:
        """Show what the model sees in the photo: a probability for each value; None while it looks."""
        if probabilities is self._seen:  # every move of a slider comes by here
            return
        self._seen = probabilities
        if not probabilities:
            self.detected.setText("…" if probabilities is None else "")
            self.detected.set_tip("")
            self.values.show_detected(None, {})
            return
        best = max(probabilities, key=lambda value: probabilities[value])
        tips = {v: f"{self._titles.get(v, v)}: {_percent(p)} in the photo" for v, p in probabilities.items()}
        self.detected.setText(f"{self._titles.get(best, best)} {_percent(probabilities[best])}")
        order = sorted(probabilities, key=lambda value: -probabilities[value])
        lines = (f"{self._titles.get(v, v)} {_percent(probabilities[v])}" for v in order)
        self.detected.set_tip("Seen in the photo:\n" + "\n".join(lines))
        self.values.show_detected(best, tips)

    def tab_widgets(self) -> list[QWidget]:
        """What the Tab key visits, in order."""
        return [*self.values.tab_widgets(), self.slider, self.number, self.reset]

    def _colour(self) -> None:
        self.reset.setIcon(icons.icon("reset", self._theme.tokens.muted))


def _percent(probability: float) -> str:
    if probability >= 0.995:
        return "> 99 %"
    if probability < 0.005:
        return "< 1 %"
    return f"{probability * 100:.0f} %"
