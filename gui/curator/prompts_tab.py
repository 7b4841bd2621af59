"""The panel's page of prompts: scores follow while they are typed."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from gui.curator.start import ModelBox
from gui.curator.state import CuratorState
from gui.widgets.labels import muted_label

DELAY = 250  # ms after the last key
LINE = 250  # pixels of a text's line, about


class PromptsTab(QWidget):
    """`prompts_typed` while typing; `prompts_kept(name, prompts)` when a text is left: a step to undo."""

    prompts_typed = Signal()
    prompts_kept = Signal(str, object)

    def __init__(self, state: CuratorState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.models = ModelBox()
        self.domain = muted_label()
        about = muted_label("One prompt a line: sentences that describe an image with that value.")
        self.texts: list[QPlainTextEdit] = []
        self._inner = QVBoxLayout()
        self._inner.setSpacing(5)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 14)
        column.setSpacing(9)
        column.addWidget(QLabel("CLIP model"))
        column.addWidget(self.models)
        column.addWidget(self.domain)
        column.addWidget(about)
        column.addLayout(self._inner)
        column.addStretch(1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY)
        self._timer.timeout.connect(self.prompts_typed)
        state.attribute_changed.connect(self.rebuild)

    def rebuild(self) -> None:
        """The prompts of the attribute; texts that are being typed stay."""
        attribute = self._state.attribute
        values = attribute.values if attribute is not None else ()
        names = [value.name for value in values]
        if [text.objectName() for text in self.texts] == names:
            for text, value in zip(self.texts, values, strict=True):
                if not text.hasFocus() and _lines(text) != value.prompts:
                    self._fill(text, value.prompts)
            return
        while (item := self._inner.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.texts = []
        for i, value in enumerate(values):
            title = QLabel(value.title)
            title.setProperty("role", "title")
            text = QPlainTextEdit()
            text.setObjectName(value.name)
            text.setAccessibleName(f"Prompts of {value.title}")
            text.setTabChangesFocus(True)
            text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
            text.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            text.setProperty("role", "field")
            metrics = text.fontMetrics()
            lines = max(2, min(5, sum(1 + metrics.horizontalAdvance(p) // LINE for p in value.prompts)))
            text.setFixedHeight(lines * metrics.lineSpacing() + 18)
            self._fill(text, value.prompts)
            text.textChanged.connect(lambda i=i: self._typed(i))
            text.installEventFilter(self)
            self.texts.append(text)
            self._inner.addWidget(title)
            self._inner.addWidget(text)

    @staticmethod
    def _fill(text: QPlainTextEdit, prompts: tuple[str, ...]) -> None:
        text.blockSignals(True)
        text.setPlainText("\n".join(prompts))
        text.blockSignals(False)

    def _typed(self, value: int) -> None:
        self._state.set_draft_prompts(value, _lines(self.texts[value]))
        self._timer.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A text that is left is kept."""
        if event.type() == QEvent.Type.FocusOut and isinstance(watched, QPlainTextEdit):
            attribute = self._state.attribute
            prompts = _lines(watched)
            if attribute is not None and watched in self.texts:
                value = attribute.values[self.texts.index(watched)]
                if value.name == watched.objectName() and value.prompts != prompts:
                    self.prompts_kept.emit(value.name, prompts)
        return super().eventFilter(watched, event)


def _lines(text: QPlainTextEdit) -> tuple[str, ...]:
    lines = (line.strip() for line in text.toPlainText().splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))
