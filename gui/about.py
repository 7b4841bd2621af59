"""What the program says of itself: version and licences, and all its keys."""

from __future__ import annotations

from PySide6.QtCore import Qt, qVersion
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QLabel,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from core import __version__
from gui import actions
from gui.widgets import asking, icons
from gui.workspace import Workspace


async def show_about(parent: QWidget) -> None:
    """Version, what it is, what it is made with."""
    box = QMessageBox(parent)
    box.setWindowTitle("About ZeroDIM Studio")
    box.setIconPixmap(icons.app_icon().pixmap(64, 64))
    box.setText(f"<b>ZeroDIM Studio {__version__}</b>")
    box.setInformativeText(
        "Edit photos by their attributes. Everything runs on this machine; "
        "your photos never leave it.<br><br>"
        "After the method of Gabbay, Cohen and Hoshen, “An Image is Worth More Than a Thousand Words: "
        "Towards Disentanglement in the Wild”, NeurIPS 2021.<br><br>"
        f"Made with Qt {qVersion()} through PySide6 (LGPL 3) and PyTorch (BSD)."
    )
    box.setStandardButtons(QMessageBox.StandardButton.Close)
    await asking.finished(box)


async def show_shortcuts(parent: QWidget, workspace: Workspace) -> None:
    """All keys of the window and of a workspace, from their tables of actions."""
    dialog = QDialog(parent)
    dialog.setWindowTitle("Keyboard shortcuts")
    grid = QGridLayout()
    grid.setHorizontalSpacing(28)
    grid.setVerticalSpacing(5)
    native = QKeySequence.SequenceFormat.NativeText
    lines = [
        (" or ".join(QKeySequence(key).toString(native) for key in spec.keys), spec.tip)
        for spec in (*workspace.specs(), *actions.SHARED)
        if spec.keys
    ]
    lines += workspace.OTHER_KEYS
    half = (len(lines) + 1) // 2
    for i, (keys, text) in enumerate(lines):
        row, column = i % half, 2 * (i // half)
        label = QLabel(keys)
        label.setProperty("role", "title")
        grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignTop)
        explained = QLabel(text)
        grid.addWidget(explained, row, column + 1, Qt.AlignmentFlag.AlignTop)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    column_layout = QVBoxLayout(dialog)
    column_layout.setContentsMargins(24, 20, 24, 16)
    column_layout.setSpacing(18)
    column_layout.addLayout(grid)
    column_layout.addWidget(buttons)
    await asking.finished(dialog)
