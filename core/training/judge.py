"""The judge of swaps: a classifier that shares nothing with a model but the attribute set.

Another architecture (a plain network with batch normalisation and average pooling), another seed, and the
other half of the images. It never takes part in training; it only says what it sees in swapped images.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from core.errors import StudioError
from core.files import atomic_write
from core.model import to_tensor
from core.nets.layers import shrunk
from core.precision import backward, choose_precision, shorter
from core.training import losses
from core.training.dataset import Dataset, balance_weights

WIDTHS = (32, 64, 96, 128, 192)
SIZE = 64  # side of what it looks at, at the most: one judge, and one measure, for models of all sizes


class JudgeNetwork(nn.Module):
    """(N, 3, S, S) in -1..1 to K logits (N, V_k)."""

    def __init__(self, value_counts: list[int]) -> None:
        super().__init__()
        self.value_counts = value_counts
        layers: list[nn.Module] = []
        width = 3
        for i, wider in enumerate(WIDTHS):
            layers += [nn.Conv2d(width, wider, 5 if i == 0 else 3, 1, 2 if i == 0 else 1, bias=False)]
            layers += [nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2)]
            width = wider
        self.maps = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(width * 4, sum(value_counts))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """As the class says."""
        maps = self.maps(images)
        # quarters, not one mean: hair is above, a beard below
        pooled = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        return list(self.head(self.drop(pooled)).split(self.value_counts, 1))


class Judge:
    """A trained judge for images of one size."""

    def __init__(self, network: JudgeNetwork, size: int) -> None:
        self.network, self.size = network.eval(), size

    @torch.inference_mode()
    def values(self, images: np.ndarray) -> np.ndarray:
        """(N, K) int64: the value it sees of each attribute in (N, S, S, 3) uint8 images.

        S is the judge's size or a multiple of it.
        """
        rows = []
        for start in range(0, len(images), 256):
            seen = shrunk(to_tensor(images[start : start + 256]), self.size)
            logits = self.network(seen.contiguous(memory_format=torch.channels_last))
            rows.append(torch.stack([v.argmax(1) for v in logits], 1).numpy())
        return np.concatenate(rows)

    def save(self, path: Path) -> None:
        """Write weights and sizes to one file."""
        header = {"judge": json.dumps({"size": self.size, "value_counts": self.network.value_counts})}
        tensors = {name: t.contiguous() for name, t in self.network.state_dict().items()}
        with atomic_write(path, overwrite=True) as file:
            file.write(save(tensors, header))

    @classmethod
    def load(cls, path: Path) -> Judge:
        """StudioError if the file holds no judge."""
        try:
            with safe_open(path, framework="pt") as archive:
                header = json.loads(archive.metadata()["judge"])
                network = JudgeNetwork(header["value_counts"])
                network.load_state_dict({name: archive.get_tensor(name) for name in archive.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise StudioError(f"{path} holds no judge: {error}.", "Train one: evaluate makes it.") from error
        return cls(network.to(memory_format=torch.channels_last), header["size"])


def train_judge(dataset: Dataset, size: int, steps: int, batch: int = 64, seed: int = 4242) -> Judge:
    """Train on the `judge` part of a prepared folder."""
    part = dataset.part("judge")
    if not len(part):
        raise StudioError("There are no images for a judge of the swaps.", "Prepare the images again.")
    torch.manual_seed(seed)
    network = JudgeNetwork([len(a.values) for a in dataset.attributes])
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    labels = part.label_array()
    weights = balance_weights(labels, 0.5)
    weights /= weights.sum()
    rng = np.random.default_rng(seed)
    cpu = torch.device("cpu")
    precision = choose_precision("auto", cpu)
    for _ in range(steps):
        positions = rng.choice(len(part), batch, p=weights)
        images, _ = part.batch(positions, size)
        mirrored = torch.from_numpy(rng.random(batch) < 0.5)[:, None, None, None]
        images = torch.where(mirrored, images.flip(3), images)
        # shifted by up to three pixels and blurred at times: that generated images are smooth must not matter
        dx, dy = rng.integers(-3, 4, 2)
        images = images.roll((int(dy), int(dx)), (2, 3))
        if rng.random() < 0.5:
            images = nn.functional.avg_pool2d(images, 3, 1, 1)
        with shorter(cpu, precision):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = losses.classification([v.float() for v in logits], torch.from_numpy(labels[positions]))
        optimizer.zero_grad(set_to_none=True)
        backward(loss)
        optimizer.step()
        schedule.step()
    return Judge(network, size)
