"""Benchmarks: index and factors, renderers that show every factor, and the originals' own file formats."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from core.benchmarks import dsprites, shapes3d
from core.benchmarks.base import Benchmark, Grid, attributes_of
from core.benchmarks.cars3d import Cars3DFiles
from core.benchmarks.catalogue import open_benchmark
from core.benchmarks.smallnorb import PARTS, SmallNORBFiles
from core.errors import StudioError

RENDERERS = [
    (dsprites, dsprites.DSpritesRenderer(), 737_280, 1),
    (shapes3d, shapes3d.Shapes3DRenderer(), 480_000, 3),
]
both = pytest.mark.parametrize(
    ("module", "benchmark", "count", "channels"), RENDERERS, ids=["dsprites", "shapes3d"]
)


def some(benchmark: Benchmark, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(benchmark), count, replace=False)


# ---- the grid


def test_last_factor_is_fastest_and_the_mapping_is_invertible():
    grid = Grid((3, 4, 5))
    every = np.arange(len(grid))
    assert len(grid) == 60
    assert grid.factors(np.array([0, 1, 5, 59])).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [2, 3, 4]]
    assert (grid.indices(grid.factors(every)) == every).all()


@pytest.mark.parametrize("bad", [[-1], [60], [0.5], [[0, 1]]])
def test_indices_outside_are_refused(bad):
    with pytest.raises(IndexError):
        Grid((3, 4, 5)).factors(np.array(bad))


# ---- renderers


@both
def test_renders_have_the_originals_size_and_are_the_same_every_time(module, benchmark, count, channels):
    indices = some(benchmark, 12)
    images = benchmark.images(indices)
    assert len(benchmark) == count
    assert images.shape == (12, 64, 64, channels) and images.dtype == np.uint8
    assert (images == module.render(indices)).all()
    # an image depends on its own index only
    assert (benchmark.images(indices[::-1]) == images[::-1]).all()
    assert benchmark.images(np.array([], dtype=np.int64)).shape == (0, 64, 64, channels)


@both
def test_one_step_of_every_factor_changes_every_image(module, benchmark, count, channels):
    start = benchmark.factors(some(benchmark, 24, seed=1))
    images = benchmark.images(benchmark.grid.indices(start))
    for factor, size in enumerate(benchmark.factor_sizes):
        moved = start.copy()
        moved[:, factor] += np.where(moved[:, factor] < size - 1, 1, -1)
        changed = (benchmark.images(benchmark.grid.indices(moved)) != images).any(axis=3).sum(axis=(1, 2))
        assert (changed > 0).all(), benchmark.factor_names[factor]


@both
def test_factors_can_be_read_back_from_images(module, benchmark, count, channels):
    """Of all values of one factor, the image with the true one is the only one that fits."""
    truth = benchmark.factors(some(benchmark, 3, seed=2))
    for row in truth:
        image = benchmark.images(benchmark.grid.indices(row[None]))
        for factor, size in enumerate(benchmark.factor_sizes):
            candidates = np.repeat(row[None], size, axis=0)
            candidates[:, factor] = np.arange(size)
            same = (benchmark.images(benchmark.grid.indices(candidates)) == image).all(axis=(1, 2, 3))
            if benchmark.factor_names[factor] == "orientation":
                continue  # symmetries: tested below
            assert np.flatnonzero(same).tolist() == [row[factor]]


def test_sprites_are_where_and_as_large_as_the_originals():
    def extent(shape, scale, orientation, x, y):
        on = dsprites.draw(np.array([[shape, scale, orientation, x, y]]))[0, :, :, 0] > 0
        rows, columns = np.flatnonzero(on.any(axis=1)), np.flatnonzero(on.any(axis=0))
        return int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])

    assert extent(0, 5, 0, 0, 0) == (7, 24, 7, 24)
    assert extent(1, 5, 0, 0, 0) == (3, 28, 9, 22)
    assert extent(2, 5, 0, 0, 0) == (6, 25, 7, 23)
    assert extent(0, 5, 0, 31, 31) == (39, 56, 39, 56)
    assert set(np.unique(dsprites.render(np.arange(0, 700_000, 9_999)))) == {0, 255}


def test_sprites_turn_anticlockwise_and_end_where_they_began():
    images = dsprites.draw(np.array([[2, 5, o, 16, 16] for o in range(40)]))[..., 0].astype(int)
    assert (images[0] == images[39]).all()
    distinct = {image.tobytes() for image in images}
    assert len(distinct) == 39
    # after a quarter turn the heart's tip, which was at the bottom, is on the right
    heights = (images[10] > 0).sum(axis=0)
    heights = heights[heights > 0]
    assert heights[-4:].mean() < 8 < heights[:4].mean()


def test_colours_of_the_room_are_where_they_should_be():
    images = shapes3d.draw(np.array([[0, 6, 3, 4, 2, 7], [3, 9, 0, 4, 2, 7]]))
    assert images[0, 2, 32].tolist() == [153, 226, 249]  # sky
    red, green, blue = images[0, 60, 10].astype(int)
    assert red > 200 and green < 10 and blue < 10  # floor of hue 0
    red, green, blue = images[0, 25, 5].astype(int)
    assert blue > 200 and red < 10  # wall of hue 0.6
    red, green, blue = images[0, 44, 32].astype(int)
    assert green > 150 and blue < 60  # object of hue 0.3
    assert images[1, 44, 32].argmax() == 0 and images[1, 60, 10].argmax() == 1


def test_objects_grow_with_scale_and_the_camera_goes_round():
    def object_pixels(scale, azimuth, shape=0):
        a = shapes3d.draw(
            np.array([[0, 5, 3, scale, shape, azimuth], [0, 5, 8, scale, shape, azimuth]])
        ).astype(int)
        return (np.abs(a[0] - a[1]).sum(axis=2) > 60).sum()

    for shape in range(4):
        sizes = [object_pixels(scale, 7, shape) for scale in range(8)]
        assert sizes == sorted(sizes) and len(set(sizes)) == 8
    left, right = shapes3d.draw(np.array([[0, 5, 3, 0, 2, 0], [0, 5, 3, 0, 2, 14]])).astype(int)
    # the wall's corner, a step in brightness high on the wall, is on the right first and then on the left
    steps = [np.abs(np.diff(image[22, :, 1])).argmax() for image in (left, right)]
    assert steps[0] > 40 and steps[1] < 24


# ---- the originals' files


def test_dsprites_archive(tmp_path):
    grid = Grid((1, 3, 2, 2, 2, 2))
    classes = grid.factors(np.arange(len(grid)))
    images = np.random.default_rng(0).integers(0, 2, (len(grid), 64, 64)).astype(np.uint8)
    path = tmp_path / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    np.savez_compressed(
        path, imgs=images, latents_classes=classes, latents_values=classes.astype(float),
        metadata=np.array({"title": "dSprites"}, dtype=object),
    )  # fmt: skip
    for _ in range(2):  # the second time from the cache
        read = dsprites.DSpritesFile(path, cache=tmp_path / "cache")
        wanted = np.array([47, 0, 3, 3])
        assert len(read) == 48 and read.factor_sizes == (3, 2, 2, 2, 2)
        assert (read.factors(wanted) == classes[wanted, 1:]).all()
        assert (read.images(wanted)[..., 0] == images[wanted] * 255).all()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_dsprites_archives_that_are_none(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    other = tmp_path / "other.npz"
    np.savez(other, imgs=np.zeros((4, 32, 32), np.uint8), latents_classes=np.zeros((4, 6), np.int64))
    for path in (broken, other):
        with pytest.raises(StudioError, match="can't be read as dSprites"):
            dsprites.DSpritesFile(path, cache=tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*"))  # nothing half written stays


def test_shapes3d_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    grid = Grid((2, 2, 2, 2, 4, 3))
    factors = grid.factors(np.arange(len(grid)))
    values = factors * np.array([0.1, 0.1, 0.1, 0.5 / 7, 1, 60 / 14]) + np.array([0, 0, 0, 0.75, 0, -30])
    images = np.random.default_rng(0).integers(0, 256, (len(grid), 64, 64, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["images"], file["labels"] = images, values
    read = shapes3d.Shapes3DFile(tmp_path / "3dshapes.h5")
    assert read.factor_sizes == grid.sizes and len(read) == len(grid)
    for wanted in (np.array([150, 2, 2, 77]), np.arange(10, 20), np.array([], dtype=int)):
        assert (read.images(wanted) == images[wanted]).all()
        assert (read.factors(wanted) == factors[wanted]).all()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["pictures"] = images
    (tmp_path / "broken.h5").write_bytes(b"no file")
    for name in ("other.h5", "broken.h5"):
        with pytest.raises(StudioError, match="can't be read as 3D Shapes"):
            shapes3d.Shapes3DFile(tmp_path / name)


def test_shapes3d_without_h5py_says_what_to_do(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StudioError, match="pip install h5py"):
        shapes3d.Shapes3DFile(tmp_path / "3dshapes.h5")


def test_cars3d_files(tmp_path):
    originals = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3, 4, 2), dtype=np.uint8)
    for car, images in enumerate(originals):
        savemat(tmp_path / f"car_{car:03d}_mesh.mat", {"im": images}, do_compression=True)
    read = Cars3DFiles(tmp_path)
    assert read.factor_sizes == (2, 4, 3) and len(read) == 24
    wanted = np.array([23, 0, 7])
    for image, (elevation, azimuth, car) in zip(read.images(wanted), read.factors(wanted), strict=True):
        original = Image.fromarray(np.ascontiguousarray(originals[car, :, :, :, azimuth, elevation]))
        assert (image == np.asarray(original.resize((64, 64), Image.Resampling.LANCZOS))).all()
    (tmp_path / "car_000_mesh.mat").write_bytes(b"broken")
    with pytest.raises(StudioError, match="can't be read as a car"):
        Cars3DFiles(tmp_path)
    with pytest.raises(StudioError, match=r"no \.mat files"):
        Cars3DFiles(tmp_path / "nowhere")


def write_norb(path, array, magic):
    sizes = list(array.shape) + [1] * (3 - array.ndim)
    head = np.array([magic, array.ndim, *sizes], dtype="<i4")
    path.write_bytes(head.tobytes() + np.ascontiguousarray(array).tobytes())


def test_smallnorb_files(tmp_path):
    rng = np.random.default_rng(0)
    pictures = {}
    for part, instances in zip(PARTS, ((4, 6), (0, 1)), strict=True):
        factors = Grid((2, 2, 2, 2, 2)).factors(np.arange(32))
        rng.shuffle(factors)
        images = rng.integers(0, 256, (32, 2, 96, 96), dtype=np.uint8)
        info = factors[:, 1:].copy()
        info[:, 0] = np.array(instances)[info[:, 0]]
        info[:, 2] *= 2
        write_norb(tmp_path / f"{part}-dat.mat", images, 0x1E3D4C55)
        write_norb(tmp_path / f"{part}-cat.mat", factors[:, 0].astype("<i4"), 0x1E3D4C54)
        write_norb(tmp_path / f"{part}-info.mat", info.astype("<i4"), 0x1E3D4C54)
        for category, row, image in zip(factors[:, 0], info, images, strict=True):
            pictures[(category, row[0], row[1], row[2] // 2, row[3])] = image[0]
    read = SmallNORBFiles(tmp_path)
    every = np.arange(len(read))
    found = read.factors(every)
    assert len(read) == 64 and read.factor_sizes == (2, 7, 2, 2, 2)
    assert found.tolist() == sorted(found.tolist())
    wanted = np.array([63, 5, 20])
    for image, key in zip(read.images(wanted), found[wanted], strict=True):
        original = Image.fromarray(pictures[tuple(key)]).resize((64, 64), Image.Resampling.LANCZOS)
        assert (image[:, :, 0] == np.asarray(original)).all()


def test_smallnorb_files_that_are_packed_missing_or_short(tmp_path):
    with pytest.raises(StudioError, match="can't be read as SmallNORB"):
        SmallNORBFiles(tmp_path)
    packed = tmp_path / f"{PARTS[0]}-dat.mat.gz"
    packed.write_bytes(b"")
    with pytest.raises(StudioError, match="still packed"):
        SmallNORBFiles(tmp_path)
    packed.unlink()
    write_norb(tmp_path / f"{PARTS[0]}-dat.mat", np.zeros((4, 2, 96, 96), np.uint8), 0x1E3D4C55)
    whole = (tmp_path / f"{PARTS[0]}-dat.mat").read_bytes()
    for broken in (whole[:-100], b"MATLAB 5.0 MAT-file", b""):
        (tmp_path / f"{PARTS[0]}-dat.mat").write_bytes(broken)
        with pytest.raises(StudioError, match="can't be read as SmallNORB"):
            SmallNORBFiles(tmp_path)


# ---- by name


def test_catalogue(tmp_path):
    assert open_benchmark("dsprites").name == "dsprites" and open_benchmark("shapes3d").name == "shapes3d"
    with pytest.raises(StudioError, match="no benchmark"):
        open_benchmark("mpi3d")
    with pytest.raises(StudioError, match="can't be rendered"):
        open_benchmark("cars3d")
    with pytest.raises(StudioError, match="nothing at"):
        open_benchmark("smallnorb", tmp_path / "nowhere")


def test_factors_as_attributes():
    chosen = attributes_of(open_benchmark("shapes3d"), ["floor_color", "shape"])
    assert [a.name for a in chosen] == ["floor_color", "shape"]
    assert [len(a.values) for a in chosen] == [10, 4] and chosen["floor_color"].title == "Floor color"
    assert len(attributes_of(open_benchmark("dsprites"))) == 5
    with pytest.raises(StudioError, match="no factor"):
        attributes_of(open_benchmark("dsprites"), ["hue"])
