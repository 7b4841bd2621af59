"""Where attributes are seen, and what a change beyond that costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.training import losses, stages
from core.training.batch import Batch, make_batch
from core.training.dataset import Dataset
from core.training.loop import Trainer
from core.training.regions import SIDE, Regions, seen_in
from core.training.run import Run
from core.training.state import STAGES, TrainState
from core.training.swaps import Swaps, shown_swaps
from tests.synthetic import draw_faces, faces_attributes, tiny_config, write_dataset

NAMES = [a.name for a in faces_attributes()]
COUNTS = [len(a.values) for a in faces_attributes()]


def maps_of_drawings(count: int) -> dict[str, torch.Tensor]:
    drawn, labels = draw_faces(count, 2 * SIDE, seed=3)
    pictures = F.avg_pool2d(torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1, 2)
    columns = torch.from_numpy(labels.astype(np.int64)).T
    shares = torch.cat([F.one_hot(c, n) for c, n in zip(columns, COUNTS, strict=True)], 1).float()
    inside = torch.ones(count, SIDE, SIDE)
    inside[::3, :, :4] = 0.0
    found = seen_in(shares, pictures * inside[:, None], inside, COUNTS)
    assert found.shape == (sum(COUNTS), SIDE, SIDE)
    assert float(found.min()) >= 0.0 and float(found.max()) <= 1.0
    return dict(zip(NAMES, found.split(COUNTS), strict=True))


def test_values_are_found_where_they_are_drawn() -> None:
    maps = maps_of_drawings(900)
    top, eyes, mouth, chin = (3, 16), (14, 11), (23, 16), (29, 16)
    for hair in maps["hair_color"]:
        assert hair[top] > 0.9 and hair[mouth] < 0.05 and hair[chin] < 0.3
    for glasses in maps["glasses"]:
        assert glasses[eyes] > 0.9 and glasses[top] < 0.05 and glasses[chin] < 0.05
    for smile in maps["smile"]:
        assert smile[mouth] > 0.8 and smile[top] < 0.05 and smile[eyes] < 0.2
    # where no image is known, nothing is seen
    x = torch.eye(2).repeat(20, 1)
    pictures = x[:, :1, None, None].expand(-1, 3, 16, 16).contiguous()
    inside = torch.ones(40, 16, 16)
    inside[:, :, 8:] = 0.0
    for half in seen_in(x, pictures * inside[:, None], inside, [2]):
        assert float(half[:, :6].min()) > 0.9 and float(half[:, 14:].max()) == 0.0


def test_each_value_has_its_own_place_and_chance_has_none() -> None:
    """Of one attribute's values the second is a mark on the left, the third one on the right; then noise."""
    rng = torch.Generator().manual_seed(0)
    values, other = (torch.randint(n, (600,), generator=rng) for n in (3, 2))
    pictures = torch.randn(600, 3, SIDE, SIDE, generator=rng)
    pictures[values == 1, :, 12:20, 2:10] += 2.0
    pictures[values == 2, :, 12:20, 22:30] += 2.0
    shares = torch.cat([F.one_hot(values, 3), F.one_hot(other, 2)], 1).float()
    left, right, far = (16, 6), (16, 26), (4, 16)
    first, second, third, *nowhere = seen_in(shares, pictures, torch.ones(600, SIDE, SIDE), [3, 2])
    for found in (first, second, third):  # from the second to the third both marks are seen
        assert found[left] > 0.9 and found[right] > 0.9 and found[far] == 0.0
    assert all(float(found.max()) == 0.0 for found in nowhere)
    # a mark on one side only is on both where mirrored pictures are as good
    pictures[values == 2, :, 12:20, 22:30] -= 2.0
    for mirrored in (False, True):
        found = seen_in(shares, pictures, torch.ones(600, SIDE, SIDE), [3, 2], mirrored)
        assert found[1][left] > 0.9 and (found[1][right] > 0.9) == mirrored
        assert torch.equal(found, found.flip(2)) == mirrored


def test_a_second_swap_has_its_own_region() -> None:
    regions = Regions([2, 3])
    regions.maps.zero_()
    regions.maps[1, :16] = 1.0  # the second value of the first attribute
    regions.maps[4, 16:] = 1.0  # the last of the other
    numbers = torch.tensor
    codes = torch.zeros(4, 2, 1)
    swaps = Swaps(
        codes, numbers([0, 1, 0, 0]), numbers([1, 2, 1, 0]), numbers([-1, -1, 1, 1]), numbers([0, 0, 2, 0])
    )
    found = swaps.region(regions, 64)
    assert found.shape == (4, 1, 64, 64)
    assert torch.equal(found[0, 0, 0], torch.ones(64)) and torch.equal(found[0, 0, -1], torch.zeros(64))
    assert torch.equal(found[1, 0, 0], torch.zeros(64)) and torch.equal(found[1, 0, -1], torch.ones(64))
    assert float(found[2].amin()) >= 0.49  # half way where both meet
    assert float(found[3].max()) == 0.0


def test_a_change_beyond_its_region_costs_more() -> None:
    mask = torch.ones(1, 1, 32, 32)
    left, right = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    left[..., 6:10], right[..., 22:26] = 0.3, 0.3
    weights = torch.ones(1, 1, 32, 32)
    weights[..., 16:] = 5.0
    same = [float(losses.nearness(c, mask)) for c in (left, right)]
    here, beyond = (float(losses.nearness(c, mask, weights=weights)) for c in (left, right))
    assert abs(same[0] - same[1]) < 1e-6 and abs(here - same[0]) < 1e-6
    assert abs(beyond - 5 * here) < 1e-5


def test_stage_3_begins_with_the_regions_and_a_checkpoint_keeps_them(tmp_path: Path) -> None:
    config = tiny_config("synthesis.beyond=4.0", "synthesis.nearness=0.3")
    dataset = Dataset.open(write_dataset(tmp_path / "data", 240))
    run = Run.start(tmp_path / "run", config)
    trainer = Trainer(config, dataset, run, torch.device("cpu"))
    assert trainer.state.regions is not None
    assert float(trainer.state.regions.maps.min()) == 1.0
    trainer._enter(STAGES.index("synthesis"))
    maps = trainer.state.regions.maps.clone()
    hair = maps.split(COUNTS)[NAMES.index("hair_color")][0]
    assert hair[3, 16] > 0.9 and hair[23, 16] < 0.5
    trainer.checkpoint()
    again = Trainer(config, dataset, run, torch.device("cpu"))
    again.resume()
    assert again.state.regions is not None and torch.equal(again.state.regions.maps, maps)
    # a checkpoint in which an attribute had one map for all of its values
    stored = run.load_checkpoint()
    assert stored is not None
    older = torch.rand(len(COUNTS), SIDE, SIDE)
    run.save_checkpoint(stored[0] | {"regions.maps": older}, stored[1])
    again.resume()
    for found, old in zip(again.state.regions.maps.split(COUNTS), older, strict=True):
        assert torch.equal(found, old.expand_as(found))


def test_beyond_its_region_a_change_persuades_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide is shown the picture without a swap there."""
    config = tiny_config("synthesis.beyond=4.0", "synthesis.nearness=0.3", "synthesis.swapping=0.5")
    dataset = Dataset.open(write_dataset(tmp_path / "data", 48))
    images, mask = dataset.batch(np.arange(8), 32)
    labels = torch.from_numpy(dataset.label_array()[:8])
    batch = make_batch(images, images, mask, labels, torch.arange(8), 16, torch.Generator().manual_seed(0))
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def shown(batch: Batch, told: torch.Tensor, made: torch.Tensor, grain: float) -> torch.Tensor:
        pairs.append((told.detach(), made.detach()))
        return shown_swaps(batch, told, made, grain)

    monkeypatch.setattr(stages, "shown_swaps", shown)
    for everywhere in (0.0, 1.0, 0.5):
        state = TrainState.fresh(config, COUNTS, 48, torch.device("cpu"))
        state.features = stages.perceptual_features(state.networks.classifier)
        assert state.regions is not None
        state.regions.maps.fill_(everywhere)
        state.optimizers = stages.make_optimizers(config, state, "synthesis")
        stages.step(config, state, batch, "synthesis", 0.5)
    (nowhere, made), (whole, same), (half, _) = pairs
    assert torch.equal(made, same) and float((whole - made).abs().max()) > 1e-3
    assert torch.allclose(nowhere, made, atol=1e-6)
    assert torch.allclose(half - made, (whole - made) / 2, atol=1e-6)
