"""One loaded CLIP model: embeddings of images and of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.clip.choices import ClipChoice

if TYPE_CHECKING:
    import torch

BATCH = 64


class ClipModel:
    """A CLIP model in memory. Calls are safe from one thread at a time.

    `key` names the model and its weights: a stable text that is a valid file name. `dim` is the length of an
    embedding. `domain` says what the model knows where that is narrow (“faces only”), and is empty otherwise.
    """

    def __init__(
        self, network: torch.nn.Module, tokenizer: Any, choice: ClipChoice, key: str, dim: int
    ) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self._network, self._tokenizer = network.eval(), tokenizer
        self._transform = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
        self.choice, self.key, self.dim = choice, key, dim
        self.domain = "faces only" if choice.shipped else ""

    @classmethod
    def load(cls, choice: ClipChoice, device: str = "auto") -> ClipModel:
        """Load the weights of `choice`; StudioError says what is missing or wrong with them."""
        from core.clip.loading import load_network

        network, tokenizer, key = load_network(choice)
        return cls(network, tokenizer, choice, key, int(network.visual.output_dim))

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 of unit length for N images, each (H, W, 3) uint8 sRGB of any size."""
        import torch
        from PIL import Image

        rows = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.stack(
                    [self._transform(Image.fromarray(i)) for i in images[start : start + BATCH]]
                )
                rows.append(self._network.encode_image(batch, normalize=True).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(T, D) float32 of unit length."""
        import torch

        if not texts:
            return np.zeros((0, self.dim), np.float32)
        with torch.inference_mode():
            tokens = self._tokenizer(list(texts))
            return self._network.encode_text(tokens, normalize=True).float().cpu().numpy()
