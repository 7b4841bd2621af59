"""Light and dark: one table of colour tokens, a palette and a style sheet made from it, on Fusion."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from string import Template

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from core.paths import resources


@dataclass(frozen=True)
class Tokens:
    """Colours by their use. Text on its ground has a contrast of at least 4.5."""

    window: str
    surface: str
    canvas: str
    control: str
    control_hover: str
    border: str
    text: str
    muted: str
    accent: str
    accent_soft: str
    on_accent: str
    groove: str
    danger: str
    danger_soft: str
    warning: str
    info_soft: str


LIGHT = Tokens(
    window="#F3F3F5", surface="#FFFFFF", canvas="#DDDDE1", control="#FFFFFF", control_hover="#ECECF0",
    border="#D2D2D8", text="#1A1A1E", muted="#5C5C66", accent="#3453D1", accent_soft="#E5EAFC",
    on_accent="#FFFFFF", groove="#CFCFD6", danger="#B3261E", danger_soft="#FCEBEA", warning="#8A5300",
    info_soft="#E8EEFB",
)  # fmt: skip
DARK = Tokens(
    window="#1B1B1E", surface="#232327", canvas="#121214", control="#2D2D33", control_hover="#38383F",
    border="#3D3D45", text="#ECECEF", muted="#A3A3AD", accent="#8BA5FF", accent_soft="#2C3560",
    on_accent="#0D1330", groove="#4A4A54", danger="#FF938A", danger_soft="#43211F", warning="#F0B45A",
    info_soft="#232C48",
)  # fmt: skip

SCHEMES = {"system": Qt.ColorScheme.Unknown, "light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}


@functools.cache
def _template() -> Template:
    return Template((resources() / "style" / "studio.qss").read_text(encoding="utf-8"))


def style_sheet(tokens: Tokens) -> str:
    """The whole style sheet for these colours."""
    colours = {field.name: getattr(tokens, field.name) for field in fields(tokens)}
    return _template().substitute(colours, style=(resources() / "style").as_posix())


def palette(tokens: Tokens) -> QPalette:
    """The palette for these colours: what no style sheet rule covers, and what widgets paint themselves."""
    made = QPalette()
    role = QPalette.ColorRole
    for where, colour in (
        (role.Window, tokens.window),
        (role.WindowText, tokens.text),
        (role.Base, tokens.surface),
        (role.AlternateBase, tokens.window),
        (role.Text, tokens.text),
        (role.Button, tokens.control),
        (role.ButtonText, tokens.text),
        (role.ToolTipBase, tokens.surface),
        (role.ToolTipText, tokens.text),
        (role.PlaceholderText, tokens.muted),
        (role.BrightText, tokens.on_accent),
        (role.Highlight, tokens.accent),
        (role.HighlightedText, tokens.on_accent),
        (role.Accent, tokens.accent),
        (role.Link, tokens.accent),
        (role.Light, tokens.control_hover),
        (role.Midlight, tokens.control_hover),
        (role.Mid, tokens.border),
        (role.Dark, tokens.border),
        (role.Shadow, tokens.border),
    ):
        made.setColor(where, QColor(colour))
    for where in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        faded = QColor(tokens.muted)
        faded.setAlphaF(0.6)
        made.setColor(QPalette.ColorGroup.Disabled, where, faded)
    return made


class Theme(QObject):
    """The application's theme: follows the system unless a person chose light or dark."""

    changed = Signal()

    def __init__(self, app: QApplication, choice: str = "system") -> None:
        super().__init__(app)
        self._app = app
        self.choice = "system"
        self.tokens = LIGHT
        app.setStyle("Fusion")
        self._hints = QGuiApplication.styleHints()
        self._hints.colorSchemeChanged.connect(self._apply)
        self.choose(choice)

    @property
    def dark(self) -> bool:
        """True while the dark colours are shown."""
        return self.tokens is DARK

    def choose(self, choice: str) -> None:
        """Show `system`, `light` or `dark`; anything else is taken as `system`."""
        self.choice = choice if choice in SCHEMES else "system"
        # the platform's own parts (title bar, native dialogs) follow where they can
        self._hints.setColorScheme(SCHEMES[self.choice])
        self._apply()

    def close(self) -> None:
        """Stop following the system."""
        self._hints.colorSchemeChanged.disconnect(self._apply)

    def _apply(self) -> None:
        scheme = SCHEMES[self.choice]
        if scheme == Qt.ColorScheme.Unknown:
            scheme = self._hints.colorScheme()
        self.tokens = DARK if scheme == Qt.ColorScheme.Dark else LIGHT
        self._app.setPalette(palette(self.tokens))
        self._app.setStyleSheet(style_sheet(self.tokens))
        self.changed.emit()
