"""The editor's dealings with files: what is asked is in `gui.widgets.asking`, what is done in the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QMimeData, QStandardPaths
from PySide6.QtWidgets import QWidget

from core.errors import StudioError
from core.images import PHOTO_SUFFIXES, SAVE_FORMATS
from core.recipe import Recipe, load_recipe, save_recipe
from core.samples import is_sample, sample_photo
from gui.editor.session import Session
from gui.editor.state import EditorState
from gui.settings import Settings
from gui.widgets import asking

RECIPE_SUFFIX = ".recipe.json"
PHOTOS = "Photos (" + " ".join(f"*{s} *{s.upper()}" for s in PHOTO_SUFFIXES) + ");;All files (*)"
SAVES = "JPEG (*.jpg *.jpeg);;PNG (*.png);;WebP (*.webp);;TIFF (*.tif *.tiff);;BMP (*.bmp)"
RECIPES = "Recipes (*.json)"


class EditorFiles:
    """Open and save for one editor, with the questions that belong to it."""

    def __init__(
        self,
        window: QWidget,
        state: EditorState,
        session: Session,
        settings: Settings,
        opened: Callable[[], None],
    ) -> None:
        """`opened` is called when another photo is among the recent ones."""
        self._window, self._state, self._session, self._settings = window, state, session, settings
        self._opened = opened

    # open

    async def ask_open(self) -> None:
        """Let a person choose a photo, and open it."""
        path = await asking.open_path(self._window, "Open a photo", self._folder(), PHOTOS)
        if path is not None:
            await self.open(path)

    async def open(self, path: Path, recipe: Recipe | None = None) -> bool:
        """Open a photo once the edits of the present one are safe or given up."""
        if not await self.may_leave():
            return False
        if not await self._session.open(path, recipe):
            return False
        if not is_sample(path):
            self._settings.add_recent(path.absolute())
        self._opened()
        return True

    async def open_sample(self) -> bool:
        """Open a copy of the photo that came with the program."""
        return await self.open(sample_photo())

    async def may_leave(self) -> bool:
        """Ask about edits that no file has; true if they may go."""
        if not self._state.unsaved:
            return True
        name = self._state.path.name if self._state.path is not None else "the photo"
        answer = await asking.choose(
            self._window,
            f"Save your edits of {name}?",
            "Without saving they are lost. The original photo is unchanged either way.",
            {"save": "Save as…", "discard": "Discard edits", "cancel": "Cancel"},
            default="save",
        )
        if answer == "save":
            return await self.ask_save()
        return answer == "discard"

    # save

    async def ask_save(self) -> bool:
        """Let a person choose where the edited photo goes, and save it there; true if it was saved."""
        source = self._state.path
        if source is None:
            return False
        out = await asking.save_path(
            self._window, "Save the edited photo", self._beside(proposed_name(source)), SAVES
        )
        if out is None:
            return False
        overwrite = False
        if same_file(out, source):
            answer = await asking.choose(
                self._window,
                f"Replace the original {source.name}?",
                "The photo as it was taken will be gone.",
                {"discard": "Replace the original", "cancel": "Cancel"},
                default="cancel",
            )
            if answer != "discard":
                return False
            overwrite = True
        # the dialog has asked about any other file that exists
        return await self.save(out, overwrite=overwrite or out.exists())

    async def save(self, out: Path, *, overwrite: bool) -> bool:
        """Save the edited photo; true if it was saved."""
        saved = await self._session.save(out, overwrite=overwrite)
        if saved:
            self._settings.set("files/folder", str(out.parent))
        return saved

    # recipes

    async def ask_open_recipe(self) -> None:
        """Let a person choose a recipe, and open its photo with it."""
        path = await asking.open_path(self._window, "Open a recipe", self._folder(), RECIPES)
        if path is not None:
            await self.open_recipe(path)

    async def open_recipe(self, path: Path) -> bool:
        """Open a recipe's photo with its edits."""
        recipe = load_recipe(path)
        return await self.open(Path(recipe.photo), recipe)

    async def ask_save_recipe(self) -> None:
        """Let a person choose where the recipe goes."""
        source, recipe = self._state.path, self._state.recipe
        if source is None or recipe is None:
            return
        proposed = self._beside(source.with_name(source.stem + RECIPE_SUFFIX))
        out = await asking.save_path(self._window, "Save the recipe", proposed, RECIPES)
        if out is not None:
            if same_file(out, source):
                raise StudioError("A recipe can't take the photo's place.", "Choose another name.")
            save_recipe(recipe, out, overwrite=out.exists())

    def _beside(self, proposed: Path) -> Path:
        """What is proposed beside a user's photo; of the sample photo, among the user's own."""
        return Path(self._folder()) / proposed.name if is_sample(proposed) else proposed

    def _folder(self) -> str:
        """Where dialogs start: where a photo was last opened or saved, or the pictures' folder."""
        last = self._settings.get("files/folder")
        if last and Path(last).is_dir():
            return str(last)
        return QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)


def proposed_name(source: Path) -> Path:
    """`photo-edited.jpg` beside the photo; a format that can't be written becomes JPEG."""
    suffix = source.suffix if source.suffix.lower() in SAVE_FORMATS else ".jpg"
    return source.with_name(f"{source.stem}-edited{suffix}")


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths are one file, through links and other spellings."""
    try:
        return a.samefile(b)
    except OSError:
        return a.absolute() == b.absolute()


def dropped_file(data: QMimeData) -> Path | None:
    """The one local file that is dragged here, or None."""
    paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    return paths[0] if len(paths) == 1 and not paths[0].is_dir() else None
