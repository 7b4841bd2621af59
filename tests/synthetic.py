"""Small real inputs made by the tests: drawn faces with known attributes, and a model trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.attributes import AttributeSet, load_attribute_set
from core.paths import resources
from core.training.config import TrainConfig, load_config
from core.training.dataset import Index, write_index

TINY = (
    "precision=float32",
    "network.image_size=32",
    "network.classifier=trunk",
    "network.fold=1",
    "network.base_side=0",
    "network.residual_dim=16",
    "network.embedding_dim=8",
    "network.style_dim=32",
    "network.generator_widths=[32,32,16,16]",
    "network.encoder_widths=[8,16,16,32]",
    "network.classifier_widths=[8,16,16,32]",
    "network.discriminator_widths=[8,16,16,32]",
    "warmup.steps=40",
    "warmup.batch=32",
    "warmup.lr=2e-3",
    "warmup.pretrained=",
    "warmup.grain=0.0",
    "disentanglement.lr_classifier=5e-5",
    "disentanglement.classification=0.1",
    "disentanglement.entropy=0.01",
    "disentanglement.entropy_after=0.2",
    "disentanglement.steps=40",
    "disentanglement.batch=16",
    "disentanglement.images=96",
    "disentanglement.residual_noise=0.3",
    "amortisation.steps=10",
    "amortisation.batch=16",
    "amortisation.lr=1e-3",
    "reconstruction.l1=1.0",
    "reconstruction.mse=0.0",
    "reconstruction.perceptual=0.5",
    "guide.steps=0",
    "guide.begin=classifier",
    "synthesis.steps=20",
    "synthesis.batch=16",
    "synthesis.lr_generator=3e-4",
    "synthesis.lr_encoder=3e-4",
    "synthesis.momentum=0.5",
    "synthesis.swapping=0.05",
    "synthesis.keeping=0.05",
    "synthesis.grain=0.0",
    "synthesis.nearness=0.0",
    "synthesis.beyond=0.0",
    "synthesis.leakage=0.0",
    "synthesis.leakage_after=0.0",
    "synthesis.leakage_rise=0.0",
    "checkpoint_every=7",
    "sample_every=1000",
)
# the starter model's own kinds of networks, at 32 px
FOLDED = (
    "network.classifier=lite0", "network.fold=2", "network.base_side=16",
    "network.generator_widths=[32,32,16]", "network.encoder_widths=[8,16,32]", "warmup.grain=0.2",
    "synthesis.grain=0.2", "synthesis.keeping=0.1", "synthesis.nearness=0.1", "synthesis.beyond=4.0",
    "guide.steps=8", "guide.batch=16",
)  # fmt: skip


def faces_attributes() -> AttributeSet:
    return load_attribute_set(resources() / "attributes" / "faces.toml")


def tiny_config(*overrides: str) -> TrainConfig:
    return load_config(resources() / "presets" / "faces-starter.toml", (*TINY, *overrides))


def draw_faces(count: int, size: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(count, size, size, 3) uint8 drawings and all labels (count, K); hair colour, glasses, smile show."""
    rng = np.random.default_rng(seed)
    attributes = faces_attributes()
    labels = np.stack([rng.integers(0, len(a.values), count) for a in attributes], 1).astype(np.int8)
    column = {a.name: labels[:, k] for k, a in enumerate(attributes)}
    hair = np.array([[20, 20, 20], [110, 70, 30], [230, 200, 90], [170, 170, 170], [225, 180, 150]])
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    images = np.empty((count, size, size, 3), np.uint8)
    for i in range(count):
        picture = np.ones((size, size, 3)) * rng.integers(0, 255, 3)
        picture[((x - 0.5) / 0.38) ** 2 + ((y - 0.45) / 0.42) ** 2 < 1] = hair[column["hair_color"][i]]
        picture[((x - 0.5) / 0.3) ** 2 + ((y - 0.6) / 0.36) ** 2 < 1] = (225, 180, 150)
        for eye in (0.3725, 0.6275):
            distance = np.hypot(x - eye, y - 0.45)
            picture[distance < 0.04] = (20, 20, 60)
            if column["glasses"][i]:
                picture[(distance > 0.07) & (distance < 0.12)] = (10, 10, 10)
        curve = 0.72 + (0.25 if column["smile"][i] else 0.0) * ((x - 0.5) ** 2 * -8 + 0.08)
        picture[(np.abs(y - curve) < 0.03) & (np.abs(x - 0.5) < 0.12)] = (170, 40, 50)
        images[i] = picture
    return images, labels


def write_dataset(folder: Path, count: int = 192, size: int = 32, hidden: float = 0.3) -> Path:
    """A prepared folder of drawings without the share `hidden` of the labels; every tenth is held out."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = draw_faces(count, size)
    labels[np.random.default_rng(1).random(labels.shape) < hidden] = -1
    inside = np.ones((count, size, size), bool)
    inside[::4, : size // 8] = False
    np.save(folder / "images.npy", images)
    np.save(folder / "inside.npy", inside)
    np.save(folder / "labels.npy", labels)
    split = [2 if i % 10 == 0 else 1 if i % 10 == 1 else 0 for i in range(count)]
    write_index(
        folder, Index(faces_attributes(), ["drawn"], [0] * count, split, licences={"drawn": "public domain"})
    )
    return folder
