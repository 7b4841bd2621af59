"""EXIF: what an edited photo keeps of it."""

from __future__ import annotations

import logging
import struct

from PIL import Image

log = logging.getLogger(__name__)

ORIENTATION = 0x0112
# what makes an image upright, by its orientation; 1 is upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A TIFF's first directory mixes the photo's story with the file's layout; this is the story:
# description, maker, model, resolution, software, dates, authors, ratings, Windows' texts, EXIF, GPS.
_STORY_TAGS = {
    270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432,
    40091, 40092, 40093, 40094, 40095, 34665, 34853,
}  # fmt: skip


def kept_exif(image: Image.Image) -> bytes | None:
    """The file's EXIF, upright and without a thumbnail; None where there is none or it is broken."""
    raw = image.info.get("exif")
    if raw:
        return upright_exif(raw if isinstance(raw, bytes) else bytes(raw, "latin-1"))
    try:
        return _story(image.getexif())
    except Exception as error:  # metadata must not keep a photo from opening
        log.info("EXIF not kept: %s", error)
        return None


def upright_exif(raw: bytes) -> bytes | None:
    """Set the orientation to 1 and cut off the thumbnail, in place: everything else, maker notes with
    their offsets included, stays byte for byte. None where the block is broken.
    """
    data = bytearray(raw.removeprefix(b"Exif\x00\x00"))
    try:
        order = {b"II*\x00": "<", b"MM\x00*": ">"}[bytes(data[:4])]
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(order + "H", data, entry)
            if tag == ORIENTATION:
                struct.pack_into(order + "HIHH", data, entry + 2, 3, 1, 1, 0)
        struct.pack_into(order + "I", data, start + 2 + 12 * count, 0)
    except (KeyError, struct.error):
        return None
    return b"Exif\x00\x00" + bytes(data)


def _story(exif: Image.Exif) -> bytes | None:
    """Only the tags that tell about the photo, none that tell about the layout of a TIFF file."""
    kept = Image.Exif()
    for tag in _STORY_TAGS & set(exif):
        if tag in (34665, 34853):
            kept[tag] = dict(exif.get_ifd(tag))
        else:
            kept[tag] = exif[tag]
    return kept.tobytes() if len(kept) else None


def tiff_exif(exif: bytes) -> bytes:
    """The part of a kept EXIF block that goes into a TIFF's own directories; empty where it is broken."""
    loaded = Image.Exif()
    try:
        loaded.load(exif)
        return _story(loaded) or b""
    except Exception as error:  # a camera's odd metadata must not keep a person from saving
        log.warning("saved without EXIF: %s", error)
        return b""
