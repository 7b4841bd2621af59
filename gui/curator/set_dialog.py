"""Change attributes and values: add, rename, merge, delete. Labels are kept; everything can be undone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from core.attributes import Attribute, Value
from core.collection.edits import (
    AddAttribute,
    AddValue,
    DeleteAttribute,
    DeleteValue,
    Edit,
    MergeValues,
    RenameAttribute,
    RenameValue,
)
from gui.widgets import asking

if TYPE_CHECKING:
    from gui.curator.session import CuratorSession
    from gui.curator.state import CuratorState
    from gui.curator.view import CuratorView

ROLE = Qt.ItemDataRole.UserRole


def name_of(title: str, taken: set[str]) -> str:
    """A name for a title, unlike those taken."""
    plain = re.sub(r"\W+", "_", title.strip().lower()).strip("_") or "value"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


class SetDialog(QDialog):
    """The attributes as a tree; each button is one step that undo takes back."""

    def __init__(self, view: CuratorView, state: CuratorState, session: CuratorSession) -> None:
        super().__init__(view)
        self._state, self._session = state, session
        self.setWindowTitle("Attributes and values")
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["Name", "Images"])
        self.tree.setAllColumnsShowFocus(True)
        self.tree.header().setStretchLastSection(False)
        self.tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.tree.headerItem().setTextAlignment(1, Qt.AlignmentFlag.AlignRight)
        self.tree.setSelectionMode(QTreeWidget.SelectionMode.ExtendedSelection)
        self.tree.itemSelectionChanged.connect(self._enable)
        self.buttons: dict[str, QPushButton] = {}
        side = QVBoxLayout()
        for name, text, job in (
            ("add_attribute", "Add attribute…", self._add_attribute),
            ("add_value", "Add value…", self._add_value),
            ("rename", "Rename…", self._rename),
            ("merge", "Merge values", self._merge),
            ("delete", "Delete…", self._delete),
        ):
            button = QPushButton(text)
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, job=job: session.start(job()))
            self.buttons[name] = button
            side.addWidget(button)
        side.addStretch(1)
        self.buttons["merge"].setToolTip("Select several values of one attribute: all become the first")
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self.tree, 1)
        row.addLayout(side)
        closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        closing.rejected.connect(self.reject)
        closing.button(QDialogButtonBox.StandardButton.Close).setDefault(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 18, 20, 14)
        column.setSpacing(12)
        column.addWidget(QLabel("Labels are kept. Undo takes each change back."))
        column.addLayout(row, 1)
        column.addWidget(closing)
        self.resize(560, 460)
        state.attribute_changed.connect(self.show_set)
        self.show_set()

    def show_set(self) -> None:
        """The tree as the collection has it; what is selected stays so."""
        chosen, place = self._chosen(), self.tree.verticalScrollBar().value()
        self.tree.clear()
        collection = self._state.collection
        if collection is None:
            return
        for attribute in collection.attributes:
            counts = collection.labels(attribute.name).counts().tolist()
            item = QTreeWidgetItem(self.tree, [attribute.title, f"{sum(counts):,}"])
            item.setData(0, ROLE, (attribute.name, None))
            item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight)
            for value, count in zip(attribute.values, counts, strict=True):
                child = QTreeWidgetItem(item, [value.title, f"{count:,}"])
                child.setData(0, ROLE, (attribute.name, value.name))
                child.setTextAlignment(1, Qt.AlignmentFlag.AlignRight)
                child.setSelected((attribute.name, value.name) in chosen)
            item.setExpanded(True)
            item.setSelected((attribute.name, None) in chosen)
        self.tree.verticalScrollBar().setValue(place)
        self._enable()

    def _chosen(self) -> list[tuple[str, str | None]]:
        return [tuple(item.data(0, ROLE)) for item in self.tree.selectedItems()]

    def _enable(self) -> None:
        chosen = self._chosen()
        self.buttons["add_value"].setEnabled(len(chosen) == 1)
        self.buttons["rename"].setEnabled(len(chosen) == 1)
        self.buttons["delete"].setEnabled(len(chosen) == 1)
        same = len({attribute for attribute, _ in chosen}) == 1 and all(value for _, value in chosen)
        self.buttons["merge"].setEnabled(len(chosen) > 1 and same)

    async def _ask(self, title: str, label: str, text: str = "") -> str:
        dialog = QInputDialog(self)
        dialog.setWindowTitle(title)
        dialog.setLabelText(label)
        dialog.setTextValue(text)
        return dialog.textValue().strip() if await asking.finished(dialog) else ""

    async def _do(self, edit: Edit) -> None:
        await self._session.edit_attributes(edit)
        self.show_set()

    async def _add_attribute(self) -> None:
        title = await self._ask("Add an attribute", "What is it called?")
        words = await self._ask("Add an attribute", "Its values, with commas between") if title else ""
        titles = [word.strip() for word in words.split(",") if word.strip()]
        if not title or self._state.collection is None:
            return
        taken: set[str] = set()
        values = []
        for text in titles:
            name = name_of(text, taken)
            taken.add(name)
            values.append(Value(name, text, (f"a photo of {text.lower()}",)))
        name = name_of(title, {a.name for a in self._state.collection.attributes})
        await self._do(AddAttribute(Attribute(name, title, tuple(values))))

    async def _add_value(self) -> None:
        attribute = self._attribute(self._chosen()[0][0])
        title = await self._ask("Add a value", f"A value of {attribute.title}")
        if title:
            name = name_of(title, {v.name for v in attribute.values})
            await self._do(AddValue(attribute.name, Value(name, title, (f"a photo of {title.lower()}",))))

    async def _rename(self) -> None:
        name, value = self._chosen()[0]
        old = self._title(name, value)
        title = await self._ask("Rename", "New name", old)
        if title and title != old:
            await self._do(
                RenameAttribute(name, title=title) if value is None else RenameValue(name, value, title=title)
            )

    async def _merge(self) -> None:
        chosen = self._chosen()
        first, *others = [value for _, value in chosen if value is not None]
        await self._do(MergeValues(chosen[0][0], first, tuple(others)))

    async def _delete(self) -> None:
        name, value = self._chosen()[0]
        answer = await asking.choose(
            self,
            f"Delete {self._title(name, value)}?",
            "Its labels go with it. Undo brings them back.",
            {"discard": "Delete", "cancel": "Cancel"},
            default="cancel",
        )
        if answer == "discard":
            await self._do(DeleteAttribute(name) if value is None else DeleteValue(name, value))

    def _attribute(self, name: str) -> Attribute:
        assert self._state.collection is not None
        return self._state.collection.attributes[name]

    def _title(self, name: str, value: str | None) -> str:
        attribute = self._attribute(name)
        return attribute.title if value is None else attribute.values[attribute.index(value)].title


async def edit_set(view: CuratorView, state: CuratorState, session: CuratorSession) -> None:
    """Show the dialog until it is closed."""
    if state.collection is not None:
        await asking.finished(SetDialog(view, state, session))
