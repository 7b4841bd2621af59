"""The panel's line about Refine: what it is, how far it is, and the one button for all of it."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from core.recipe import FULL_REFINEMENT
from gui.editor.refiner import Refiner
from gui.editor.state import EditorState
from gui.widgets.elided_label import ElidedButton, ElidedLabel

REFINE = "Fit the model to this face, in some seconds: edits then start from what the face really looks like"
TAKE_BACK = "Edit with the model as it is for all faces"
OTHER = "Another face is being refined. Wait, or cancel it there"


class RefineRow(QWidget):
    """Shows whether the chosen face is refined."""

    def __init__(self, state: EditorState, refiner: Refiner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state, self._refiner = state, refiner
        title = QLabel("Refine")
        title.setProperty("role", "title")
        self.about = ElidedLabel()
        self.about.setProperty("role", "muted")
        self.button = ElidedButton("Refine")
        self.button.setProperty("chip", True)
        self.button.clicked.connect(refiner.toggle)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(title)
        row.addWidget(self.about, 1)
        row.addWidget(self.button)
        for signal in (refiner.changed, state.recipe_changed, state.face_changed, state.photo_changed):
            signal.connect(self.show_state)
        self.show_state()

    def show_state(self) -> None:
        """Name the button by what it would do now."""
        refiner, face = self._refiner, self._state.face
        elsewhere = refiner.frame is not None and not refiner.here
        if refiner.here:
            text, tip, about = "Cancel", "Leave the face as it was", f"{100 * refiner.fraction:.0f} %"
        elif face is not None and face.refinement is not None:
            whole = face.refinement.steps >= FULL_REFINEMENT.steps
            text, tip, about = "Take back", TAKE_BACK, "Fits this face" if whole else "Time ran out: partly"
        else:
            text, tip, about = "Refine", OTHER if elsewhere else REFINE, ""
        self.button.setText(text)
        self.button.setMinimumWidth(
            self.button.sizeHint().width()
        )  # what it does is never cut, the rest may be
        self.button.setToolTip(tip)
        self.button.setAccessibleName(text if text == "Refine" else f"Refine: {text.lower()}")
        self.button.setAccessibleDescription(f"{about}. {tip}" if about else tip)
        self.button.setEnabled(face is not None and not elsewhere)
        self.about.setText(about)
