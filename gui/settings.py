"""What the window remembers between starts, as one table over QSettings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QSettings

ORGANISATION = "ZeroDIM"
APPLICATION = "ZeroDIM Studio"
RECENT_LIMIT = 8


@dataclass(frozen=True)
class Setting:
    """A key of the settings file, the kind of its values, and its default."""

    key: str
    kind: type
    default: Any


TABLE = {
    setting.key: setting
    for setting in (
        Setting("window/geometry", QByteArray, QByteArray()),
        Setting("window/theme", str, "system"),
        Setting("editor/compare", str, "split"),
        Setting("editor/model", str, ""),  # a folder; empty for the starter model
        Setting("editor/splitter", QByteArray, QByteArray()),
        Setting("curator/recent", list, []),  # folders, the newest first
        Setting("curator/splitter", QByteArray, QByteArray()),
        Setting("curator/tile", str, ""),  # how large tiles are; empty for the usual size
        Setting("curator/keys", list, []),  # "action=key" of those that are not the usual ones
        Setting("train/data", str, ""),  # the folder that was trained on last
        Setting("train/splitter", QByteArray, QByteArray()),
        Setting("files/recent", list, []),
        Setting("files/folder", str, ""),
    )
}


class Settings:
    """Typed access to the settings; a value of the wrong kind counts as absent."""

    def __init__(self) -> None:
        # without arguments: the application's names and the default format, which tests redirect
        self._store = QSettings()

    def get(self, key: str) -> Any:
        """The value of a key of `TABLE`."""
        setting = TABLE[key]
        found = self._store.value(key, setting.default)
        if setting.kind is list:
            if isinstance(found, str):  # an INI file keeps a list of one as a string
                return [found] if found else []
            return [str(item) for item in found] if isinstance(found, list | tuple) else []
        return found if isinstance(found, setting.kind) else setting.default

    def set(self, key: str, value: Any) -> None:
        """Keep a value; written to disk by Qt soon after."""
        self._store.setValue(TABLE[key].key, value)

    def recent(self) -> list[Path]:
        """Photos opened lately that still exist, the newest first."""
        return [path for path in map(Path, self.get("files/recent")) if path.is_file()]

    def add_recent(self, path: Path) -> None:
        """Put a photo at the head of the recent ones."""
        kept = [str(path), *(item for item in self.get("files/recent") if item != str(path))]
        self.set("files/recent", kept[:RECENT_LIMIT])
        self.set("files/folder", str(path.parent))

    def clear_recent(self) -> None:
        """Forget the recent photos."""
        self.set("files/recent", [])

    def sync(self) -> None:
        """Write now."""
        self._store.sync()
