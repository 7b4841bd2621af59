"""Questions to a person, awaited: the window and its worker go on meanwhile.

Apart from what is done with the answer, so that tests and scripts can answer themselves.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QFileDialog, QMessageBox, QWidget


async def finished(dialog: QDialog) -> int:
    """Open a dialog over its window without a loop of its own, and wait until it is closed."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def done(code: int) -> None:
        if not answer.done():
            answer.set_result(code)

    dialog.finished.connect(done)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    dialog.open()
    try:
        return await answer
    finally:
        if not answer.done() or answer.cancelled():
            dialog.close()
        dialog.deleteLater()


async def open_path(parent: QWidget, title: str, folder: str, patterns: str) -> Path | None:
    """A file to read, or None."""
    dialog = QFileDialog(parent, title, folder, patterns)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    accepted = await finished(dialog)
    chosen = dialog.selectedFiles()
    return Path(chosen[0]) if accepted and chosen else None


async def open_folder(parent: QWidget, title: str, folder: str) -> Path | None:
    """A folder that exists, or None."""
    dialog = QFileDialog(parent, title, folder)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
    accepted = await finished(dialog)
    chosen = dialog.selectedFiles()
    return Path(chosen[0]) if accepted and chosen else None


async def save_path(parent: QWidget, title: str, proposed: Path, patterns: str) -> Path | None:
    """A file to write, or None; the dialog asks before an existing one is replaced."""
    dialog = QFileDialog(parent, title, str(proposed.parent), patterns)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    dialog.setDefaultSuffix(proposed.suffix.lstrip("."))
    dialog.selectFile(proposed.name)
    accepted = await finished(dialog)
    chosen = dialog.selectedFiles()
    return Path(chosen[0]) if accepted and chosen else None


async def choose(parent: QWidget, text: str, detail: str, buttons: dict[str, str], default: str) -> str:
    """A question with named answers: `buttons` maps an answer to its text; Escape is `cancel`.

    An answer called `discard` is drawn as destructive where the platform does that.
    """
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setText(text)
    box.setInformativeText(detail)
    roles = {"cancel": QMessageBox.ButtonRole.RejectRole, "discard": QMessageBox.ButtonRole.DestructiveRole}
    made = {}
    for answer, label in buttons.items():
        made[answer] = box.addButton(label, roles.get(answer, QMessageBox.ButtonRole.AcceptRole))
        made[answer].setObjectName(answer)
    box.setDefaultButton(made[default])
    if "cancel" in made:
        box.setEscapeButton(made["cancel"])
    await finished(box)
    clicked = box.clickedButton()
    return next((answer for answer, button in made.items() if button is clicked), "cancel")
