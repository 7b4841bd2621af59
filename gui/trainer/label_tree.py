"""How many labels there are of each value, with a tick for each attribute that is to be learned."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from core.jobs.checks import FEW, GOOD, LabelCounts
from gui.theme import Theme

NAME = Qt.ItemDataRole.UserRole


class LabelTree(QTreeWidget):
    """`changed` is emitted when a person ticks or unticks an attribute."""

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._table: LabelCounts | None = None
        self.setAccessibleName("Labels of each value")
        self.setColumnCount(3)
        self.setHeaderLabels(["Attribute and value", "Labels", "Missing"])
        self.setMinimumHeight(120)
        head = self.header()
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        head.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        head.setStretchLastSection(False)
        self.itemChanged.connect(lambda *_: self.changed.emit())

    def forget(self) -> None:
        """Other data come: all of their attributes are chosen."""
        self._table = None
        self.blockSignals(True)
        self.clear()
        self.blockSignals(False)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the ticked attributes; empty for all."""
        ticked = self._ticked()
        return () if len(ticked) == self.topLevelItemCount() else tuple(ticked)

    def _ticked(self) -> list[str]:
        items = (self.topLevelItem(i) for i in range(self.topLevelItemCount()))
        return [i.data(0, NAME) for i in items if i and i.checkState(0) == Qt.CheckState.Checked]

    @property
    def nothing_chosen(self) -> bool:
        """Whether a person has unticked all attributes."""
        return self.topLevelItemCount() > 0 and not self._ticked()

    def show_counts(self, table: LabelCounts) -> None:
        """Show the labels of all attributes; ticks stay."""
        if table == self._table:
            return
        self._table = table
        unticked = set()
        for i in range(self.topLevelItemCount()):
            item = self.topLevelItem(i)
            if item is not None and item.checkState(0) == Qt.CheckState.Unchecked:
                unticked.add(item.data(0, NAME))
        tokens = self._theme.tokens
        self.blockSignals(True)
        self.clear()
        for attribute in table.attributes:
            counts = table.counts[attribute.name]
            missing = table.missing[attribute.name]
            item = QTreeWidgetItem([attribute.title, f"{sum(counts):,}", f"{missing:,}" if missing else "–"])
            item.setData(0, NAME, attribute.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            state = Qt.CheckState.Unchecked if attribute.name in unticked else Qt.CheckState.Checked
            item.setCheckState(0, state)
            for value, count in zip(attribute.values, counts, strict=True):
                says = "none" if not count else "too few" if count < FEW else "few" if count < GOOD else ""
                child = QTreeWidgetItem([value.title, f"{count:,}", says])
                for column in (1, 2):
                    child.setTextAlignment(column, Qt.AlignmentFlag.AlignRight)
                if count < FEW:
                    colour = QColor(tokens.warning if count else tokens.danger)
                    for column in range(3):
                        child.setForeground(column, QBrush(colour))
                item.addChild(child)
            self.addTopLevelItem(item)
            item.setExpanded(len(table.attributes.attributes) <= 4 or min(counts, default=0) < FEW)
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight)
        self.blockSignals(False)
