"""Colour: profiles, the way to sRGB and back, and what else becomes 8-bit RGB."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Profile:
    """The way from a profile's colour space to sRGB and back. `channels` is 1 (grey) or 3."""

    to_srgb: ImageCms.ImageCmsTransform
    from_srgb: ImageCms.ImageCmsTransform
    channels: int

    def convert(self, pixels: np.ndarray, transform: ImageCms.ImageCmsTransform) -> np.ndarray:
        """(h, w, 3) uint8 through one of the two transforms."""
        source = pixels[..., 0] if transform is self.to_srgb and self.channels == 1 else pixels
        if source.size == 0:
            return pixels
        converted = transform.apply(Image.fromarray(np.ascontiguousarray(source)))
        result = np.asarray(converted)
        return result if result.ndim == 3 else np.repeat(result[..., None], 3, axis=2)


def profile_space(icc_profile: bytes) -> str:
    """The colour space that a profile is about, such as RGB, GRAY or CMYK; empty where it is broken."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""


def usable_profile(icc_profile: bytes) -> Profile | None:
    """The transforms of a profile; None where it is broken or is sRGB to within one level of 255."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        channels = {"RGB": 3, "GRAY": 1}[profile.profile.xcolor_space.strip()]
        mode, srgb = ("RGB" if channels == 3 else "L"), ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        found = Profile(
            ImageCms.buildTransform(profile, srgb, mode, "RGB", intent, flags),
            ImageCms.buildTransform(srgb, profile, "RGB", mode, intent, flags),
            channels,
        )
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError, TypeError):
        return None
    levels = np.array([0, 12, 35, 64, 96, 128, 160, 192, 224, 255], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(10, 100, 3)
    if channels == 1:
        colours = np.repeat(levels[:, None, None], 3, axis=2)
    changed = found.convert(colours, found.to_srgb).astype(int) - colours
    return None if np.abs(changed).max() <= 1 else found


def in_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """A CMYK or Lab image in sRGB: through its profile where it has a usable one."""
    try:
        if image.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        elif icc_profile is None:
            return image.convert("RGB")
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)).profile
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(source), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        assert converted is not None
        return converted
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        if image.mode == "LAB":
            raise
        log.info("the CMYK profile is broken: converted without it")
        return image.convert("RGB")


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey of more than 8 bits, or floating point, to uint8."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        table = ((np.arange(65536) + 128) // 257).astype(np.uint8)
        return table[values]
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0))
    # Nothing in the file says what white is: the least of the usual scales that holds all values.
    integers = values.dtype.kind == "i"
    white = next((w for w in (1.0, 255.0, 65535.0) if top <= w and not (integers and w == 1.0)), top)
    return np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 laid on white where (h, w) uint8 `alpha` is below 255."""
    a = alpha[..., None].astype(np.uint16)
    return ((pixels * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)
