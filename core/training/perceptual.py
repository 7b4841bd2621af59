"""Features for the perceptual loss, from a file: a trunk trained on the shared faces' attributes, or VGG16.

VGG16 (Simonyan & Zisserman, ICLR 2015) with torchvision's weights is what the paper uses. Its weights are not
part of this program and never fetched: they are read where torch keeps them on this machine, or from a file.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from core.errors import StudioError
from core.files import atomic_write
from core.nets.layers import Trunk
from core.nets.lite import Lite0
from core.paths import resources

TRUNK_LEVELS = 3  # the finest maps of a trunk; coarser ones know what the picture is, not how it looks
VGG16 = "vgg16"
FACES, DEFAULT = "faces", "default"
# Outputs of the convolutions and 0 for the pooling between them, in torchvision's order
VGG16_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
# Layers of torchvision's `features` whose outputs are compared: the paper's
VGG16_LAYERS = (2, 7, 12, 21, 30)
_HINT = "Name another file in reconstruction.perceptual_file."


class VGG16Features(nn.Module):
    """(N, 3 or 1, S, S) in -1..1, S at least 32, to the maps of `VGG16_LAYERS`, the finest first."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in VGG16_WIDTHS:
            if width:
                # not in place: the convolutions' own outputs are compared
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        # what torchvision's weights were trained with: ImageNet's mean and deviation, of colours in 0..1
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("spread", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """As the class says."""
        x = ((images + 1) * 0.5 - self.mean) / self.spread
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in VGG16_LAYERS:
                maps.append(x)
        return maps


def feature_maps(features: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """The maps that the perceptual loss compares, the finest first."""
    if isinstance(features, VGG16Features | Lite0):
        return features.maps(images)
    assert isinstance(features, Trunk)
    return features.maps(images)[:TRUNK_LEVELS]


def first_levels(trunk: Trunk) -> tuple[Trunk, tuple[int, ...], int]:
    """The levels of a trunk that are compared, as a trunk of its own, with its widths and image size."""
    blocks = list(trunk.blocks)[: TRUNK_LEVELS - 1]
    widths = (trunk.stem.out_channels, *(block.down.out_channels for block in blocks))  # type: ignore[union-attr]
    size = 4 << (len(widths) - 1)
    cut = Trunk(trunk.stem.in_channels, size, widths)  # type: ignore[arg-type]
    cut.load_state_dict({name: t for name, t in trunk.state_dict().items() if name in cut.state_dict()})
    return cut, widths, size  # type: ignore[return-value]


def save_features(
    trunk: Trunk, widths: tuple[int, ...], image_size: int, path: Path, name: str = "trunk", about: str = ""
) -> None:
    """Write a trunk (fp16); its sizes, `name` for records and what to know of it are in the file's header."""
    sizes = {"widths": list(widths), "image_size": image_size, "image_channels": trunk.stem.in_channels}
    sizes |= {"name": name, "about": about}
    tensors = {name: t.detach().half().cpu().contiguous() for name, t in trunk.state_dict().items()}
    with atomic_write(path, overwrite=True) as file:
        file.write(save(tensors, {"trunk": json.dumps(sizes)}))


def find_features(named: str) -> Path:
    """The file that `reconstruction.perceptual_file` names; StudioError if it is not there.

    `vgg16` is torchvision's weights where torch keeps them, `faces` the features that come with the program,
    `default` (or nothing) the first of these that is there.
    """
    if named in ("", DEFAULT):
        try:
            return find_features(VGG16)
        except StudioError:
            named = FACES
    if named == FACES:
        return resources() / "features.safetensors"
    path = Path(named).expanduser()
    if path.is_file():
        return path
    if named == VGG16:
        kept = sorted((Path(torch.hub.get_dir()) / "checkpoints").glob("vgg16-*.pth"))
        if kept:
            return kept[0]
        raise StudioError(
            "The perceptual loss needs torchvision's VGG16 weights, which are not on this machine.",
            "Give their file as reconstruction.perceptual_file=FILE, or leave that empty and set "
            "warmup.steps to compare features of the model's own classifier.",
        )
    raise StudioError(f"There are no perceptual features at {path}.", _HINT)


def load_features(path: Path) -> Trunk | VGG16Features:
    """A frozen trunk (`save_features`) or VGG16, from its state dict or a safetensors file of it.

    StudioError if the file holds neither. Nothing in the file is executed.
    """
    try:
        network = _load(path)
    except (
        OSError, SafetensorError, UnpicklingError, EOFError, KeyError, TypeError, ValueError, RuntimeError,
    ) as error:  # fmt: skip
        raise StudioError(f"{path} holds no perceptual features: {error}.", _HINT) from error
    network.to(memory_format=torch.channels_last)
    return network.requires_grad_(False).eval()


def features_record(path: Path) -> dict[str, str]:
    """What a run writes down of the features it compares: their name and their file's digest."""
    network = load_features(path)
    name = VGG16 if isinstance(network, VGG16Features) else "trunk"
    if name != VGG16:
        with safe_open(path, framework="pt") as archive:
            name = json.loads(archive.metadata()["trunk"]).get("name", name)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": name, "sha256": sha256}


def _load(path: Path) -> Trunk | VGG16Features:
    with path.open("rb") as file:
        start = file.read(9)
    # a safetensors file starts with a length of 8 bytes and a JSON object
    if start[8:] != b"{":
        # the 500 MB of the classifier's layers stay on the disk where the format allows it
        mapped = zipfile.is_zipfile(path)
        return _vgg16(torch.load(path, map_location="cpu", weights_only=True, mmap=mapped))
    with safe_open(path, framework="pt") as archive:
        header = archive.metadata() or {}
        wanted = [n for n in archive.keys() if "trunk" in header or n.startswith("features.")]  # noqa: SIM118
        tensors = {name: archive.get_tensor(name).float() for name in wanted}
    if "trunk" not in header:
        return _vgg16(tensors)
    sizes = json.loads(header["trunk"])
    trunk = Trunk(sizes["image_channels"], sizes["image_size"], tuple(sizes["widths"]))
    trunk.load_state_dict(tensors)
    return trunk


def _vgg16(tensors: Mapping[str, torch.Tensor]) -> VGG16Features:
    """The classifier's layers may be in the file or not."""
    network = VGG16Features()
    names = network.state_dict().keys()
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValueError(f"there is no {missing[0]} in it")
    network.load_state_dict({name: tensors[name].float() for name in names})
    return network
