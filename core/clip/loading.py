"""Load weights through open_clip, safely: nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clip.choices import CONFIG_NAME, ClipChoice, weights_in
from core.clip.hub import local_weights
from core.errors import StudioError

CARD_NAME = "card.json"
WRONG_FILE = "Choose another file, or get this one again."


@dataclass(frozen=True)
class Loaded:
    """open_clip's network and tokenizer, the key of the weights, and the card beside them (empty: none)."""

    network: Any
    tokenizer: Any
    key: str
    card: dict[str, Any]


def load_network(choice: ClipChoice) -> Loaded:
    """The network of `choice` with its weights, fp32, for inference. StudioError where it can't be loaded."""
    # nothing is fetched: open_clip would wait for a network that is not there
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import open_clip

    from core.clip.fused import fuse

    file, folder = _find(choice)
    shapes = _shapes(file)
    name = f"local-dir:{folder}" if folder is not None else choice.architecture or _guess(file, shapes)
    preprocess = None
    if choice.pretrained:
        preprocess = open_clip.get_pretrained_cfg(choice.architecture, choice.pretrained)
    elif folder is None and open_clip.get_model_config(name) is None:
        raise StudioError(f"open_clip knows no architecture “{name}”.", "Correct its name.")
    try:
        with _quiet():
            network = open_clip.create_model(
                name, load_weights=False, pretrained_text=False, force_preprocess_cfg=preprocess
            )
            tokenizer = open_clip.get_tokenizer(name)
    except (ImportError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        where = name if folder is None else f"{CONFIG_NAME} in {folder}"
        raise StudioError(
            f"{where} is no CLIP model that can be built: {_short(error)}.", WRONG_FILE
        ) from error
    try:
        open_clip.load_checkpoint(network, str(file), strict=True, weights_only=True)
    except (OSError, RuntimeError, AssertionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudioError(
            f"The weights in {file.name} are of another architecture than {_named(name)}.",
            "Choose the weights and the configuration of one model.",
        ) from error
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    slug = re.sub(r"[^a-z0-9]+", "-", _slug(choice).lower()).strip("-")
    network.float().eval()
    fuse(network.visual, network.visual.image_size)
    return Loaded(network, tokenizer, f"{slug}-{_fingerprint(file)}", _card(folder))


def _find(choice: ClipChoice) -> tuple[Path, Path | None]:
    """The file of weights, and the folder whose configuration belongs to it."""
    if choice.path is None:
        file = local_weights(choice)
        if file is None:
            raise StudioError(
                f"{choice.title} is not on this machine.",
                f"Download it ({choice.megabytes:.0f} MB), or choose another model.",
            )
        return file, None
    if choice.path.is_dir():
        found = weights_in(choice.path)
        if found is None or not (choice.path / CONFIG_NAME).is_file():
            missing = CONFIG_NAME if found else "weights"
            hint = "Install the program again." if choice.shipped else "Choose another folder."
            raise StudioError(f"{choice.path} has no {missing}.", hint)
        return found, choice.path
    if not choice.path.is_file():
        raise StudioError(f"There is no file {choice.path}.", "Choose another model.")
    beside = not choice.architecture and (choice.path.parent / CONFIG_NAME).is_file()
    return choice.path, choice.path.parent if beside else None


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights; StudioError where the file holds anything else, or is damaged."""
    damaged = StudioError(f"{file.name} is damaged or incomplete.", WRONG_FILE)
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as archive:
                return {n: tuple(archive.get_slice(n).get_shape()) for n in archive.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise damaged from error
    import torch

    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if any(name.endswith("constants.pkl") for name in archive.namelist()):
                    raise StudioError(
                        f"{file.name} holds a program (TorchScript), not only weights: it is not opened.",
                        "Choose the same model as .safetensors.",
                    )
        # weights_only: a pickle that would run anything is refused
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise StudioError(
                f"{file.name} holds more than weights, which could run a program: it is not opened.",
                "Choose the same model as .safetensors.",
            ) from error
        raise damaged from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise damaged from error
    weights = found.get("state_dict", found) if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not weights or not all(map(torch.is_tensor, weights.values())):
        raise StudioError(f"{file.name} holds no weights of a network.", WRONG_FILE)
    return {str(n).removeprefix("module."): tuple(t.shape) for n, t in weights.items()}


def _guess(file: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """The one architecture of open_clip that the weights fit; StudioError where it is none or several."""
    import open_clip

    found = [n for n in open_clip.list_models() if _fits(open_clip.get_model_config(n), shapes)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise StudioError(
            f"It can't be told which architecture the weights in {file.name} have.",
            f"Put the model's {CONFIG_NAME} beside the file, or write ARCHITECTURE=FILE.",
        )
    raise StudioError(
        f"The weights in {file.name} fit several architectures: {', '.join(found)}.",
        f"Say which one, as {found[0]}={file}.",
    )


def _fits(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether weights of these shapes are of open_clip's own networks with `config`."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "timm_model_name" in vision or "hf_model_name" in text or "multimodal_cfg" in config:
        return False
    prefix = "text." if "text.token_embedding.weight" in shapes else ""
    size, patch, layers = vision["image_size"], vision.get("patch_size"), vision.get("layers", 12)
    if not isinstance(size, int):
        return False
    width = vision.get("width", 768)
    wanted: dict[str, tuple[int, ...]] = {
        f"{prefix}token_embedding.weight": (text.get("vocab_size", 49408), text.get("width", 512)),
        f"{prefix}positional_embedding": (text.get("context_length", 77), text.get("width", 512)),
        f"{prefix}text_projection": (text.get("width", 512), config["embed_dim"]),
    }
    if isinstance(layers, list):
        wanted["visual.conv1.weight"] = (width // 2, 3, 3, 3)
        wanted["visual.attnpool.positional_embedding"] = ((size // 32) ** 2 + 1, width * 32)
        counts = {f"visual.layer{i + 1}.": count for i, count in enumerate(layers)}
    elif isinstance(patch, int):
        wanted["visual.conv1.weight"] = (width, 3, patch, patch)
        wanted["visual.positional_embedding"] = ((size // patch) ** 2 + 1, width)
        counts = {"visual.transformer.resblocks.": layers}
    else:
        return False
    counts[f"{prefix}transformer.resblocks."] = text.get("layers", 12)
    if any(shapes.get(name) != shape for name, shape in wanted.items()):
        return False
    return all(
        len({n[len(p) :].split(".")[0] for n in shapes if n.startswith(p)}) == c for p, c in counts.items()
    )


def _named(name: str) -> str:
    return f"the {CONFIG_NAME} beside it says" if name.startswith("local-dir:") else name


def _short(error: Exception) -> str:
    return (
        str(error).strip().splitlines()[0].rstrip(".")[:200] if str(error).strip() else type(error).__name__
    )


def _slug(choice: ClipChoice) -> str:
    if choice.path is None or choice.shipped:
        return choice.key
    return choice.path.parent.name if choice.path.stem.startswith("open_clip") else choice.path.stem


def _card(folder: Path | None) -> dict[str, Any]:
    """What the annotator's card says; empty for other models."""
    if folder is None:
        return {}
    try:
        card = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _fingerprint(path: Path) -> str:
    """The first 12 hexadecimal digits of the file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's word that no weights are loaded yet: they are, in the next step."""

    def other(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)
