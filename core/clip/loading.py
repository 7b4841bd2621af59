"""Load weights through open_clip, safely: nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from core.clip.choices import ClipChoice, weights_in
from core.clip.download import cached_weights
from core.errors import StudioError


def load_network(choice: ClipChoice) -> tuple[Any, Any, str]:
    """open_clip's network and tokenizer, and the key of the weights. StudioError where it can't be loaded."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import open_clip

    if choice.path is not None and choice.path.is_dir():
        name, file = f"local-dir:{choice.path}", weights_in(choice.path)
        network = None if file is None else open_clip.create_model(name)
    else:
        name, file = choice.architecture, choice.path or cached_weights(choice)
        network = None if file is None else open_clip.create_model(name, pretrained=str(file))
    if file is None or network is None:
        raise StudioError(f"The weights of {choice.title} are not on this machine.", "Download them first.")
    return (
        network,
        open_clip.get_tokenizer(name),
        f"{choice.title.lower().split(',')[0]}-{_fingerprint(file)}",
    )


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:12]
