"""A model: encode, swap, decode. On disk a folder with safetensors weights and a JSON card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from core.attributes import AttributeSet
from core.errors import StudioError
from core.faces.frame import CANONICAL_POINTS, OUTSIDE
from core.files import atomic_write
from core.installed import CARD
from core.nets.build import NetworkConfig, Networks, with_strengths
from core.recipe import Swap

SCHEMA = 1

WEIGHTS = "weights.safetensors"
# What networks see where the photo ends, as `to_tensor` gives it.
OUTSIDE_VALUE = OUTSIDE / 127.5 - 1


class Source(msgspec.Struct, frozen=True):
    """A collection a model was trained on."""

    name: str
    images: int
    labels: str
    licence: str


class ModelCard(msgspec.Struct, frozen=True):
    """All that is known of a model. `metrics` are measured on held-out images, by `main.py evaluate`."""

    name: str
    title: str
    description: str
    attributes: AttributeSet
    network: NetworkConfig
    canonical_points: tuple[tuple[float, float], ...] = tuple(
        (float(x), float(y)) for x, y in CANONICAL_POINTS
    )
    licence: str = ""
    sources: tuple[Source, ...] = ()
    limits: tuple[str, ...] = ()
    training: dict[str, float | int | str] = {}
    metrics: dict[str, float | dict[str, float]] = {}
    weights_sha256: str = ""
    schema: int = SCHEMA

    @property
    def image_size(self) -> int:
        """Side of the images that the model sees and makes, in pixels."""
        return self.network.image_size


@dataclass(frozen=True)
class Codes:
    """Codes of N images: `residual` (N, R), `attributes` (N, K, D), `probabilities` K arrays (N, V_k)."""

    residual: torch.Tensor
    attributes: torch.Tensor
    probabilities: tuple[np.ndarray, ...]

    def joined(self) -> torch.Tensor:
        """(N, K * D + R), the generator's input."""
        return torch.cat([self.attributes.flatten(1), self.residual], 1)


def choose_device(wanted: str = "auto") -> torch.device:
    """`auto` is cuda, then mps, then cpu; StudioError if the wanted one is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available.get(wanted.split(":")[0], False):
        raise StudioError(f"This machine has no device “{wanted}”.", "Choose cpu, or auto.")
    return torch.device(wanted)


def to_bytes(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 of decoded images, float32 in 0..1."""
    return (images * 255).round().astype(np.uint8)


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """(N, S, S, C) uint8 to (N, C, S, S) float32 in -1..1, channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div_(127.5).sub_(1.0)


class Model:
    """Trained networks on a device, with their card. All calls are batched and keep no gradients."""

    def __init__(self, card: ModelCard, networks: Networks, device: torch.device) -> None:
        self.card = card
        self.networks = networks.to(device).eval().requires_grad_(False)
        self.device = device

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> Model:
        """Read a model's folder; StudioError says what is wrong with it."""
        card = load_card(folder)
        chosen = choose_device(device)
        advice = "Choose another model, or copy this one again."
        try:
            raw = (folder / WEIGHTS).read_bytes()
        except OSError as error:
            raise StudioError(
                f"The weights of {card.title} can't be read: {error.strerror}.", advice
            ) from error
        if card.weights_sha256 and hashlib.sha256(raw).hexdigest() != card.weights_sha256:
            raise StudioError(f"The weights of {card.title} are damaged or changed.", advice)
        networks = Networks(card.network, [len(a.values) for a in card.attributes])
        try:
            stored = {name: t.float() for name, t in load(raw).items()}
            networks.load_state_dict(with_strengths(stored, networks))
        except (SafetensorError, RuntimeError, KeyError) as error:
            raise StudioError(f"The weights of {card.title} don't fit its card.", advice) from error
        return cls(card, networks, chosen)

    def save(self, folder: Path) -> ModelCard:
        """Write weights (fp16) and card; returns the card with the weights' hash."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {n: t.detach().half().cpu().contiguous() for n, t in self.networks.state_dict().items()}
        raw = save(tensors)
        card = msgspec.structs.replace(self.card, weights_sha256=hashlib.sha256(raw).hexdigest())
        with atomic_write(folder / WEIGHTS, overwrite=True) as file:
            file.write(raw)
        save_card(card, folder)
        self.card = card
        return card

    @torch.inference_mode()
    def encode(self, images: np.ndarray, inside: np.ndarray | None = None) -> Codes:
        """Codes of (N, S, S, 3) uint8 aligned images.

        `inside` (N, S, S) is false where the photo ends; there the networks see the mid grey of `align`.
        """
        if inside is not None:
            images = np.where(inside[..., None], images, np.uint8(OUTSIDE))
        x = to_tensor(images, self.device)
        probabilities = [logits.softmax(1) for logits in self.networks.classifier(x)]
        return Codes(
            self.networks.residual_encoder(x),
            self.networks.embeddings.assign(probabilities),
            tuple(p.cpu().numpy() for p in probabilities),
        )

    @torch.inference_mode()
    def swap(self, codes: Codes, swaps: Sequence[Swap]) -> Codes:
        """Codes with attributes replaced: each moves from what it is to the value's embedding.

        As far as `core.nets.strengths` says, or beyond. One swap an attribute.
        """
        wanted = torch.full((1, len(self.card.attributes)), -1, device=self.device)
        strength = torch.zeros(wanted.shape, device=self.device)
        for swap in swaps:
            k = self.card.attributes.index(swap.attribute)
            wanted[:, k] = self.card.attributes.attributes[k].index(swap.value)
            strength[:, k] = swap.strength
        tables = list(self.networks.embeddings.tables)
        attributes = self.networks.strengths(codes.attributes, tables, wanted, strength)
        return replace(codes, attributes=attributes)

    @torch.inference_mode()
    def decode(self, codes: Codes, offset: torch.Tensor | None = None) -> np.ndarray:
        """(N, S, S, 3) float32 sRGB images in 0..1, with a refined face's `offset` to the features."""
        images = self.networks.generator(codes.joined(), offset)
        return images.clamp(-1, 1).add(1).mul(0.5).permute(0, 2, 3, 1).cpu().numpy()


def load_card(folder: Path) -> ModelCard:
    """Read and check a model's card without its weights."""
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=ModelCard)
    except OSError:
        raise StudioError(
            f"{folder} holds no model: its {CARD} can't be read.", "Choose a model's folder."
        ) from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StudioError(
            f"The card of the model in {folder} is not valid: {error}.", "Choose another model."
        ) from error
    if card.schema > SCHEMA:
        raise StudioError(
            f"{card.title} was made by a newer version of the program.", "Install the newer version."
        )
    return card


def save_card(card: ModelCard, folder: Path) -> None:
    """Write the card, readable by people."""
    with atomic_write(folder / CARD, overwrite=True) as file:
        file.write(msgspec.json.format(msgspec.json.encode(card), indent=2))
