"""Labels out and in: what to write and where; what a file would change before it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QVBoxLayout,
)

from core.collection.imports import ImportPreview
from gui.widgets import asking

if TYPE_CHECKING:
    from gui.curator.session import CuratorSession
    from gui.curator.state import CuratorState
    from gui.curator.view import CuratorView

KINDS = (
    ("csv", "Table (CSV)", ".csv"),
    ("json", "JSON", ".json"),
    ("coco", "COCO-style image labels (JSON)", ".json"),
    ("folders", "Folders by value", ""),
)
LABELS = "Labels (*.csv *.json);;All files (*)"
WIDTH = 460  # of its text
SHOWN = 6  # lines of a list in the preview


class ExportDialog(QDialog):
    """What to write."""

    def __init__(self, view: CuratorView, attribute: str) -> None:
        super().__init__(view)
        self.setWindowTitle("Export labels")
        self.kind = QComboBox()
        for name, title, _ in KINDS:
            self.kind.addItem(title, name)
        self.which = QComboBox()
        self.which.addItem("All attributes", None)
        self.which.addItem(f"Only {attribute}", attribute)
        self.details = QCheckBox("With source and score of each label")
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(10)
        self.which.setMinimumWidth(260)
        form.addRow("As", self.kind)
        form.addRow("Labels of", self.which)
        form.addRow("", self.details)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.ok = buttons.addButton("Choose where…", QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.kind.currentIndexChanged.connect(
            lambda _: self.details.setEnabled(self.kind.currentData() == "csv")
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 18, 20, 14)
        column.setSpacing(16)
        column.addLayout(form)
        column.addWidget(buttons)


async def ask_export(view: CuratorView, state: CuratorState, session: CuratorSession) -> None:
    """Ask what to write and where, and write it."""
    collection, name = state.collection, state.attribute_name
    if collection is None or state.attribute is None:
        return
    dialog = ExportDialog(view, state.attribute.title)
    if not await asking.finished(dialog):
        return
    kind, details = str(dialog.kind.currentData()), dialog.details.isChecked()
    chosen = None if dialog.which.currentData() is None else [name]
    suffix = next(suffix for key, _, suffix in KINDS if key == kind)
    if kind == "folders":
        target = await asking.open_folder(
            view, "Choose an empty folder for the images", str(collection.folder.parent)
        )
    else:
        proposed = collection.folder.parent / f"{collection.folder.name}-labels{suffix}"
        target = await asking.save_path(view, "Export labels", proposed, f"Labels (*{suffix})")
    if target is not None:
        await session.export(target, kind, chosen, details and kind == "csv")


class ImportDialog(QDialog):
    """What a file would do, and what may be added or replaced."""

    def __init__(self, view: CuratorView, found: ImportPreview) -> None:
        super().__init__(view)
        self.setWindowTitle("Import labels")
        self.add_values = QCheckBox("Add the values that are new")
        self.add_attributes = QCheckBox("Add the attributes that are new")
        self.replace_mine = QCheckBox("Replace my labels where they differ")
        self.add_values.setEnabled(bool(found.new_values))
        self.add_attributes.setEnabled(bool(found.new_attributes))
        self.replace_mine.setEnabled(bool(found.conflicts))
        self.words = QLabel(describe(found))
        self.words.setWordWrap(True)
        self.words.setFixedWidth(WIDTH)
        self.words.setMinimumHeight(self.words.heightForWidth(WIDTH))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.ok = buttons.addButton("Import", QDialogButtonBox.ButtonRole.AcceptRole)
        self.ok.setEnabled(bool(found.labels or found.new_attributes or found.new_values))
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 18, 20, 14)
        column.setSpacing(10)
        for widget in (self.words, self.add_values, self.add_attributes, self.replace_mine, buttons):
            column.addWidget(widget)


def describe(found: ImportPreview) -> str:
    """The preview in sentences."""
    lines = [f"{found.file.name} names {found.images:,} of these images."]
    lines.append(f"{found.labels:,} labels would be set; {found.same:,} are so already.")
    if found.unknown_files:
        count = len(found.unknown_files)
        are = "file is" if count == 1 else "files are"
        lines.append(f"{count:,} {are} not here: {_some(found.unknown_files)}")
    if found.ambiguous:
        names = "1 name" if len(found.ambiguous) == 1 else f"{len(found.ambiguous):,} names"
        lines.append(f"{names} could be several images: {_some(found.ambiguous)}")
    lines += [f"New values of {name}: {_some(values)}" for name, values in found.new_values.items()]
    if found.new_attributes:
        lines.append(f"New attributes: {_some(list(found.new_attributes.values()))}")
    if found.conflicts:
        some = [f"{c.path} (you: {c.yours or 'none'}, file: {c.theirs or 'none'})" for c in found.conflicts]
        differ = "label of yours differs" if len(some) == 1 else "labels of yours differ"
        lines.append(f"{len(some):,} {differ}: {_some(some)}")
    return "\n".join(lines)


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more + "."


async def ask_import(view: CuratorView, state: CuratorState, session: CuratorSession) -> None:
    """Ask for a file, show what it would do, and do it."""
    collection = state.collection
    if collection is None:
        return
    path: Path | None = await asking.open_path(view, "Import labels", str(collection.folder.parent), LABELS)
    if path is None:
        return
    found = await session.desk(lambda: collection.preview_import(path))
    dialog = ImportDialog(view, found)
    if await asking.finished(dialog):
        await session.import_labels(
            found,
            dialog.add_values.isChecked(),
            dialog.add_attributes.isChecked(),
            dialog.replace_mine.isChecked(),
        )
