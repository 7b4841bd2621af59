"""The plain implementation that `bench train` measures against takes the same steps as ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.cli.bench_train import _whole
from core.training import stages
from core.training.batch import make_batch
from core.training.dataset import Dataset
from core.training.state import TrainState
from tests.bench.grouped import GroupedConv, contiguous, grouped_state
from tests.synthetic import tiny_config, write_dataset


@pytest.mark.parametrize("stage", ["disentanglement", "synthesis"])
def test_the_plain_generator_has_our_losses(stage: str, tmp_path: Path) -> None:
    config = tiny_config()
    dataset = Dataset.open(write_dataset(tmp_path / "data", 12))
    state = TrainState.fresh(config, [len(a.values) for a in dataset.attributes], 12, torch.device("cpu"))
    state.features = stages.perceptual_features(state.networks.classifier)
    plain = grouped_state(state)
    assert any(isinstance(m, GroupedConv) for m in plain.networks.modules())
    images, mask = dataset.batch(np.arange(6), 32)
    labels = torch.from_numpy(dataset.label_array()[:6])
    batch = make_batch(images, images, mask, labels, torch.arange(6), 16, torch.Generator().manual_seed(0))
    found = []
    for side, own in ((state, batch), (plain, contiguous(batch))):
        side.optimizers = stages.make_optimizers(config, side, stage)
        losses = stages.step(config, side, own, stage, 0.9)
        found.append(({k: float(v) for k, v in losses.items()}, side.networks.generator.first.weight.grad))
    (ours, gradient), (theirs, other) = found
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name
    assert torch.allclose(gradient, other, atol=1e-3 * float(gradient.abs().max()))


def test_a_whole_training_is_weighed_by_its_steps() -> None:
    config = tiny_config("warmup.steps=10", "synthesis.steps=30")
    rows = {
        "warmup": {"batch": 60, "ours": 10.0, "plain": 5.0},  # a minute, two minutes
        "synthesis": {"batch": 20, "ours": 10.0, "plain": 2.5},  # a minute, four minutes
    }
    assert _whole(config, rows) == {"minutes": pytest.approx(2.0), "times": pytest.approx(3.0)}
    assert _whole(config, {"warmup": {"batch": 60, "ours": 10.0}}) == {"minutes": pytest.approx(1.0)}
