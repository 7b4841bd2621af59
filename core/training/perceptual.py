"""Features for the perceptual loss: a trunk trained on the shared faces' attributes, kept as one file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from core.errors import StudioError
from core.files import atomic_write
from core.nets.layers import Trunk


def save_features(trunk: Trunk, widths: tuple[int, ...], image_size: int, path: Path) -> None:
    """Write a trunk (fp16) with its sizes in the file's own header."""
    sizes = {"widths": list(widths), "image_size": image_size, "image_channels": trunk.stem.in_channels}
    tensors = {name: t.detach().half().cpu().contiguous() for name, t in trunk.state_dict().items()}
    with atomic_write(path, overwrite=True) as file:
        file.write(save(tensors, {"trunk": json.dumps(sizes)}))


def load_features(path: Path) -> Trunk:
    """A frozen trunk whose finest maps the perceptual loss compares; StudioError if the file holds none."""
    try:
        with safe_open(path, framework="pt") as archive:
            sizes = json.loads(archive.metadata()["trunk"])
            tensors = {name: archive.get_tensor(name).float() for name in archive.keys()}  # noqa: SIM118
        trunk = Trunk(sizes["image_channels"], sizes["image_size"], tuple(sizes["widths"]))
        trunk.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StudioError(
            f"{path} holds no perceptual features: {error}.",
            "Name another file in reconstruction.perceptual_file.",
        ) from error
    return trunk.to(memory_format=torch.channels_last).requires_grad_(False).eval()
