"""A program to be killed: the real window on a folder, where somebody labels by keys without end.

Prints a JSON object a line once an action is on the disk: the values that images (by path) must have.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt

import main
from gui import app
from gui.curator.view import CuratorView
from gui.main_window import MainWindow
from tests.gui.curating import curator, press, settled
from tests.gui.hands import Hands


async def scenario(folder: Path, window: MainWindow) -> None:
    """Label single images, several at once, take back, and go on until this process dies."""
    hands = Hands(window)
    view = curator(hands)
    window.show_workspace("curate")
    view.open(folder)
    await hands.until(lambda: view.state.known is not None and len(view.state.shown))
    view.grid.setFocus()
    done: dict[str, int] = {}

    async def act(keys: list[Qt.Key], value: int, modifiers=Qt.KeyboardModifier.NoModifier) -> None:
        for key in keys[:-1]:
            press(view, key, modifiers=modifiers)
        done.update(dict.fromkeys(selected(view), value))
        press(view, keys[-1])
        await settled(hands, view)
        print(json.dumps(done), flush=True)

    for i in range(6):
        await act([Qt.Key(Qt.Key.Key_1 + i % 4)], i % 4)
    await act([Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_3], 2, Qt.KeyboardModifier.ShiftModifier)
    before = dict(done)
    await act([Qt.Key.Key_4], 3)
    hands.trigger("undo")
    await hands.until(lambda: "Taken back" in view.news.text())
    await settled(hands, view)
    view.grid.go_on()
    done.clear()
    done.update(before)
    while view.grid.currentIndex().row() < view.state.count - 2:
        await act([Qt.Key.Key_0], -1)
    await asyncio.sleep(600)


def selected(view: CuratorView) -> list[str]:
    """Paths of the images that the next key is for."""
    return [view.state.known.images.paths[p] for p in view.grid.selected().tolist()]


if __name__ == "__main__":
    app.run = partial(app.run, scenario=partial(scenario, Path(sys.argv[1])))
    main.main(["--model", sys.argv[2]])
