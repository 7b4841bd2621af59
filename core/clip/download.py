"""Weights from the hub: only when a person asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.clip.choices import ClipChoice


def cached_weights(choice: ClipChoice) -> Path | None:
    """The weights of an open_clip tag in the hub's cache on this machine, or None."""
    if not choice.pretrained:
        return None
    import os

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from huggingface_hub import try_to_load_from_cache
    from open_clip import get_pretrained_cfg

    hub = get_pretrained_cfg(choice.architecture, choice.pretrained).get("hf_hub", "")
    repository = hub.rstrip("/")
    for name in (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ):
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return None
