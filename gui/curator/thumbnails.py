"""Thumbnails by a pool of threads: what is seen comes first, all of it is kept on disk for the next time."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QImage

from core.errors import StudioError
from core.images import open_photo

KEPT = 256  # longer side on disk, in pixels
THREADS = 2
# pixels of the pictures that are kept in memory, 4 bytes each
MOST_PIXELS = 64_000_000
log = logging.getLogger(__name__)


def load_picture(path: Path, side: int) -> Image.Image:
    """The upright picture of a file as RGB, at most `side` pixels long; StudioError where there is none."""
    try:
        with Image.open(path) as image:
            if image.mode in ("RGB", "L", "YCbCr") and not image.info.get("icc_profile"):
                image.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size
                upright = ImageOps.exif_transpose(image)
                upright.thumbnail((side, side), reducing_gap=2.0)
                return upright.convert("RGB")
    except FileNotFoundError as error:
        raise StudioError(f"There is no image at {path}.", "Look through the folder again.") from error
    except Exception as error:  # decoders of broken files raise nearly anything; the careful way says what
        log.debug("%s the careful way: %s", path, error)
    made = Image.fromarray(open_photo(path).srgb())
    made.thumbnail((side, side), reducing_gap=2.0)
    return made


def to_qimage(image: Image.Image) -> QImage:
    """A copy that Qt draws without converting."""
    raw = image.convert("RGBA").tobytes("raw", "BGRA")
    return QImage(raw, image.width, image.height, 4 * image.width, QImage.Format.Format_RGB32).copy()


class Thumbnails(QObject):
    """Pictures of one collection's images by id.

    `get` answers at once, with None for what isn't there yet; `want` says what is seen, in order, and what
    was wanted before and isn't any more is dropped. `ready` tells, on the window's thread, that some came.
    """

    ready = Signal()
    loaded = Signal(object, object)  # a large picture: the image's id, the QImage or None

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._folder, self._home = Path(), Path()
        self._generation = 0
        self._side = 160
        self._wanted: list[tuple[int, str, str]] = []
        self._large: tuple[int, str, int] | None = None
        self._under_way: set[tuple[int, int]] = set()
        self._kept: OrderedDict[int, QImage] = OrderedDict()
        self._pixels = 0
        self._told = False
        self.broken: set[int] = set()
        self.ready.connect(self._seen, Qt.ConnectionType.QueuedConnection)

    def open(self, folder: Path, home: Path) -> None:
        """Serve another collection."""
        with self._wake:
            self._folder, self._home = folder, home / "thumbnails"
            self.broken = set()
            self._forget()

    def set_side(self, side: int) -> None:
        """How long the longer side is, in pixels of the screen."""
        with self._wake:
            if side != self._side:
                self._side = side
                self._forget()

    def forget(self, ids: Sequence[int]) -> None:
        """Files that changed."""
        with self._wake:
            for number in ids:
                found = self._kept.pop(number, None)
                self._pixels -= 0 if found is None else found.width() * found.height()
                self.broken.discard(number)

    def _forget(self) -> None:
        self._generation += 1
        self._kept.clear()
        self._wanted, self._pixels = [], 0

    def get(self, number: int) -> QImage | None:
        """The picture of an image, None if it isn't there (yet)."""
        with self._wake:
            found = self._kept.get(number)
            if found is not None:
                self._kept.move_to_end(number)
            return found

    def want(self, images: Sequence[tuple[int, str, str]]) -> None:
        """`images` are id, path and digest, the most urgent first."""
        with self._wake:
            self._wanted = [i for i in images if i[0] not in self._kept and i[0] not in self.broken]
            if self._wanted:
                self._start()

    def want_large(self, number: int, path: str, side: int) -> None:
        """Load one image at `side` pixels; `loaded` tells. A later wish takes an earlier one's place."""
        with self._wake:
            self._large = (number, path, side)
            self._start()

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted and nothing under way."""
        with self._wake:
            return not self._wanted and not self._under_way and self._large is None

    def close(self) -> None:
        """End the threads."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._run, name=f"thumbnails-{i}", daemon=True)
                for i in range(THREADS)
            ]
            for thread in self._threads:
                thread.start()
        self._wake.notify_all()

    def _seen(self) -> None:
        with self._wake:
            self._told = False

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closed and self._large is None and (at := self._next()) is None:
                    self._wake.wait()
                if self._closed:
                    return
                large, self._large = self._large, None
                folder, home, generation, side = self._folder, self._home, self._generation, self._side
                number, path, digest = (large[0], large[1], "") if large else self._wanted.pop(at or 0)
                mark = (-1 if large else generation, number)
                self._under_way.add(mark)
            made: QImage | None = None
            try:
                if large is not None:
                    made = to_qimage(load_picture(folder / path, large[2]))
                else:
                    made = to_qimage(_thumbnail(folder / path, home, digest, side))
            except (StudioError, OSError, ValueError) as error:
                log.info("no picture of %s: %s", path, error)
            with self._wake:
                self._under_way.discard(mark)
                if self._closed:
                    return
                tell = False
                if large is None and generation == self._generation:
                    self._keep(number, made)
                    tell, self._told = not self._told, True
            if large is not None:
                self.loaded.emit(number, made)
            elif tell:
                self.ready.emit()

    def _next(self) -> int | None:
        """Place of the most urgent wish that nobody works at."""
        for at, (number, _, _) in enumerate(self._wanted):
            if (self._generation, number) not in self._under_way:
                return at
        return None

    def _keep(self, number: int, made: QImage | None) -> None:
        if made is None:
            self.broken.add(number)
            return
        self._kept[number] = made
        self._pixels += made.width() * made.height()
        while self._pixels > MOST_PIXELS:
            _, old = self._kept.popitem(last=False)
            self._pixels -= old.width() * old.height()


def _thumbnail(path: Path, home: Path, digest: str, side: int) -> Image.Image:
    """The picture at `side`, from the disk cache where it is there; where it isn't, it is put there."""
    if side > KEPT:
        return load_picture(path, side)
    kept = home / digest[:2] / f"{digest[2:18]}.jpg"
    try:
        with Image.open(kept) as image:
            image.draft("RGB", (side, side))
            made = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        made = load_picture(path, KEPT)
        _put(made, kept)
    made.thumbnail((side, side), reducing_gap=2.0)
    return made


def _put(made: Image.Image, kept: Path) -> None:
    """Into the cache, without waiting for the disk: what is lost is made again."""
    temporary = kept.with_name(f".{secrets.token_hex(6)}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        made.save(temporary, "JPEG", quality=88)
        temporary.replace(kept)
    except OSError as error:  # a full disk costs time, not pictures
        log.info("no place for a thumbnail: %s", error)
        temporary.unlink(missing_ok=True)
