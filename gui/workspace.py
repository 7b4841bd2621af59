"""What the window asks of a workspace, and what a workspace gets from the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from core.worker import Worker
from gui.actions import ActionSpec, Menus, ToolBarItems
from gui.settings import Settings
from gui.tasks import Tasks
from gui.theme import Theme
from gui.widgets.message_bar import MessageBar


@dataclass(frozen=True)
class Activity:
    """What goes on in the background, for the status bar; `fraction` is None where nobody knows how far."""

    text: str = ""
    fraction: float | None = None


class Services(QObject):
    """What all workspaces share, and their only way to each other.

    `wanted(name, request)` brings the workspace `name` to the front and hands it the request.
    `device_wanted(reason)` asks every workspace to free the memory of the device; `models_changed` says that
    a model was added, renamed or removed.
    """

    wanted = Signal(str, object)
    device_wanted = Signal(str)
    models_changed = Signal()

    def __init__(
        self, theme: Theme, settings: Settings, worker: Worker, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.theme, self.settings, self.worker = theme, settings, worker


class Workspace(QWidget):
    """One of the window's workspaces: what is in the middle, its actions, menus and tools.

    The class attributes are tables; names in `MENUS` and `TOOLBAR` are those of `ACTIONS`, of the window's
    own (`gui.actions.SHARED`), or of widgets that `tool_widget` makes. Actions of a workspace that is not in
    front can't be triggered by their keys, so keys may be the same in several.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    ICON: ClassVar[str]
    ACTIONS: ClassVar[tuple[ActionSpec, ...]] = ()
    MENUS: ClassVar[Menus] = {}
    SUBMENUS: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {}
    TOOLBAR: ClassVar[ToolBarItems] = ()
    WITH_TEXT: ClassVar[tuple[str, ...]] = ()  # tools that show their name beside the icon
    OTHER_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()  # keys that are no actions, for the list of keys

    changed = Signal()  # what can be done now, the title or the status may have changed
    activity_changed = Signal(object)  # an Activity

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.tasks = self.make_tasks()
        self.messages = MessageBar(services.theme)  # at the workspace's top, laid out by it
        self.tasks.failed.connect(self.messages.show_error)

    def make_tasks(self) -> Tasks:
        """The tasks whose errors are shown here, and which end with the window."""
        return Tasks(self)

    # for the window

    def handlers(self) -> dict[str, Callable[..., object]]:
        """What each action of `ACTIONS` does; checkable ones are called with their state."""
        return {}

    def specs(self) -> tuple[ActionSpec, ...]:
        """`ACTIONS` with the keys they have now, for the list of keys."""
        return self.ACTIONS

    def tool_widget(self, name: str) -> QWidget | None:
        """A widget of the tool bar that is no action."""
        return None

    def submenus(self) -> Mapping[str, Callable[[Any], None]]:
        """Fill a submenu of `SUBMENUS` whose entries are not fixed: called before it is shown."""
        return {}

    def status_widgets(self) -> list[QWidget]:
        """Widgets at the right of the status bar, while this workspace is in front."""
        return []

    def update_actions(self, actions: Mapping[str, QAction]) -> None:
        """Enable and name the actions as they are possible now."""

    def document(self) -> str:
        """What the window's title names, with `[*]` for the mark of unsaved work; empty for nothing."""
        return ""

    @property
    def unsaved(self) -> bool:
        """Whether there is work that would be lost."""
        return False

    def enter(self) -> None:
        """The workspace comes to the front."""

    def leave(self) -> None:
        """Another workspace comes to the front."""

    def receive(self, request: object) -> None:
        """Take what another workspace sent through `Services.wanted`."""

    async def may_close(self) -> bool:
        """Finish or ask about what would be lost; True if the window may close."""
        return True

    @property
    def busy_closing(self) -> bool:
        """Whether `may_close` has something to ask or to wait for."""
        return self.unsaved

    def remember(self) -> None:
        """Keep the layout in the settings: the window closes."""

    async def close_down(self) -> None:
        """The window is gone: stop what runs. The worker is closed by its owner afterwards."""
        await self.tasks.close()
