"""Open and save photos: orientation, colour profile, metadata, transparency, size limits.

A `Photo` is what networks and blends need: upright 8-bit pixels in the file's own colour space, the
way to sRGB and back, and what the export must keep. Opening never changes the file.
"""

from __future__ import annotations

import errno
import logging
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.colour import Profile, eight_bits, in_srgb, on_white, profile_space, usable_profile
from core.errors import StudioError
from core.exif import ORIENTATION, kept_exif, tiff_exif
from core.files import atomic_write

log = logging.getLogger(__name__)

# The largest photo, in pixels. Below the 178.9 million at which Pillow itself refuses, so that ours
# is the sentence a person reads. Opening one of 100 million takes about 1 GB of memory.
MAX_PIXELS = 175_000_000
# The largest file, in bytes: some decoders read a file whole before they tell its size.
MAX_BYTES = 2 * 1024**3

# What file dialogs and folders offer; `open_photo` goes by the content and reads more than these.
PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2",
)  # fmt: skip
SAVE_FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
}  # fmt: skip
LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}

# Pillow runs another program (Ghostscript) on these, or only has stubs for them.
_REFUSED_FORMATS = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
_LARGEST_JPEG_EXIF = 65_533


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    `pixels` (H, W, 3) uint8, read-only, upright, in the file's own colour space (that of
    `icc_profile`, sRGB where it is None); a grey file's three channels are equal. `alpha` (H, W)
    uint8 or None. `exif` says "upright" and carries no thumbnail, which would show the photo before
    its edit. `format` is Pillow's name of the file's format. CMYK and Lab files arrive as sRGB, 16-bit
    files at 8 bits, animations as their first frame.
    """

    path: Path
    pixels: np.ndarray = field(repr=False)
    alpha: np.ndarray | None = field(repr=False)
    icc_profile: bytes | None = field(repr=False)
    exif: bytes | None = field(repr=False)
    format: str
    grey: bool
    dpi: tuple[float, float] | None = None

    @property
    def width(self) -> int:
        """Pixels from left to right, upright."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels from top to bottom, upright."""
        return self.pixels.shape[0]

    def srgb(self, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """(h, w, 3) uint8 sRGB of the photo, or of `box` (left, top, right, bottom), as a person sees it.

        Transparent pixels are laid on white. May be a read-only view.
        """
        left, top, right, bottom = box or (0, 0, self.width, self.height)
        pixels = self.to_srgb(self.pixels[top:bottom, left:right])
        return pixels if self.alpha is None else on_white(pixels, self.alpha[top:bottom, left:right])

    def to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 from the file's own colour space to sRGB. The same array where nothing changes."""
        return pixels if self._profile is None else self._profile.convert(pixels, self._profile.to_srgb)

    def from_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 from sRGB to the file's own colour space. The same array where nothing changes."""
        return pixels if self._profile is None else self._profile.convert(pixels, self._profile.from_srgb)

    @cached_property
    def _profile(self) -> Profile | None:
        return None if self.icc_profile is None else usable_profile(self.icc_profile)


# ---------------------------------------------------------------------------------------------- opening


def open_photo(path: Path) -> Photo:
    """Decode the photo at `path`. StudioError where there is none, or it is broken or too large."""
    path = Path(path)
    name = path.name or str(path)
    with _readable(path, name) as file, _quiet_pillow():
        try:
            image = Image.open(file, formats=_formats())
        except Image.DecompressionBombError:
            raise _too_large(name) from None
        except UnidentifiedImageError:
            raise StudioError(
                f"{name} is not a photo this program can read.", "Choose a JPEG, PNG, WebP, TIFF or BMP file."
            ) from None
        except MemoryError:
            raise _no_memory(name) from None
        except Exception as error:
            raise _damaged(name) from error
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name)
            try:
                return _decode(path, image)
            except MemoryError:
                raise _no_memory(name) from None
            except Image.DecompressionBombError:
                raise _too_large(name) from None
            except StudioError:
                raise
            except Exception as error:  # decoders of broken files raise nearly anything
                raise _damaged(name) from error


@contextmanager
def _readable(path: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise StudioError(f"{path} is a folder.", "Choose a photo in it.")
        # a pipe or a device could block for ever
        if not stat.S_ISREG(found.st_mode):
            raise StudioError(f"{path} is not a file.", "Choose a photo.")
        if found.st_size == 0:
            raise StudioError(f"{name} is empty.", "Choose another photo.")
        if found.st_size > MAX_BYTES:
            raise StudioError(
                f"{name} is larger than {MAX_BYTES // 1024**3} GB, the largest file that can be opened.",
                "Save a smaller copy with another program.",
            )
        file = path.open("rb")
    except FileNotFoundError:
        raise StudioError(f"There is no photo at {path}.", "Choose another photo.") from None
    except PermissionError:
        raise StudioError(
            f"{path} may not be read.", "Change its permissions, or choose another photo."
        ) from None
    except (OSError, ValueError) as error:
        reason = "the name is too long" if getattr(error, "errno", 0) == errno.ENAMETOOLONG else str(error)
        raise StudioError(f"{name} could not be read: {reason}.", "Choose another photo.") from error
    with file:
        yield file


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Without Pillow's warnings: our own limit is stated, and odd metadata is no news for a person."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _formats() -> list[str]:
    Image.init()
    return [f for f in Image.ID if f not in _REFUSED_FORMATS]


def _too_large(name: str) -> StudioError:
    return StudioError(
        f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels, the largest photo that can be opened.",
        "Save a smaller copy with another program.",
    )


def _damaged(name: str) -> StudioError:
    return StudioError(
        f"{name} is damaged or incomplete.", "Copy it again from where it came, or choose another photo."
    )


def _no_memory(name: str) -> StudioError:
    return StudioError(
        f"There is not enough memory to open {name}.", "Close other programs, or save a smaller copy."
    )


def _decode(path: Path, image: Image.Image) -> Photo:
    image.load()
    # read after loading: Pillow turns TIFFs upright by itself
    orientation = image.getexif().get(ORIENTATION, 1)
    exif = kept_exif(image)
    pixels, alpha, grey, icc_profile = _rgb(image)
    pixels = _upright(pixels, orientation)
    pixels.flags.writeable = False
    if alpha is not None:
        alpha = _upright(alpha, orientation)
        alpha.flags.writeable = False
    kind = "JPEG" if image.format == "MPO" else image.format or ""
    return Photo(path, pixels, alpha, icc_profile, exif, kind, grey, _dpi(image))


def _rgb(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None, bool, bytes | None]:
    """Pixels (H, W, 3), alpha (H, W) or None, whether the file is grey, and the profile the pixels are in."""
    icc_profile = image.info.get("icc_profile") or None
    mode = image.mode
    if mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    elif mode in ("P", "PA") or (image.has_transparency_data and mode not in ("LA", "RGBA")):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif mode.startswith("I") or mode == "F":
        image = Image.fromarray(eight_bits(np.asarray(image)))
    elif mode in ("CMYK", "LAB"):
        image, icc_profile = in_srgb(image, icc_profile), None
    elif mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("L" if mode == "1" else "RGB")
    grey = mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")
    channels = np.asarray(image)
    if channels.ndim == 2:
        channels = channels[..., None]
    alpha = None
    if channels.shape[2] in (2, 4):
        alpha = np.ascontiguousarray(channels[..., -1])
        channels = channels[..., :-1]
        if alpha.min() == 255:
            alpha = None
    if channels.shape[2] == 1:
        channels = np.repeat(channels, 3, axis=2)
    if icc_profile is not None and profile_space(icc_profile) not in (("GRAY", "RGB") if grey else ("RGB",)):
        log.info("the colour profile is broken or another image's: the photo is taken as sRGB")
        icc_profile = None
    return np.ascontiguousarray(channels), alpha, grey, icc_profile


def _upright(array: np.ndarray, orientation: Any) -> np.ndarray:
    """Undo an EXIF orientation (1 to 8; anything else counts as 1). A copy that owns its memory."""
    turned = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a[:, ::-1].swapaxes(0, 1),
    }.get(orientation, lambda a: a)(array)
    return np.ascontiguousarray(turned)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x <= 30_000 and 1 <= y <= 30_000 else None


# ----------------------------------------------------------------------------------------------- saving


def save_photo(
    photo: Photo, pixels: np.ndarray, path: Path, *, overwrite: bool = False, quality: int = 95
) -> None:
    """Write `pixels` (H, W, 3) uint8, in the colour space of `photo`, with its profile, EXIF and alpha.

    The suffix of `path` names the format (`SAVE_FORMATS`); `quality` (1 to 100) is for JPEG and WebP.
    Where a format can't hold transparency the photo is laid on white, where it can't hold the profile
    it becomes sRGB. Atomic: see `atomic_write`. StudioError where it can't be saved.
    """
    path = Path(path)
    kind = SAVE_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise StudioError(
            f"Photos can't be saved as “{path.suffix or path.name}”.",
            "Use one of " + ", ".join(sorted(set(SAVE_FORMATS))) + ".",
        )
    if pixels.shape != photo.pixels.shape or pixels.dtype != np.uint8:
        raise ValueError(f"pixels of shape {pixels.shape} and type {pixels.dtype} are not those of the photo")
    if not 1 <= quality <= 100:
        raise StudioError(f"A quality of {quality} does not exist.", "Choose a number from 1 to 100.")
    if max(pixels.shape[:2]) > LARGEST_SIDE.get(kind, 2**31):
        raise StudioError(
            f"{kind} photos are at most {LARGEST_SIDE[kind]} pixels wide and high.",
            "Save it as .png or .tif.",
        )
    with atomic_write(path, overwrite=overwrite) as file, _quiet_pillow():
        image, options = _to_write(photo, pixels, kind, quality)
        try:
            _encode(image, file, kind, options)
        except OSError:
            raise
        except Exception as error:
            raise StudioError(
                f"{path.name} could not be saved: {error}.", "Choose another format."
            ) from error


def _encode(image: Image.Image, file: IO[bytes], kind: str, options: dict[str, Any]) -> None:
    try:
        image.save(file, kind, **options)
    except (ValueError, TypeError, struct.error, OverflowError, RuntimeError, AttributeError) as error:
        if "exif" not in options:
            raise
        # a camera's odd metadata must not keep a person from saving
        log.warning("saved without EXIF, which %s can't hold: %s", kind, error)
        file.seek(0)
        file.truncate()
        image.save(file, kind, **{k: v for k, v in options.items() if k != "exif"})


def _to_write(
    photo: Photo, pixels: np.ndarray, kind: str, quality: int
) -> tuple[Image.Image, dict[str, Any]]:
    alpha, icc_profile, exif = photo.alpha, photo.icc_profile, photo.exif
    grey_profile = icc_profile is not None and icc_profile[16:20] == b"GRAY"
    if icc_profile is not None and kind == "BMP":
        pixels, icc_profile, grey_profile = photo.to_srgb(pixels), None, False
    grey = photo.grey and kind in ("JPEG", "PNG", "TIFF", "BMP") and (icc_profile is None or grey_profile)
    grey = grey and bool((pixels[..., :1] == pixels[..., 1:]).all())
    if grey_profile and not grey:
        pixels, icc_profile = photo.to_srgb(pixels), None
    if alpha is not None and kind in ("JPEG", "BMP"):
        pixels, alpha = on_white(pixels, alpha), None
    channels = pixels[..., :1] if grey else pixels
    if alpha is not None:
        channels = np.concatenate([channels, alpha[..., None]], axis=2)
    image = Image.fromarray(np.ascontiguousarray(channels[..., 0] if channels.shape[2] == 1 else channels))
    options: dict[str, Any] = {"icc_profile": icc_profile} if icc_profile else {}
    if photo.dpi:
        options["dpi"] = photo.dpi
    if kind == "JPEG":
        options |= {"quality": quality, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"quality": quality}
    elif kind == "TIFF" and exif:
        # without compression, because libtiff, which compresses, can't write EXIF's own directories
        options["exif"] = tiff_exif(exif)
    elif kind == "TIFF":
        options["compression"] = "tiff_lzw"
    if exif and kind not in ("TIFF", "BMP") and not (kind == "JPEG" and len(exif) > _LARGEST_JPEG_EXIF):
        options["exif"] = exif
    return image, options
