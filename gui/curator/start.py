"""The start page: a folder to choose or drop, the attributes to label it with, the CLIP model."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QPushButton, QWidget

from core.annotate.sets import shipped_sets
from core.attributes import AttributeSet, load_attribute_set
from core.clip.choices import ClipChoice, choices
from core.errors import StudioError
from gui.theme import Theme
from gui.widgets.empty_state import EmptyState
from gui.widgets.labels import muted_label

OTHER = "other"


def attribute_sets() -> list[tuple[str, Path]]:
    """Titles and files of the sets that are shipped, faces first; a file that is broken is left out."""
    found = []
    for path in shipped_sets().values():
        try:
            found.append((load_attribute_set(path).title, path))
        except StudioError:
            continue
    return sorted(found, key=lambda pair: (pair[1].stem != "faces", pair[0]))


def model_title(choice: ClipChoice) -> str:
    """What a list calls a model."""
    size = f" · {choice.megabytes:,.0f} MB" if choice.megabytes else ""
    return f"{choice.title}{size}" if choice.shipped or choice.path else f"{choice.title}{size}, to download"


class ModelBox(QComboBox):
    """The CLIP models; `other_wanted` when a person wants to give a file or folder."""

    other_wanted = Signal()
    model_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("CLIP model")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        for choice in choices():
            self.addItem(model_title(choice), choice)
            self.setItemData(self.count() - 1, choice.about, Qt.ItemDataRole.ToolTipRole)
        self.addItem("A file or folder…", OTHER)
        self._chosen = 0
        self.activated.connect(self._activated)

    def _activated(self, index: int) -> None:
        if self.itemData(index) == OTHER:
            self.setCurrentIndex(self._chosen)
            self.other_wanted.emit()
        else:
            self._chosen = index
            self.model_chosen.emit(self.itemData(index))

    @property
    def choice(self) -> ClipChoice:
        """The model chosen."""
        return self.itemData(self._chosen)

    def choose(self, choice: ClipChoice) -> None:
        """Show a model as chosen, one of a person's own too; without a signal."""
        for index in range(self.count()):
            data = self.itemData(index)
            if isinstance(data, ClipChoice) and data.key == choice.key:
                break
        else:
            index = self.count() - 1
            self.insertItem(index, model_title(choice), choice)
        self._chosen = index
        self.setCurrentIndex(index)


class StartPage(EmptyState):
    """Empty state of the workspace."""

    folder_wanted = Signal()
    set_file_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "curate", "Drop a folder of images here to label them.", parent)
        self.card.setMinimumWidth(460)
        self.sets = QComboBox()
        self.sets.setAccessibleName("Attributes")
        for title, path in attribute_sets():
            self.sets.addItem(title, path)
        self.sets.addItem("From a file…", OTHER)
        self._set = 0
        self.sets.activated.connect(self._set_activated)
        self.models = ModelBox()
        self.about = muted_label()
        self.models.model_chosen.connect(lambda _: self._show_about())
        form = QFormLayout()
        form.setHorizontalSpacing(12)
        form.setVerticalSpacing(8)
        form.addRow("Attributes", self.sets)
        form.addRow("CLIP model", self.models)
        form.addRow("", self.about)
        self.button = QPushButton("Choose a folder…")
        self.button.setProperty("primary", True)
        self.button.setToolTip("Choose a folder of images (Ctrl+O)")
        self.button.clicked.connect(self.folder_wanted)
        self.body.addLayout(form)
        self.add_button(self.button)
        self._show_about()

    def attributes(self) -> AttributeSet:
        """The attributes chosen; StudioError if their file is gone or broken."""
        return load_attribute_set(self.sets.itemData(self._set))

    def add_set(self, path: Path) -> None:
        """Choose a set of a person's own; StudioError if it is none."""
        title = load_attribute_set(path).title
        self._set = self.sets.count() - 1
        self.sets.insertItem(self._set, f"{title} ({path.name})", path)
        self.sets.setCurrentIndex(self._set)

    def _set_activated(self, index: int) -> None:
        if self.sets.itemData(index) == OTHER:
            self.sets.setCurrentIndex(self._set)
            self.set_file_wanted.emit()
        else:
            self._set = index

    def _show_about(self) -> None:
        self.about.setText(self.models.choice.about)

    def set_working(self, working: bool) -> None:
        """Whether a folder is being read: nothing else can be chosen meanwhile."""
        for widget in (self.button, self.sets, self.models):
            widget.setEnabled(not working)
