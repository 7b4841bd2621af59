"""Photos in and out: every format, orientation, colour profile, metadata, and all that can be wrong."""

from __future__ import annotations

import os
import stat
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

import core.images
from core.errors import StudioError
from core.images import MAX_PIXELS, Photo, open_photo, save_photo


@pytest.fixture
def pixels() -> np.ndarray:
    """A smooth colour picture, wider than high, (48, 64, 3) uint8."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - x * 2 - y * 2], -1).astype(np.uint8)


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def wide_profile() -> bytes:
    """An RGB matrix profile with the primaries of Adobe RGB, made by hand: Pillow can only make sRGB."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))

    primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
    r, g, b = ((x / y, 1.0, (1 - x - y) / y) for x, y in primaries)
    white = np.array([0.3127 / 0.329, 1.0, 0.3583 / 0.329])
    columns = np.array([r, g, b]).T
    columns = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = np.array([0.9642, 1.0, 0.8249])
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford
    columns = adapt @ columns
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 78
    parts = {b"desc": text, b"wtpt": xyz(*d50), b"rXYZ": xyz(*columns[:, 0]), b"gXYZ": xyz(*columns[:, 1]),
             b"bXYZ": xyz(*columns[:, 2]), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}  # fmt: skip
    return profile_file(b"RGB ", parts)


def grey_profile(gamma: float = 1.0) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return profile_file(b"GRAY", {b"wtpt": white, b"kTRC": curve})


def profile_file(space: bytes, parts: dict[bytes, bytes]) -> bytes:
    table, data, offset = b"", b"", 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        part += b"\0" * (-len(part) % 4)
        table += name + struct.pack(">II", offset + len(data), len(part))
        data += part
    header = struct.pack(">I4sI4s4s4s", offset + len(data), b"test", 0x02200000, b"mntr", space, b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + data


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x8298] = orientation, "Maker", "Someone"
    tags[0x8769] = {36867: "2024:05:06 07:08:09", 33434: 0.01}
    tags[0x8825] = {1: "N", 2: (48.0, 12.0, 3.5)}
    return tags


def tags_of(photo: Photo) -> Image.Exif:
    tags = Image.Exif()
    tags.load(photo.exif or b"")
    return tags


# ---------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize(
    "suffix", [".png", ".tif", ".bmp", ".gif", ".ppm", ".tga", ".jp2", ".jpg", ".webp", ".avif"]
)
def test_formats(tmp_path: Path, pixels: np.ndarray, suffix: str) -> None:
    if suffix == ".gif":
        pixels = np.repeat(pixels[..., :1] // 4 * 4, 3, axis=2)
    photo = open_photo(write(tmp_path / f"Grüße 写真{suffix}", pixels, quality=95))
    assert (photo.width, photo.height) == (64, 48)
    assert photo.pixels.dtype == np.uint8 and not photo.pixels.flags.writeable
    assert photo.alpha is None and not photo.grey and photo.icc_profile is None
    assert np.abs(photo.pixels.astype(int) - pixels).mean() < (
        3 if suffix in (".jpg", ".webp", ".avif", ".jp2") else 0.01
    )
    assert photo.srgb() is photo.pixels or np.array_equal(photo.srgb(), photo.pixels)


def test_modes(tmp_path: Path, pixels: np.ndarray) -> None:
    colour = Image.fromarray(pixels)
    grey = colour.convert("L")
    level = np.asarray(grey)
    cases: dict[str, tuple[Image.Image, str, np.ndarray, bool]] = {
        "grey": (grey, ".png", level, True),
        "bilevel": (grey.convert("1"), ".png", np.asarray(grey.convert("1").convert("L")), True),
        "deep": (Image.fromarray(level.astype(np.uint16) * 257), ".png", level, True),
        "deep tiff": (Image.fromarray(level.astype(np.uint16) * 257), ".tif", level, True),
        "int": (Image.fromarray(level.astype(np.int32) * 257), ".tif", level, True),
        "float": (Image.fromarray(level.astype(np.float32) / 255), ".tif", level, True),
        "palette": (colour.quantize(16), ".png", np.asarray(colour.quantize(16).convert("RGB")), False),
        "ycc": (colour.convert("YCbCr"), ".tif", pixels, False),
        "cmyk": (colour.convert("CMYK"), ".tif", pixels, False),
    }
    for name, (image, suffix, expected, is_grey) in cases.items():
        path = tmp_path / f"{name}{suffix}"
        image.save(path)
        photo = open_photo(path)
        if expected.ndim == 2:
            expected = np.repeat(expected[..., None], 3, axis=2)
        assert photo.grey is is_grey, name
        assert np.abs(photo.pixels.astype(int) - expected).max() <= 3, name
        assert photo.alpha is None, name


def test_lab(tmp_path: Path, pixels: np.ndarray) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(pixels), srgb, lab, outputMode="LAB")
    assert image is not None
    image.save(tmp_path / "lab.tif")
    photo = open_photo(tmp_path / "lab.tif")
    assert np.abs(photo.pixels.astype(int) - pixels).mean() < 6


def test_alpha(tmp_path: Path, pixels: np.ndarray) -> None:
    alpha = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    photo = open_photo(write(tmp_path / "a.png", np.dstack([pixels, alpha])))
    assert photo.alpha is not None and np.array_equal(photo.alpha, alpha)
    assert np.array_equal(photo.pixels, pixels)
    assert (photo.srgb()[:, 0] == 255).all() and np.array_equal(photo.srgb()[:, -1], pixels[:, -1])
    grey = open_photo(write(tmp_path / "la.png", np.dstack([pixels[..., 0], alpha])))
    assert grey.grey and grey.alpha is not None and np.array_equal(grey.alpha, alpha)
    Image.fromarray(pixels).quantize(8).save(tmp_path / "p.png", transparency=0)
    assert open_photo(tmp_path / "p.png").alpha is not None
    full = open_photo(write(tmp_path / "full.png", np.dstack([pixels, np.full_like(alpha, 255)])))
    assert full.alpha is None


def test_first_frame(tmp_path: Path, pixels: np.ndarray) -> None:
    first, second = Image.fromarray(pixels).quantize(64), Image.new("P", (64, 48), 3)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    expected = np.asarray(first.convert("RGB")).astype(int)
    assert np.abs(open_photo(tmp_path / "a.gif").pixels - expected).max() <= 1
    Image.fromarray(pixels).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert np.array_equal(open_photo(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_orientation(tmp_path: Path, pixels: np.ndarray, orientation: int, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", pixels, exif=exif(orientation).tobytes(), quality=100)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = open_photo(path)
    assert photo.pixels.shape == expected.shape == ((64, 48, 3) if orientation > 4 else (48, 64, 3))
    assert np.array_equal(photo.pixels, expected)
    tags = tags_of(photo)
    assert tags.get(0x0112, 1) == 1
    assert tags[0x010F] == "Maker" and tags.get_ifd(0x8769)[36867] == "2024:05:06 07:08:09"
    save_photo(photo, photo.pixels, tmp_path / "again.png")
    assert np.array_equal(open_photo(tmp_path / "again.png").pixels, expected)


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_nonsense_orientation(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    path = write(tmp_path / "a.png", pixels, exif=exif(orientation).tobytes())
    assert np.array_equal(open_photo(path).pixels, pixels)


def test_exif_keeps_everything_but_the_thumbnail(tmp_path: Path, pixels: np.ndarray) -> None:
    big = b"MM\0*\0\0\0\x08" + struct.pack(">H", 2)
    big += struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0) + struct.pack(">HHII", 0x010F, 2, 6, 38)
    big += struct.pack(">I", 44) + b"Maker\0" + struct.pack(">H", 0) + struct.pack(">I", 0)
    photo = open_photo(write(tmp_path / "a.jpg", pixels, exif=b"Exif\0\0" + big))
    assert photo.exif is not None and len(photo.exif) == len(big) + 6
    assert photo.exif[6 + 34 : 6 + 38] == b"\0\0\0\0", "no second directory"
    assert tags_of(photo)[0x010F] == "Maker"


@pytest.mark.parametrize(
    "block", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_broken_exif_is_dropped(tmp_path: Path, pixels: np.ndarray, block: bytes) -> None:
    path = write(tmp_path / "a.jpg", pixels, exif=block)
    photo = open_photo(path)
    assert photo.exif is None
    save_photo(photo, photo.pixels, tmp_path / "b.jpg")


# ----------------------------------------------------------------------------------------------- colour


def test_profile_to_srgb_and_back(tmp_path: Path, pixels: np.ndarray) -> None:
    profile = wide_profile()
    photo = open_photo(write(tmp_path / "a.png", pixels, icc_profile=profile))
    assert photo.icc_profile == profile and np.array_equal(photo.pixels, pixels)
    # a saturated green of the wide space has no red in sRGB; greys stay nearly grey
    green = np.full((2, 2, 3), (60, 200, 60), np.uint8)
    assert (photo.to_srgb(green)[..., 0] < 20).all()
    grey = np.full((2, 2, 3), 128, np.uint8)
    assert np.abs(photo.to_srgb(grey).astype(int) - 128).max() <= 3
    inner = (pixels // 6 + 105).astype(np.uint8)
    assert np.abs(photo.from_srgb(photo.to_srgb(inner)).astype(int) - inner).max() <= 3
    assert np.array_equal(photo.srgb((3, 5, 20, 30)), photo.srgb()[5:30, 3:20])
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        save_photo(photo, photo.pixels, tmp_path / f"out{suffix}")
        assert open_photo(tmp_path / f"out{suffix}").icc_profile == profile
    save_photo(photo, photo.pixels, tmp_path / "out.bmp")
    assert np.array_equal(open_photo(tmp_path / "out.bmp").pixels, photo.srgb())


def test_srgb_profile_changes_nothing_and_is_kept(tmp_path: Path, pixels: np.ndarray) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = open_photo(write(tmp_path / "a.png", pixels, icc_profile=profile))
    assert photo.icc_profile == profile and photo.to_srgb(photo.pixels) is photo.pixels


def test_grey_profile(tmp_path: Path, pixels: np.ndarray) -> None:
    profile = grey_profile()
    photo = open_photo(write(tmp_path / "a.png", pixels[..., 0], icc_profile=profile))
    assert photo.grey and photo.icc_profile == profile
    srgb = photo.srgb()
    assert srgb.shape == (48, 64, 3) and srgb[0, 32, 0] > photo.pixels[0, 32, 0] + 40, (
        "linear light is brighter in sRGB"
    )
    back = photo.from_srgb(srgb)
    assert (back[..., :1] == back).all() and np.abs(back.astype(int) - photo.pixels)[:, 8:].max() <= 3
    save_photo(photo, photo.pixels, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "L" and image.info["icc_profile"] == profile
    # WebP has no grey: the profile would not fit
    save_photo(photo, photo.pixels, tmp_path / "b.webp", quality=100)
    again = open_photo(tmp_path / "b.webp")
    assert again.icc_profile is None and np.abs(again.pixels.astype(int) - srgb).mean() < 3


@pytest.mark.parametrize("profile", [b"nonsense", wide_profile()[:200], grey_profile(), b"\0" * 500])
def test_unusable_profile_is_taken_as_srgb(tmp_path: Path, pixels: np.ndarray, profile: bytes) -> None:
    photo = open_photo(write(tmp_path / "a.png", pixels, icc_profile=profile))
    assert np.array_equal(photo.srgb(), pixels) and np.array_equal(photo.from_srgb(pixels), pixels)
    save_photo(photo, photo.pixels, tmp_path / "b.png")


def test_cmyk_with_broken_profile(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=b"nonsense", quality=100)
    photo = open_photo(tmp_path / "a.jpg")
    assert photo.icc_profile is None and np.abs(photo.pixels.astype(int) - pixels).mean() < 4


# --------------------------------------------------------------------------------------- what is wrong


def refused(path: Path) -> StudioError:
    with pytest.raises(StudioError) as caught:
        open_photo(path)
    assert caught.value.message.endswith(".") and caught.value.hint.endswith(".")
    assert "\n" not in str(caught.value)
    return caught.value


def test_not_there_folder_empty_nonsense(tmp_path: Path) -> None:
    assert "no photo" in refused(tmp_path / "none.jpg").message
    assert "folder" in refused(tmp_path).message
    (tmp_path / "empty.jpg").touch()
    assert "empty" in refused(tmp_path / "empty.jpg").message
    (tmp_path / "text.jpg").write_text("This is no photo. " * 100)
    assert "not a photo" in refused(tmp_path / "text.jpg").message
    refused(tmp_path / ("x" * 300 + ".jpg"))
    refused(tmp_path / "none.jpg" / "below.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a file" in refused(tmp_path / "pipe.jpg").message


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.png", pixels)
    path.chmod(0)
    assert "may not be read" in refused(path).message


def test_unreadable_by_error(tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.png", pixels)

    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "may not be read" in refused(path).message


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = write(tmp_path / f"a{suffix}", noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path)
    assert len(path.read_bytes()) == int(len(data) * share)


def test_damaged_anywhere_never_crashes(tmp_path: Path, pixels: np.ndarray) -> None:
    random = np.random.default_rng(1)
    for suffix in (".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"):
        good = write(
            tmp_path / f"good{suffix}", pixels, **({"exif": exif(6)} if suffix == ".jpg" else {})
        ).read_bytes()
        for i in range(60):
            data = bytearray(good)
            for at in random.integers(0, min(len(data), 400 if i % 2 else len(data)), 4):
                data[at] = random.integers(256)
            path = tmp_path / f"bad{suffix}"
            path.write_bytes(data)
            with suppress(StudioError):
                open_photo(path)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [13_300, 14_000, 60_000])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    assert side**2 > MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "megapixels" in refused(path).message


def test_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.webp"
    with path.open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\x7fWEBPVP8 ")
        try:
            file.truncate(core.images.MAX_BYTES + 1)
        except OSError:
            pytest.skip("no sparse files here")
    assert "GB" in refused(path).message


def test_hundred_megapixels(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (12_000, 8_400), (10, 200, 30)).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = open_photo(path)
    assert photo.width * photo.height > 100_000_000 and photo.pixels[-1, -1, 1] > 190


def test_pillows_limit_is_left_alone(tmp_path: Path, pixels: np.ndarray) -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    open_photo(write(tmp_path / "a.png", pixels))
    assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))


def test_postscript_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    assert "not a photo" in refused(tmp_path / "a.eps").message


# ----------------------------------------------------------------------------------------------- saving


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
def test_metadata_is_kept(tmp_path: Path, pixels: np.ndarray, source: str, target: str) -> None:
    photo = open_photo(write(tmp_path / f"a{source}", pixels, exif=exif(6).tobytes()))
    save_photo(photo, photo.pixels, tmp_path / f"b{target}")
    tags = tags_of(open_photo(tmp_path / f"b{target}"))
    assert tags.get(0x0112, 1) == 1
    assert (tags[0x010F], tags[0x8298]) == ("Maker", "Someone")
    assert tags.get_ifd(0x8769)[36867] == "2024:05:06 07:08:09"
    assert tags.get_ifd(0x8825)[2] == (48.0, 12.0, 3.5)


def test_lossless_formats_and_alpha(tmp_path: Path, pixels: np.ndarray) -> None:
    alpha = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    photo = open_photo(write(tmp_path / "a.png", np.dstack([pixels, alpha])))
    edited = pixels[::-1].copy()
    for suffix in (".png", ".tif", ".TIFF"):
        save_photo(photo, edited, tmp_path / f"b{suffix}")
        again = open_photo(tmp_path / f"b{suffix}")
        assert np.array_equal(again.pixels, edited)
        assert again.alpha is not None and np.array_equal(again.alpha, alpha)
    save_photo(photo, edited, tmp_path / "b.webp")
    assert open_photo(tmp_path / "b.webp").alpha is not None
    for suffix in (".jpg", ".bmp"):
        save_photo(photo, edited, tmp_path / f"b{suffix}")
        again = open_photo(tmp_path / f"b{suffix}")
        assert again.alpha is None and (again.pixels[:, 0] > 240).all(), "transparent becomes white"


def test_jpeg_keeps_full_colour_resolution(tmp_path: Path, pixels: np.ndarray) -> None:
    photo = open_photo(write(tmp_path / "a.png", pixels))
    save_photo(photo, pixels, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        layers = vars(image)["layer"]
        assert [layer[1:3] for layer in layers] == [(1, 1)] * 3


def test_grey_stays_grey(tmp_path: Path, pixels: np.ndarray) -> None:
    photo = open_photo(write(tmp_path / "a.jpg", pixels[..., 0], dpi=(300, 300)))
    for suffix in (".jpg", ".png", ".tif", ".bmp"):
        save_photo(photo, photo.pixels, tmp_path / f"b{suffix}")
        with Image.open(tmp_path / f"b{suffix}") as image:
            assert image.mode == "L" and round(float(image.info["dpi"][0])) == 300
    coloured = photo.pixels.copy()
    coloured[0, 0] = (255, 0, 0)
    save_photo(photo, coloured, tmp_path / "c.png")
    assert np.array_equal(open_photo(tmp_path / "c.png").pixels, coloured)


def test_refusals_when_saving(tmp_path: Path, pixels: np.ndarray) -> None:
    photo = open_photo(write(tmp_path / "a.png", pixels))
    original = (tmp_path / "a.png").read_bytes()
    (tmp_path / "folder.png").mkdir()
    for path in ("a.png", "a.xyz", "a", "folder.png", "none/b.png", "x" * 300 + ".png"):
        with pytest.raises(StudioError) as caught:
            save_photo(photo, pixels, tmp_path / path)
        assert caught.value.hint, path
    with pytest.raises(StudioError):
        save_photo(photo, pixels, tmp_path / "q.jpg", quality=0)
    with pytest.raises(ValueError):
        save_photo(photo, pixels[1:], tmp_path / "q.jpg")
    assert (tmp_path / "a.png").read_bytes() == original
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "folder.png"]


def test_too_large_for_the_format(tmp_path: Path) -> None:
    photo = open_photo(write(tmp_path / "a.png", np.zeros((1, 17_000, 3), np.uint8)))
    with pytest.raises(StudioError, match="16383"):
        save_photo(photo, photo.pixels, tmp_path / "b.webp")
    assert not (tmp_path / "b.webp").exists()


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), ValueError("odd"), KeyboardInterrupt()]
)
def test_failed_save_leaves_everything_as_it_was(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    photo = open_photo(write(tmp_path / "a.png", pixels))
    original = (tmp_path / "a.png").read_bytes()

    def fail(self: Image.Image, file: object, *args: object, **kwargs: object) -> None:
        file.write(b"half a photo")  # type: ignore[attr-defined]
        raise failure

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises((StudioError, KeyboardInterrupt)):
        save_photo(photo, pixels[::-1].copy(), tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == original
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_overwrite_keeps_permissions_and_links(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.png", pixels)
    path.chmod(0o640)
    (tmp_path / "link.png").symlink_to(path)
    photo = open_photo(tmp_path / "link.png")
    save_photo(photo, pixels[::-1].copy(), tmp_path / "link.png", overwrite=True)
    assert (tmp_path / "link.png").is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert np.array_equal(open_photo(path).pixels, pixels[::-1])


def test_odd_metadata_does_not_keep_from_saving(tmp_path: Path, pixels: np.ndarray) -> None:
    photo = open_photo(write(tmp_path / "a.png", pixels, exif=exif().tobytes()))
    odd = Photo(photo.path, photo.pixels, None, None, b"Exif\0\0II*\0" + b"\xff" * 70_000, "PNG", False)
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        save_photo(odd, odd.pixels, tmp_path / f"b{suffix}")
        assert open_photo(tmp_path / f"b{suffix}").width == 64
