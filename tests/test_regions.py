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
from core.training.swaps import shown_swaps
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
    assert found.shape == (len(COUNTS), SIDE, SIDE)
    assert float(found.min()) >= 0.0 and float(found.max()) <= 1.0
    return dict(zip(NAMES, found, strict=True))


def test_attributes_are_found_where_they_are_drawn() -> None:
    maps = maps_of_drawings(900)
    top, eyes, mouth, chin = (3, 16), (14, 11), (23, 16), (29, 16)
    hair, glasses, smile = maps["hair_color"], maps["glasses"], maps["smile"]
    assert hair[top] > 0.9 and hair[mouth] < 0.05 and hair[chin] < 0.3
    assert glasses[eyes] > 0.9 and glasses[top] < 0.05 and glasses[chin] < 0.05
    assert smile[mouth] > 0.8 and smile[top] < 0.05 and smile[eyes] < 0.2
    # where no image is known, nothing is seen
    x = torch.eye(2).repeat(20, 1)
    pictures = x[:, :1, None, None].expand(-1, 3, 16, 16).contiguous()
    inside = torch.ones(40, 16, 16)
    inside[:, :, 8:] = 0.0
    half = seen_in(x, pictures * inside[:, None], inside, [2])[0]
    assert float(half[:, :6].min()) > 0.9 and float(half[:, 14:].max()) == 0.0


def test_a_second_swap_has_its_own_region() -> None:
    regions = Regions(2)
    regions.maps.zero_()
    regions.maps[0, :16] = 1.0
    regions.maps[1, 16:] = 1.0
    found = regions(torch.tensor([0, 1, 0]), torch.tensor([-1, -1, 1]), 64)
    assert found.shape == (3, 1, 64, 64)
    assert torch.equal(found[0, 0, 0], torch.ones(64)) and torch.equal(found[0, 0, -1], torch.zeros(64))
    assert torch.equal(found[1, 0, 0], torch.zeros(64)) and torch.equal(found[1, 0, -1], torch.ones(64))
    assert float(found[2].amin()) >= 0.49  # half way where both meet


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
    hair = maps[NAMES.index("hair_color")]
    assert hair[3, 16] > 0.9 and hair[23, 16] < 0.5
    trainer.checkpoint()
    again = Trainer(config, dataset, run, torch.device("cpu"))
    again.resume()
    assert again.state.regions is not None and torch.equal(again.state.regions.maps, maps)


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
