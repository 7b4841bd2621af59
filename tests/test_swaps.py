"""Random swaps of stage 3: what they set, and what is asked of those that come after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.training import losses, stages
from core.training.asking import Asking
from core.training.batch import Batch, make_batch
from core.training.dataset import Dataset
from core.training.state import TrainState
from core.training.swaps import random_swaps, swap_losses
from tests.synthetic import tiny_config, write_dataset

COUNTS = (2, 3, 4)
TABLES = [torch.arange(2 * count).reshape(count, 2) + 100.0 * k for k, count in enumerate(COUNTS)]


def drawn(count: int = 400) -> Batch:
    empty = torch.zeros(count, 3, 8, 8)
    labels = torch.zeros(count, len(COUNTS), dtype=torch.int64)
    rows = torch.full((count,), -1)
    return make_batch(empty, empty, empty[:, :1], labels, rows, 4, torch.Generator().manual_seed(1))


def test_one_swap_sets_one_attribute() -> None:
    batch = drawn()
    codes = torch.full((400, 3, 2), -1.0)
    swaps = random_swaps(TABLES, codes, batch)
    assert bool((swaps.second == -1).all())
    assert bool(((swaps.codes != codes).any(2).sum(1) == 1).all())
    for i in range(400):
        k, value = int(swaps.attribute[i]), int(swaps.value[i])
        assert torch.equal(swaps.codes[i, k], TABLES[k][value])
    before = torch.ones(400, 3, dtype=torch.int64)
    assert torch.equal(swaps.told(before), before)
    assert bool((codes == -1).all())  # the images' own codes stay as they are


def test_a_pair_sets_another_attribute_as_well() -> None:
    batch = drawn()
    codes = torch.full((400, 3, 2), -1.0)
    swaps = random_swaps(TABLES, codes, batch, pairs=0.25)
    paired = swaps.second >= 0
    assert 60 < int(paired.sum()) < 140
    assert bool((swaps.second[paired] != swaps.attribute[paired]).all())
    assert torch.equal((swaps.codes != codes).any(2).sum(1), torch.where(paired, 2, 1))
    assert {(int(k), int(v)) for k, v in zip(swaps.second, swaps.second_value, strict=True) if k >= 0} == {
        (k, v) for k, count in enumerate(COUNTS) for v in range(count)
    }
    told = swaps.told(torch.full((400, 3), -1))
    assert torch.equal((told >= 0).sum(1), paired.long())
    photos = [torch.full((400, count), 1 / count) for count in COUNTS]
    for i in torch.where(paired)[0][:20].tolist():
        k, value = int(swaps.second[i]), int(swaps.second_value[i])
        assert torch.equal(swaps.codes[i, k], TABLES[k][value])
        assert told[i, k] == value
        clear = swaps.clear(photos)
        assert clear[k][i, value] == 1.0 and clear[k][i].sum() == 1.0
        other = next(j for j in range(3) if j != k)
        assert torch.equal(clear[other][i], photos[other][i])


def test_an_only_attribute_has_no_second() -> None:
    batch = replace(drawn(), swap_attribute=torch.zeros(400, dtype=torch.int64))
    swaps = random_swaps(TABLES[:1], torch.zeros(400, 1, 2), batch, pairs=1.0)
    assert bool((swaps.second == -1).all())


def test_the_swap_before_is_to_stay(tmp_path: Path) -> None:
    """A classifier that sees what an image was: the loss of a pair is larger by what its first swap lost."""
    dataset = Dataset.open(write_dataset(tmp_path / "data", 24))
    config = tiny_config("guide.steps=1", "synthesis.swapping=1.0")
    counts = [len(a.values) for a in dataset.attributes]
    state = TrainState.fresh(config, counts, 24, torch.device("cpu"))
    state.features = stages.perceptual_features(state.networks.classifier)
    state.asking = Asking(counts, 0.9)
    assert len(state.guides) == 1
    images, mask = dataset.batch(np.arange(12), 32)
    labels = torch.from_numpy(dataset.label_array()[:12])
    batch = make_batch(images, images, mask, labels, torch.arange(12), 16, torch.Generator().manual_seed(0))
    # an attribute that is to be as it was already, and of the other the last value
    batch = replace(batch, swap_attribute=torch.zeros(12, dtype=torch.int64), swap_draw=torch.zeros(12))
    batch = replace(batch, second=torch.tensor([[0.0, 0.0, 0.99]] * 12))
    bias = torch.cat([torch.tensor([9.0, *[0.0] * (count - 1)]) for count in counts])
    for network in (state.guides[0], state.networks.classifier):
        with torch.no_grad():
            torch.nn.init.zeros_(network.head.weight)
            network.head.bias.copy_(bias)
    codes = torch.zeros(12, len(counts), state.networks.embeddings.tables[0].shape[1])
    seen = [torch.full((12, count), 1 / count) for count in counts]
    tables = list(state.networks.embeddings.tables)
    kept = []
    for pairs in (0.0, 1.0):
        swaps = random_swaps(tables, codes, batch, pairs)
        kept.append(float(swap_losses(state, batch, swaps, images, seen, batch.counts())[1].detach()))
    assert kept[0] == 0.0  # nothing is less clear than in the photo
    # all of the second attribute is lost, of those but the swapped one; twelve images, divided as if six
    assert kept[1] == pytest.approx(12 / 6 / losses.BOUND / (len(counts) - 1), rel=0.01)
