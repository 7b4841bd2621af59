"""The judge of swaps: a classifier that shares nothing with a model but the attribute set.

Another architecture (a small residual network with batch normalisation, He et al. 2016), another seed, and
the other half of the images. It never takes part in training; it only says what it sees in swapped images.

Swaps go to every value equally often, so it learns to say what an image shows were all values equally
frequent (`dataset.log_priors`): a judge that has learned from photos that teenagers are rare sees hardly any,
in photos either.

The one that the starter model is measured with comes along, so that its numbers can be had again, and models
compared, without an hour of training.
"""

from __future__ import annotations

import copy
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from core.errors import StudioError
from core.files import atomic_write
from core.model import to_tensor
from core.nets.average import follow
from core.nets.layers import box_mean, shrunk
from core.paths import resources
from core.precision import backward, choose_precision, shorter
from core.training import losses
from core.training.augment import moved
from core.training.dataset import Dataset, balance_weights, log_priors

WIDTHS = (48, 96, 160, 256)
SIZE = 64  # side of what it looks at, at the most: one judge, and one measure, for models of all sizes
AVERAGE = 0.998  # decay of the mean of its weights, which is what judges
SHIPPED = Path("judges", "faces.safetensors")  # in the resources


class JudgeNetwork(nn.Module):
    """(N, 3, S, S) in -1..1, S at least 32, to K logits (N, V_k)."""

    def __init__(self, value_counts: list[int]) -> None:
        super().__init__()
        self.value_counts = value_counts
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 5, 2, 2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise(WIDTHS)))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(WIDTHS[-1] * 4, sum(value_counts))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """As the class says."""
        maps = self.blocks(self.stem(images))
        # quarters, not one mean: hair is above, a beard below
        pooled = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        return list(self.head(self.drop(pooled)).split(self.value_counts, 1))


class _Block(nn.Module):
    """(N, I, S, S) to (N, O, S / 2, S / 2): two convolutions beside a straight way."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.straight = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y)) + self.norms[2](self.straight(nn.functional.avg_pool2d(x, 2)))
        return nn.functional.relu(y)


class Judge:
    """A trained judge for images of one size. `learned` tells which images it learned from (`images_of`)."""

    def __init__(self, network: JudgeNetwork, size: int, learned: str = "") -> None:
        self.network, self.size, self.learned = network.eval(), size, learned

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
        """Write weights (fp16) and sizes to one file."""
        told = {"size": self.size, "value_counts": self.network.value_counts, "learned": self.learned}
        header = {"judge": json.dumps(told)}
        state = self.network.state_dict()
        tensors = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in state.items()}
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
        network = network.to(memory_format=torch.channels_last)
        return cls(network, header["size"], header.get("learned", ""))

    def knows(self, dataset: Dataset) -> bool:
        """Whether it is one for this prepared folder: it learned from just the images meant for a judge."""
        counts = [len(a.values) for a in dataset.attributes]
        known = self.learned, self.network.value_counts
        return bool(self.learned) and known == (images_of(dataset), counts)


def shipped_judge(dataset: Dataset) -> Judge | None:
    """The judge that comes with the program, where it is one for this prepared folder."""
    file = resources() / SHIPPED
    judge = Judge.load(file) if file.is_file() else None
    return judge if judge is not None and judge.knows(dataset) else None


def images_of(dataset: Dataset) -> str:
    """A digest of the names of the images in the `judge` part, and of what they are labelled for."""
    rows = dataset.part("judge").rows
    if not dataset.index.names:
        return ""
    told = [[a.name, [v.name for v in a.values]] for a in dataset.attributes]
    names = sorted(dataset.index.names[row] for row in rows)
    return hashlib.sha256(json.dumps([told, names]).encode()).hexdigest()


def train_judge(dataset: Dataset, size: int, steps: int, batch: int = 128, seed: int = 4242) -> Judge:
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
    priors = log_priors(labels, weights, network.value_counts)
    average = copy.deepcopy(network)
    rng = np.random.default_rng(seed)
    cpu = torch.device("cpu")
    precision = choose_precision("auto", cpu)
    for step in range(steps):
        positions = rng.choice(len(part), batch, p=weights)
        images = _varied(part.batch(positions, size)[0], rng)
        with shorter(cpu, precision):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        told = [v.float() + p for v, p in zip(logits, priors, strict=True)]
        loss = losses.classification(told, torch.from_numpy(labels[positions]))
        optimizer.zero_grad(set_to_none=True)
        backward(loss)
        optimizer.step()
        schedule.step()
        follow(average, network, AVERAGE, step)
    return Judge(average, size, images_of(dataset))


def _varied(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Images (N, 3, S, S) mirrored, moved and lit a little, some blurred, of some a square taken out.

    That generated images are smooth must not matter, nor a single place decide.
    """
    count, side = len(images), images.shape[2]
    mirror = torch.from_numpy(np.where(rng.random(count) < 0.5, -1.0, 1.0)).float()
    draws = torch.from_numpy(rng.uniform(-1, 1, (4, count))).float()
    images = moved(images, 0.12 * draws[0], torch.exp(0.1 * draws[1]), 0.08 * draws[2:].T, mirror)
    contrast = torch.from_numpy(rng.uniform(0.75, 1.25, (count, 1, 1, 1))).float()
    light = torch.from_numpy(rng.normal(0, 0.12, (count, 1, 1, 1))).float()
    images = (images * contrast + light).clamp(-1, 1)
    blurred = torch.from_numpy(rng.random(count) < 0.4)[:, None, None, None]
    soft = box_mean(images)
    images = torch.where(blurred, soft, images)
    for i in np.flatnonzero(rng.random(count) < 0.25):
        y, x = rng.integers(0, side * 3 // 4, 2)
        images[i, :, y : y + side // 4, x : x + side // 4] = 0.0
    return images
