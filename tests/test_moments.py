"""The classifier of places: what its moments say, what its lines learn, what a thousand labels teach it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.benchmarks.dsprites import DSpritesRenderer, draw
from core.cli.train import preset_path
from core.errors import StudioError
from core.nets.build import NetworkConfig, Networks
from core.nets.moments import BEYOND, Centred, Lines, Moments
from core.training.benchmark_data import prepare_benchmark
from core.training.config import load_config
from core.training.dataset import Dataset
from core.training.loop import Trainer
from core.training.run import Run

CPU = torch.device("cpu")


def square(left: int, top: int, side: int = 10) -> torch.Tensor:
    image = torch.full((1, 1, 64, 64), -1.0)
    image[..., top : top + side, left : left + side] = 1.0
    return image


def test_mass_and_centre_are_those_of_the_square() -> None:
    mass, x, y = Moments(1).measured(square(8, 40))[0, :3].tolist()
    assert mass == pytest.approx(10.0)  # its side
    assert (x * 64 + 32, y * 64 + 32) == pytest.approx((13.0, 45.0))


def test_shorter_numbers_don_t_shorten_moments() -> None:
    torch.manual_seed(0)
    moments, images = Moments(1), torch.cat([square(8, 40), square(9, 40)])
    lines = Lines(moments.features, [4, 3])
    wanted = lines(moments(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lines(moments(images)), wanted)


def test_only_networks_of_one_thing_on_black_have_moments() -> None:
    with pytest.raises(StudioError, match="no classifier “moments”"):
        Networks(NetworkConfig(kind="style", classifier="moments"), [2])
    with pytest.raises(StudioError, match="no classifier “lite0”"):
        Networks(NetworkConfig(kind="vae", classifier="lite0"), [2])
    with pytest.raises(StudioError, match="no encoder “centred”"):
        Networks(NetworkConfig(kind="style", encoder="centred"), [2])


def test_a_centred_thing_has_lost_its_place_and_size_only() -> None:
    def shown(shape: int, scale: int, orientation: int, x: int, y: int) -> torch.Tensor:
        pixels = draw(np.array([[shape, scale, orientation, x, y]]))[..., 0]
        return Centred()(torch.from_numpy(pixels)[:, None].float() / 127.5 - 1)

    ellipse = shown(1, 5, 8, 3, 25)
    assert ellipse.shape == (1, 1, 64, 64) and ellipse.min() >= -1 and ellipse.max() <= 1
    # the whole of it, in the middle
    assert ellipse[..., [0, -1], :].max() < -0.9 and ellipse[..., [0, -1]].max() < -0.9
    mass, x, y = Moments(1).measured(ellipse)[0, :3].tolist()
    assert (mass, x, y) == pytest.approx((32, 0, 0), abs=0.5)

    def apart(other: torch.Tensor) -> float:
        return (other - ellipse).abs().mean().item()

    same = [apart(shown(1, 5, 8, 20, 4)), apart(shown(1, 2, 8, 3, 25))]
    others = [apart(shown(1, 5, 12, 3, 25)), apart(shown(2, 5, 8, 3, 25)), apart(shown(0, 5, 8, 3, 25))]
    assert max(same) < 0.5 * min(others)
    black = Centred()(torch.full((1, 1, 64, 64), -1.0))
    assert (black == -1).all()


def test_moments_about_the_centre_don_t_depend_on_the_place() -> None:
    moments = Moments(1)
    here, there = (moments.measured(square(*place))[0] for place in ((3, 5), (41, 22)))
    assert torch.allclose(here[3:], there[3:], atol=1e-4)
    assert not torch.allclose(here[1:3], there[1:3], atol=0.1)
    # a square's variance is a twelfth of its side's square, its mass that square; an even form leans nowhere
    named = dict(zip(moments.orders, here[3:].tolist(), strict=True))
    assert named[2, 0] == pytest.approx(99 / 1200, abs=1e-4) and named[0, 2] == pytest.approx(
        99 / 1200, abs=1e-4
    )
    assert named[1, 1] == pytest.approx(0, abs=1e-5) and named[3, 0] == pytest.approx(0, abs=1e-4)


def test_a_black_picture_has_moments_too() -> None:
    assert bool(Moments(3).measured(torch.full((2, 3, 64, 64), -1.0)).isfinite().all())


def test_moments_are_standardised_by_what_they_were_fitted_to() -> None:
    torch.manual_seed(0)
    images, moments = torch.rand(60, 1, 64, 64) * 2 - 1, Moments(1)
    moments.fit(images.split(20))
    found = moments(images)
    assert torch.allclose(found.mean(0), torch.zeros(moments.features), atol=1e-3)
    assert torch.allclose(found.std(0, unbiased=False), torch.ones(moments.features), atol=1e-2)


def test_lines_find_an_order_that_nobody_named() -> None:
    """Twenty values in a shuffled order along a hidden direction, one of them without any label."""
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(20, generator=generator)
    values = torch.arange(400) % 20
    features = torch.randn(400, 6, generator=generator)
    direction = torch.tensor([0.3, -0.8, 0.1, 0.4, 0.2, 0.25])
    wanted = order[values].float()
    features += ((wanted - features @ direction) / direction.square().sum())[:, None] * direction
    labels = torch.stack([torch.where(values == 7, -1, values), torch.full((400,), -1)], 1)
    lines = Lines(6, [20, 3])
    untouched = lines.places[1].clone()
    lines.begin(features, labels)
    seen = lines(features)[:, :20].argmax(1)
    assert bool((seen == values)[values != 7].all())
    places = lines.places[0].detach()
    assert float(places[7]) == pytest.approx(float(places[torch.arange(20) != 7].max()) + BEYOND, abs=1e-3)
    known = torch.arange(20) != 7
    ranks = places[known].argsort().argsort()
    wanted_ranks = order[known].argsort().argsort()
    assert torch.equal(ranks, wanted_ranks) or torch.equal(ranks, 18 - wanted_ranks)
    assert torch.equal(lines.places[1], untouched)  # no labels, no line


def test_a_thousand_labels_teach_the_places_of_sprites(tmp_path: Path) -> None:
    config = load_config(preset_path("dsprites-quick"), ["warmup.steps=800"])
    prepare_benchmark(DSpritesRenderer(), tmp_path / "data", config.benchmark.attributes, 1500, 1000, 600)
    dataset = Dataset.open(tmp_path / "data")
    run = Run.start(tmp_path / "run", config)
    trainer = Trainer(config, dataset.part("train"), run, CPU)
    trainer._enter(0)
    assert trainer.run_stage(None)
    held = dataset.part("held_out")
    images, _ = held.batch(np.arange(600), 64)
    seen = torch.stack([v.argmax(1) for v in trainer.state.average.classifier(images)], 1).numpy()
    right = (seen == held.label_array()).mean(0)
    assert right.min() > 0.9, right


def test_networks_of_the_kind_vae_can_have_it() -> None:
    networks = Networks(
        NetworkConfig(kind="vae", classifier="moments", image_channels=1, residual_dim=4), [3, 5]
    )
    drawn = torch.from_numpy(draw(np.array([(0, 3, 0, 4, 9), (2, 5, 11, 30, 1)]))).permute(0, 3, 1, 2)
    found = networks.classifier(drawn / 127.5 - 1)
    assert [tuple(v.shape) for v in found] == [(2, 3), (2, 5)]
