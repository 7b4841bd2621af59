"""The panel beside the photo: faces, attributes, blend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from core.attributes import AttributeSet
from core.recipe import Blend
from gui.editor import edits
from gui.editor.attribute_row import AttributeRow
from gui.editor.face_strip import FaceStrip
from gui.editor.refine_row import RefineRow
from gui.editor.refiner import Refiner
from gui.editor.state import EditorState
from gui.theme import Theme
from gui.widgets.elided_label import ElidedButton, ElidedLabel

WIDTH = 324
T = TypeVar("T")
BLENDS: tuple[tuple[Blend, str, str], ...] = (
    ("keep_detail", "Keep detail", "Add the change to the photo: skin, hair and background stay sharp"),
    (
        "resynthesise",
        "Re-synthesise",
        "Draw the face anew: for changes that take something away, at the model's detail",
    ),
)
REACHES = (
    (False, "In the frame", "Nothing outside the face's frame changes"),
    (True, "Beyond", "Changes go on beyond the face's frame, along hair and skin"),
)


class Panel(QWidget):
    """Shows the chosen face's edits and turns what a person does here into undoable changes of the state."""

    frame_wanted = Signal()

    def __init__(
        self, state: EditorState, refiner: Refiner, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.refine = RefineRow(state, refiner)
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName("Attributes")
        self._state, self._theme = state, theme
        self.rows: dict[str, AttributeRow] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._make_head())
        column.addWidget(self._make_body(), 1)
        column.addWidget(self._make_foot())
        state.model_changed.connect(self._build)
        state.photo_changed.connect(self._refresh)
        state.recipe_changed.connect(self._refresh)
        state.face_changed.connect(self._refresh)
        state.views_changed.connect(self._refresh)
        self._refresh()

    # parts

    def _make_head(self) -> QWidget:
        head = QWidget()
        head.setObjectName("panelHead")
        self.heading = ElidedLabel("Attributes")
        self.heading.setProperty("role", "title")
        self.reset = QPushButton("Reset all")
        self.reset.setProperty("flat", True)
        self.reset.setToolTip("Leave this face as in the photo (Ctrl+R)")
        self.reset.clicked.connect(self._state.reset_face)
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # the heading stays where it is
        self.reset.setSizePolicy(policy)
        self.faces = FaceStrip()
        self.faces.face_wanted.connect(self._state.choose_face)
        row = QHBoxLayout()
        row.addWidget(self.heading, 1)
        row.addWidget(self.reset)
        column = QVBoxLayout(head)
        column.setContentsMargins(16, 8, 8, 8)
        column.addLayout(row)
        column.addWidget(self.faces)
        return head

    def _make_body(self) -> QWidget:
        inside = QWidget()
        inside.setObjectName("panelBody")
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self.empty = QWidget()
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sentence.setProperty("role", "muted")
        self.place = QPushButton("Place the face frame")
        self.place.setToolTip("Draw a square around the face by hand (Ctrl+F)")
        self.place.clicked.connect(self.frame_wanted)
        column = QVBoxLayout(self.empty)
        column.setContentsMargins(28, 40, 28, 28)
        column.setSpacing(14)
        column.addWidget(self.sentence)
        column.addWidget(self.place, 0, Qt.AlignmentFlag.AlignHCenter)
        self._column.addWidget(self.empty)
        self._column.addStretch(1)
        self.scroll_area = QScrollArea()
        self.scroll_area.setWidgetResizable(True)
        self.scroll_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll_area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.scroll_area.setWidget(inside)
        return self.scroll_area

    def _make_foot(self) -> QWidget:
        self.foot = QWidget()
        self.foot.setObjectName("panelFoot")
        column = QVBoxLayout(self.foot)
        column.setContentsMargins(16, 10, 10, 10)
        column.setSpacing(8)
        blends, self.blends = self._choice("Blend", BLENDS, self._state.set_blend)
        reaches, self.reaches = self._choice("Reach", REACHES, self._state.set_beyond)
        column.addLayout(blends)
        column.addLayout(reaches)
        column.addWidget(self.refine)
        return self.foot

    def _choice(
        self, title: str, options: Sequence[tuple[T, str, str]], choose: Callable[[T], None]
    ) -> tuple[QHBoxLayout, dict[T, ElidedButton]]:
        """A line with a button for each option: its value, its text and its tip."""
        label = QLabel(title)
        label.setProperty("role", "title")
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(label)
        row.addStretch(1)
        group = QButtonGroup(self)
        buttons: dict[T, ElidedButton] = {}
        for value, text, tip in options:
            button = ElidedButton(text)
            button.setCheckable(True)
            button.setProperty("chip", True)
            button.setToolTip(tip)
            button.setAccessibleName(f"{title}: {text}")
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            button.clicked.connect(lambda _=False, value=value: choose(value))
            group.addButton(button)
            row.addWidget(button)
            buttons[value] = button
        return row, buttons

    def _build(self) -> None:
        """Make a row for each attribute of the model."""
        for row in self.rows.values():
            self._column.removeWidget(row)
            row.deleteLater()
        self.rows = {}
        for attribute in self._state.attributes or AttributeSet("", "", ()):
            row = AttributeRow(attribute, self._theme)
            row.value_wanted.connect(self._state.set_value)
            row.strength_wanted.connect(self._state.set_strength)
            row.gesture_ended.connect(self._state.end_gesture)
            self.rows[attribute.name] = row
            self._column.insertWidget(self._column.count() - 1, row)
        self._order_tabs()
        self._refresh()

    def _order_tabs(self) -> None:
        order: list[QWidget] = []
        for row in self.rows.values():
            order += row.tab_widgets()
        order += (*self.blends.values(), *self.reaches.values())
        order.append(self.refine.button)
        order.append(self.reset)
        for first, second in itertools.pairwise(order):
            QWidget.setTabOrder(first, second)

    # what they show

    def _refresh(self) -> None:
        state, face = self._state, self._state.face
        ready = face is not None and bool(self.rows)
        for name, row in self.rows.items():
            row.setVisible(ready)
            if face is not None:
                row.show_swap(edits.swap_of(face, name))
                row.show_detected(state.view.values.get(name) if state.view is not None else None)
        self.foot.setVisible(ready)
        self.reset.setVisible(ready)
        self.reset.setEnabled(face is not None and bool(face.swaps))
        self.empty.setVisible(not ready)
        self.place.setVisible(state.photo is not None and face is None)
        self.sentence.setText(self._sentence())
        if face is not None:
            for blend, button in self.blends.items():
                button.setChecked(face.blend == blend)
            for beyond, button in self.reaches.items():
                button.setChecked(face.beyond == beyond)
        self._refresh_faces()

    def _refresh_faces(self) -> None:
        state = self._state
        faces = state.recipe.faces if state.recipe is not None else ()
        several = len(faces) > 1
        self.faces.setVisible(several)
        self.heading.setText(f"Face {state.chosen + 1} of {len(faces)}" if several else "Attributes")
        self.faces.show_faces([state.views.get(f.frame) for f in faces] if several else [], state.chosen)

    def _sentence(self) -> str:
        state = self._state
        if state.photo is None:
            return "Open a photo to see what it shows and to change it."
        if state.face is None:
            return "No face was found in this photo. Place the frame around one by hand."
        return "The model is being loaded."
