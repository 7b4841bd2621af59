"""The loss against what residual codes say of the attributes, on codes whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.training import stages
from core.training.batch import make_batch
from core.training.dataset import Dataset
from core.training.leakage import LinearLeakage
from core.training.loop import train
from core.training.run import Run
from core.training.state import TrainState
from tests.synthetic import tiny_config, write_dataset


def codes_and_labels(strength: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (N, 12) whose first entries tell the first of two attributes, with noise of 1 beside it."""
    torch.manual_seed(3)
    labels = torch.stack([torch.randint(3, (count,)), torch.randint(2, (count,))], 1)
    codes = torch.randn(count, 12)
    codes[:, :3] += strength * F.one_hot(labels[:, 0], 3)
    return codes, labels


@pytest.mark.parametrize(
    ("strength", "least", "most"), [(0.0, 0.0, 0.01), (1.0, 0.12, 0.3), (30.0, 0.8, 1.0)]
)
def test_the_loss_is_the_share_that_a_regression_explains(strength: float, least: float, most: float) -> None:
    leakage = LinearLeakage(12, [3, 2])
    codes, labels = codes_and_labels(strength)
    assert float(leakage(codes).sum()) == 0
    leakage.fit(codes, labels)
    # one of two attributes leaks, and the loss is the mean of both
    assert least <= 2 * float(leakage(codes).mean()) <= most


def test_unknown_labels_say_nothing() -> None:
    codes, labels = codes_and_labels(30.0)
    shuffled = labels.clone()
    shuffled[1000:] = -1
    whole, few = LinearLeakage(12, [3, 2]), LinearLeakage(12, [3, 2])
    whole.fit(codes[:1000], labels[:1000])
    few.fit(codes, shuffled)
    torch.testing.assert_close(few.directions, whole.directions)


def test_its_gradient_takes_out_what_tells_the_attribute() -> None:
    leakage = LinearLeakage(12, [3, 2])
    codes, labels = codes_and_labels(3.0)
    leakage.fit(codes, labels)
    codes.requires_grad_(True)
    leakage(codes).mean().backward()
    assert codes.grad is not None
    telling, rest = codes.grad[:, :3].abs().mean(), codes.grad[:, 3:].abs().mean()
    assert telling > 10 * rest


def test_a_training_against_leakage_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = tiny_config("synthesis.steps=6", "synthesis.leakage=1.0", "synthesis.leakage_every=4")
    dataset = Dataset.open(write_dataset(tmp_path / "data")).part("train")
    whole = train(config, dataset, Run.start(tmp_path / "whole", config), "cpu")
    run = Run.start(tmp_path / "cut", config)

    def stop(stage: str, step: int, total: int, numbers: dict[str, float]) -> None:
        if stage == "amortisation" and step == total:
            (run.folder / "control" / "stop").touch()

    assert train(config, dataset, run, "cpu", stop) is None
    (run.folder / "control" / "stop").unlink()
    resumed = train(config, dataset, run, "cpu")
    assert whole is not None and resumed is not None
    for name, tensor in whole.networks.state_dict().items():
        assert torch.equal(resumed.networks.state_dict()[name], tensor), name
    events = (run.folder / "events.jsonl").read_text()
    assert '"leakage"' in events


def test_the_loss_counts_late_and_grows_where_it_is_told_to(tmp_path: Path) -> None:
    config = tiny_config(
        "synthesis.leakage=0.5", "synthesis.leakage_after=0.4", "synthesis.leakage_rise=0.4",
        "synthesis.adversarial=0.0",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 16))
    images, mask = dataset.batch(np.arange(12), 32)
    labels = torch.from_numpy(dataset.label_array()[:12])
    batch = make_batch(images, images, mask, labels, torch.arange(12), 16, torch.Generator().manual_seed(0))

    def gradient(share: float) -> torch.Tensor:
        state = TrainState.fresh(config, [len(a.values) for a in dataset.attributes], 16, torch.device("cpu"))
        state.features = stages.perceptual_features(state.networks.classifier)
        assert state.leakage is not None
        torch.nn.init.normal_(state.leakage.directions, generator=torch.Generator().manual_seed(1))
        state.optimizers = stages.make_optimizers(config, state, "synthesis")
        parts = stages.step(config, state, batch, "synthesis", share)
        assert ("leakage" in parts) == (share >= 0.4)
        found = [p.grad for p in state.networks.residual_encoder.parameters() if p.grad is not None]
        return torch.cat([g.flatten() for g in found])

    before, half, whole, after = (gradient(share) for share in (0.2, 0.6, 0.8, 0.95))
    assert (whole - before).norm() > 1e-3 * before.norm()
    torch.testing.assert_close(2 * (half - before), whole - before, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(after, whole)
