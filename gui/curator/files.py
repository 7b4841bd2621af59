"""The workspace's dealings with files: what is asked is here, what is done in the session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QMimeData, QStandardPaths

from gui.curator.session import CuratorSession
from gui.curator.start import ModelBox, StartPage
from gui.curator.state import CuratorState
from gui.settings import Settings
from gui.widgets import asking

if TYPE_CHECKING:
    from core.clip import ClipChoice
    from gui.curator.view import CuratorView

SETS = "Attribute sets (*.toml)"
MODELS = "CLIP weights (*.safetensors *.bin *.pt *.pth);;All files (*)"


class CuratorFiles:
    """Questions of one workspace."""

    def __init__(
        self, view: CuratorView, state: CuratorState, session: CuratorSession, settings: Settings
    ) -> None:
        self._view, self._state, self._session, self._settings = view, state, session, settings

    def _folder(self) -> str:
        recent = [Path(text) for text in self._settings.get("curator/recent")]
        near = next((folder.parent for folder in recent if folder.parent.is_dir()), None)
        return str(near or QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation))

    async def ask_open(self) -> None:
        """Let a person choose a folder, and open it."""
        folder = await asking.open_folder(self._view, "Open a folder of images", self._folder())
        if folder is not None:
            self._view.open(folder)

    async def ask_set(self, start: StartPage) -> None:
        """Let a person choose a file of attributes."""
        path = await asking.open_path(self._view, "Choose a set of attributes", self._folder(), SETS)
        if path is not None:
            start.add_set(path)

    async def ask_model(self, box: ModelBox) -> None:
        """Let a person choose a CLIP model of their own."""
        from core.clip.choices import find_choice

        path = await asking.open_path(self._view, "Choose a CLIP model", self._folder(), MODELS)
        if path is not None:
            inside = (path.parent / "open_clip_config.json").is_file()
            choice = find_choice(path.parent if inside else path)
            box.choose(choice)
            box.model_chosen.emit(choice)

    async def ask_download(self, choice: ClipChoice) -> bool:
        """Ask before anything is fetched from the network."""
        answer = await asking.choose(
            self._view,
            f"Download {choice.title}?",
            f"About {choice.megabytes:,.0f} MB from the model hub. Your images stay on this machine.",
            {"download": "Download", "cancel": "Cancel"},
            default="cancel",
        )
        return answer == "download"

    async def ask_import(self) -> None:
        """Let a person choose labels to take over."""
        from gui.curator.exchange import ask_import

        await ask_import(self._view, self._state, self._session)

    async def ask_export(self) -> None:
        """Let a person choose where labels go."""
        from gui.curator.exchange import ask_export

        await ask_export(self._view, self._state, self._session)

    async def edit_attributes(self) -> None:
        """Let a person change attributes and values."""
        from gui.curator.set_dialog import edit_set

        await edit_set(self._view, self._state, self._session)


def dropped_folder(data: QMimeData) -> Path | None:
    """The one folder that is dragged here, or None."""
    paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    return paths[0] if len(paths) == 1 and paths[0].is_dir() else None
