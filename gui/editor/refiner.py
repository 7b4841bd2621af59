"""Refine from the window: the model is fitted to the chosen face in slices; all else goes on in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from core.faces.frame import Frame
from gui.editor.session import Session
from gui.editor.state import EditorState

if TYPE_CHECKING:
    from core.editing import EditEngine
    from core.editing.refine import Refining
    from core.recipe import Refinement

# Of work, at most. A slice of it keeps the worker that long, in seconds: what a changed control waits.
SECONDS = 15.0
SLICE = 0.15


class Refiner(QObject):
    """One refinement at a time. `changed` says that one began, went on, or ended."""

    changed = Signal()

    def __init__(self, state: EditorState, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state, self._session = state, session
        self._task: asyncio.Task[Any] | None = None
        self.frame: Frame | None = None  # of the face that is being refined
        self.fraction = 0.0
        state.photo_changed.connect(self.cancel)
        state.model_changed.connect(self.cancel)
        state.recipe_changed.connect(self._drop_without_face)

    @property
    def here(self) -> bool:
        """Whether it is the chosen face that is being refined."""
        face = self._state.face
        return self.frame is not None and face is not None and face.frame == self.frame

    def toggle(self) -> None:
        """What the button does: begin, cancel, or take the refinement back."""
        face = self._state.face
        if self.frame is not None:
            if self.here:
                self.cancel()
        elif face is not None and face.refinement is not None:
            self._state.set_refinement(face.frame, None)
        else:
            self.begin()

    def begin(self) -> None:
        """Refine the chosen face, where none is being refined."""
        face = self._state.face
        if face is not None and self.frame is None:
            self.frame, self.fraction = face.frame, 0.0
            self._task = self._session.start(self._refine(face.frame))
            self.changed.emit()

    def cancel(self) -> None:
        """Leave off; the face stays as it was."""
        if self._task is not None:
            self._task.cancel()
            self._ended()  # at once: a task that did not begin yet never comes to its end

    def _ended(self) -> None:
        self.frame, self._task = None, None
        self.changed.emit()

    def _drop_without_face(self) -> None:
        recipe = self._state.recipe
        if self.frame is not None and (recipe is None or all(f.frame != self.frame for f in recipe.faces)):
            self.cancel()

    async def _refine(self, frame: Frame) -> None:
        path, session = self._state.path, self._session
        assert path is not None
        refining: Refining | None = None

        def slice_(engine: EditEngine) -> Refinement | None:
            """Some more of it; what was reached once it is done."""
            nonlocal refining
            from core.editing.refine import go_on

            if refining is None:
                refining = engine.begin_refining(path, frame, SECONDS)
            if not go_on(refining, SLICE):
                return None
            return engine.keep(path, frame, refining).refinement

        try:
            with session.telling("Refining the face…") as tell:
                while (made := await session.run(slice_)) is None:
                    self.fraction = refining.fraction if refining is not None else 0.0
                    tell(self.fraction)
                    self.changed.emit()
            session.refined.add((frame, made))
            self._state.set_refinement(frame, made)
        finally:
            if self._task is asyncio.current_task():
                self._ended()
