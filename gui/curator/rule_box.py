"""The rule that makes labels of scores: choose it, see what it would do, apply it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from core.annotate import BalancedTopK, Margin, Rule, Threshold, TopK, default_k
from gui.curator.state import CuratorState
from gui.widgets.labels import muted_label
from gui.widgets.numbers import give_room

RULES = (
    ("topk", "Best of each value (top K)"),
    ("balanced", "Best, equally many of each"),
    ("threshold", "Score over a threshold"),
    ("margin", "Margin to the runner-up"),
)
MARGIN = 0.02


class RuleBox(QWidget):
    """`rule_wanted` with another rule, `apply_wanted` when it is to be done."""

    rule_wanted = Signal(object)
    apply_wanted = Signal()

    def __init__(self, state: CuratorState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.kind = QComboBox()
        self.kind.setAccessibleName("Rule")
        for name, title in RULES:
            self.kind.addItem(title, name)
        self.kind.activated.connect(lambda _: self._chosen())
        self.k = QSpinBox()
        give_room(self.k)
        self.k.setRange(1, 10_000_000)
        self.k.setGroupSeparatorShown(True)
        self.k.setKeyboardTracking(True)
        self.k.setAccessibleName("Images of each value")
        self.k.valueChanged.connect(lambda _: self._chosen())
        self.margin = QDoubleSpinBox()
        give_room(self.margin)
        self.margin.setDecimals(3)
        self.margin.setSingleStep(0.005)
        self.margin.setRange(0, 2)
        self.margin.setValue(MARGIN)
        self.margin.setAccessibleName("Margin")
        self.margin.valueChanged.connect(lambda _: self._chosen())
        self.words = muted_label()
        self.apply = QPushButton("Apply the rule")
        self.apply.setProperty("primary", True)
        self.apply.clicked.connect(self.apply_wanted)
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.addRow(self.kind)
        self._form.addRow("Images of each", self.k)
        self._form.addRow("Margin", self.margin)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(self._form)
        column.addWidget(self.words)
        column.addWidget(self.apply)
        for signal in (state.attribute_changed, state.scores_changed, state.preview_changed):
            signal.connect(self.show_rule)
        self.show_rule()

    def _chosen(self) -> None:
        rules: dict[str, Rule] = {
            "topk": TopK(self.k.value()),
            "balanced": BalancedTopK(self.k.value()),
            "threshold": Threshold(self._thresholds()),
            "margin": Margin(self.margin.value()),
        }
        self.rule_wanted.emit(rules[self.kind.currentData()])
        self.show_rule()

    def _thresholds(self) -> dict[str, float]:
        rule = self._state.rule
        return dict(rule.scores) if isinstance(rule, Threshold) else {}

    def set_threshold(self, value: str, score: float) -> None:
        """A threshold that was dragged: the rule is one of thresholds from now on."""
        self.rule_wanted.emit(Threshold({**self._thresholds(), value: round(score, 5)}))
        self.show_rule()

    def show_rule(self) -> None:
        """The rule and what it would do."""
        state, rule = self._state, self._state.rule
        name = {TopK: "topk", BalancedTopK: "balanced", Threshold: "threshold", Margin: "margin"}[type(rule)]
        for widget in (self.kind, self.k, self.margin):
            widget.blockSignals(True)
        self.kind.setCurrentIndex([n for n, _ in RULES].index(name))
        if isinstance(rule, TopK | BalancedTopK):
            values = len(state.attribute.values) if state.attribute is not None else 2
            self.k.setValue(rule.k or max(1, default_k(state.count, values)))
        elif isinstance(rule, Margin):
            self.margin.setValue(rule.margin)
        for widget in (self.kind, self.k, self.margin):
            widget.blockSignals(False)
        self._form.setRowVisible(self.k, isinstance(rule, TopK | BalancedTopK))
        self._form.setRowVisible(self.margin, isinstance(rule, Margin))
        self.words.setText(self._preview())
        self.apply.setEnabled(state.preview is not None and self._scored())

    def _scored(self) -> bool:
        return self._state.known is not None and self._state.known.scores is not None

    def _preview(self) -> str:
        found, attribute = self._state.preview, self._state.attribute
        if not self._scored():
            return "CLIP has not looked at the images yet."
        if found is None or attribute is None or len(found.counts) != len(attribute.values):
            if isinstance(self._state.rule, Threshold):
                return "Choose a value above and drag its threshold."
            return "This rule doesn't fit the attribute."
        counts = ", ".join(f"{n:,} {v.title}" for n, v in zip(found.counts, attribute.values, strict=True))
        words = f"Would label: {counts}."
        if found.conflicts:
            one = found.conflicts == 1
            words += f" {found.conflicts:,} conflict{' gets' if one else 's get'} no label."
        if found.skipped:
            words += f" {found.skipped:,} that you settled {'stays' if found.skipped == 1 else 'stay'}."
        return words
