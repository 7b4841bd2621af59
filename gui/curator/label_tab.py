"""The panel's first page: attribute, values, what is shown in which order, histogram, rule."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from core.annotate import Threshold
from gui.curator.histogram import Histogram
from gui.curator.ordering import FILTERS, ORDERS, Arrangement
from gui.curator.rule_box import RuleBox
from gui.curator.state import CuratorState
from gui.curator.values import ValueList
from gui.theme import Theme
from gui.widgets.elided_label import ElidedLabel


def heading(text: str) -> QLabel:
    """A title within the panel."""
    label = QLabel(text)
    label.setProperty("role", "title")
    return label


class LabelTab(QWidget):
    """Emits what a person wants; shows what the state has."""

    attribute_wanted = Signal(str)
    arrangement_wanted = Signal(object)
    edit_wanted = Signal()

    def __init__(self, state: CuratorState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.attributes = QComboBox()
        self.attributes.setAccessibleName("Attribute")
        self.attributes.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.attributes.setMinimumContentsLength(8)
        self.attributes.activated.connect(
            lambda index: self.attribute_wanted.emit(self.attributes.itemData(index))
        )
        self.edit = QPushButton("Edit…")
        self.edit.setToolTip("Add, rename, merge or delete attributes and values")
        self.edit.clicked.connect(self.edit_wanted)
        self.values = ValueList(state)
        self.values.value_wanted.connect(lambda value: self._want(value=value))
        self.values.label_wanted.connect(self._label_wanted)
        self.show_box = self._box("Show", FILTERS)
        self.show_box.activated.connect(lambda i: self._want(show=self.show_box.itemData(i)))
        self.label_box = self._box("Labelled as", ())
        self.label_box.activated.connect(lambda i: self._want(labelled=self.label_box.itemData(i)))
        self.order_box = self._box("Order", tuple((name, title) for name, title, _ in ORDERS))
        self.order_box.activated.connect(lambda i: self._want(order=self.order_box.itemData(i)))
        self.reverse = QToolButton()
        self.reverse.setProperty("plain", True)
        self.reverse.setText("⇅")
        self.reverse.setCheckable(True)
        self.reverse.setToolTip("The other way round")
        self.reverse.setAccessibleName("Reverse the order")
        self.reverse.clicked.connect(lambda on: self._want(reverse=on))
        self.count = ElidedLabel()
        self.count.setProperty("role", "muted")
        self.histogram = Histogram(theme)
        self.histogram.threshold_moved.connect(self._threshold_moved)
        self.rule = RuleBox(state)
        self._lay_out()
        state.collection_changed.connect(self.show_all)
        state.attribute_changed.connect(self.show_all)
        state.shown_changed.connect(self.show_arrangement)
        for signal in (state.scores_changed, state.preview_changed):
            signal.connect(self.show_histogram)

    @staticmethod
    def _box(name: str, entries: tuple[tuple[str, str], ...]) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName(name)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        for key, title in entries:
            box.addItem(title, key)
        return box

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.attributes, 1)
        head.addWidget(self.edit)
        order = QHBoxLayout()
        order.addWidget(self.order_box, 1)
        order.addWidget(self.reverse)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(6)
        form.addRow("Show", self.show_box)
        form.addRow("Labelled", self.label_box)
        form.addRow("Order", order)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 14)
        column.setSpacing(9)
        column.addLayout(head)
        column.addWidget(self.values)
        column.addSpacing(4)
        column.addLayout(form)
        column.addWidget(self.count)
        self.scores_title = heading("Scores")
        column.addWidget(self.scores_title)
        column.addWidget(self.histogram)
        column.addWidget(heading("Label by a rule"))
        column.addWidget(self.rule)
        column.addStretch(1)
        self.setTabOrder(self.attributes, self.edit)

    def _want(self, **changes: object) -> None:
        self.arrangement_wanted.emit(replace(self._state.arrangement, **changes))  # type: ignore[arg-type]
        self.values.show_counts()
        self.show_histogram()

    def _label_wanted(self, label: int) -> None:
        now = self._state.arrangement
        if label == -3:  # no label at all
            show = "all" if now.show == "unlabelled" else "unlabelled"
            self._want(show=show, labelled=-1)
        else:
            show = "all" if now.show == "unlabelled" else now.show
            self._want(labelled=-1 if now.labelled == label else label, show=show)

    def show_all(self) -> None:
        """Everything anew."""
        state = self._state
        attributes = state.collection.attributes if state.collection is not None else ()
        self.attributes.clear()
        for attribute in attributes:
            self.attributes.addItem(attribute.title, attribute.name)
        self.attributes.setCurrentIndex(self.attributes.findData(state.attribute_name))
        self.label_box.clear()
        self.label_box.addItem("As anything, or not", -1)
        if state.attribute is not None:
            for i, value in enumerate(state.attribute.values):
                self.label_box.addItem(value.title, i)
            self.label_box.addItem("None of them", -2)
        self.show_arrangement()
        self.show_histogram()

    def show_arrangement(self) -> None:
        """What is shown, in which order, and how much that is."""
        now: Arrangement = self._state.arrangement
        self.show_box.setCurrentIndex(self.show_box.findData(now.show))
        self.label_box.setCurrentIndex(self.label_box.findData(now.labelled))
        self.order_box.setCurrentIndex(self.order_box.findData(now.order))
        self.reverse.setChecked(now.reverse)
        shown, count = len(self._state.shown), self._state.count
        self.count.setText(f"{shown:,} of {count:,} images" if shown != count else f"{count:,} images")
        self.values.show_counts()
        self.show_histogram()

    def show_histogram(self) -> None:
        """Scores of the chosen value."""
        state, value = self._state, self._state.arrangement.value
        known, attribute = state.known, state.attribute
        if known is None or known.scores is None or attribute is None:
            self.histogram.set_scores(None, None, "CLIP's scores are on their way.")
        elif value < 0:
            self.histogram.set_scores(None, None, "Choose a value above to see its scores.")
        else:
            rule = state.rule
            name = attribute.values[value].name
            threshold = rule.scores.get(name) if isinstance(rule, Threshold) else None
            if self.histogram.threshold is not None and threshold is not None:
                # what was dragged, without the rounding of the rule
                near = abs(self.histogram.threshold - threshold) < 1e-4
                threshold = self.histogram.threshold if near else threshold
            self.histogram.set_scores(known.scores.values[:, value], threshold)
        title = attribute.values[value].title if attribute is not None and value >= 0 else ""
        self.scores_title.setText(f"Scores of {title}" if title else "Scores")

    def _threshold_moved(self, score: float) -> None:
        attribute, value = self._state.attribute, self._state.arrangement.value
        if attribute is not None and value >= 0:
            self.rule.set_threshold(attribute.values[value].name, score)
