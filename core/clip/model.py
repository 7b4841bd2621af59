"""One loaded CLIP model: embeddings of images, files and texts.

Preprocessing is open_clip's own, with the model's size, mean and deviation. What makes it fast: JPEGs are
decoded at a reduced scale, several at once while the network works on the batch before, normalisation is done
per batch, and convolutions see channels last.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.clip.choices import ClipChoice
from core.clip.portrait import READ, portrait
from core.clip.reading import as_image, read_image
from core.errors import StudioError

if TYPE_CHECKING:
    import torch
    from PIL import Image

BATCH = 64
# JPEGs are decoded at no less than so many times the resolution the model sees: below, embeddings change.
OVERSAMPLING = 3
# Faces are found in processes from so many photos on: a process takes seconds to start.
MANY = 200


@dataclass(frozen=True)
class EmbeddedFiles:
    """A batch of `ClipModel.embed_files`: `positions` (M,) in the list of files, `rows` (M, D), unit length.

    `faceless` (M,) bool: no face was found where the model knows faces only. `unreadable` are positions with
    the sentence that says why.
    """

    positions: np.ndarray
    rows: np.ndarray
    faceless: np.ndarray
    unreadable: dict[int, str] = field(default_factory=dict)


class ClipModel:
    """A CLIP model in memory. Calls are safe from one thread at a time.

    `key` names the model and its weights: a stable text that is a valid file name. `dim` is the length of an
    embedding. `domain` says what the model knows where that is narrow (“faces only”), and is empty otherwise.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        choice: ClipChoice,
        key: str,
        card: dict[str, Any],
        device: str,
    ) -> None:
        """Use `load`."""
        import torch
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.choice, self.key = choice, key
        self.domain = str(card.get("domain", ""))
        self.card = card
        self.dim = _dim(network)
        self.device = torch.device(device)
        self._network = network.to(self.device, memory_format=torch.channels_last)
        self._tokenizer = tokenizer
        self._portraits = card.get("presentation") == "aligned faces"
        transform = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
        # the last two steps, to tensor and normalise, are done for the whole batch
        *self._steps, _, normalise = transform.transforms
        self._mean, self._std = (
            torch.tensor(v, device=self.device)[:, None, None] for v in (normalise.mean, normalise.std)
        )
        size = network.visual.preprocess_cfg["size"]
        self.size = max(size) if isinstance(size, (tuple, list)) else int(size)
        self.autocast = _autocast(self.device.type)

    @classmethod
    def load(cls, choice: ClipChoice, device: str = "auto") -> ClipModel:
        """Load the weights of `choice`; StudioError says what is missing or wrong with them.

        `device` is auto, cpu, cuda, cuda:N or mps.
        """
        import torch

        from core.clip.loading import load_network

        loaded = load_network(choice)
        if device == "auto":
            device = (
                "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
            )
        try:
            return cls(loaded.network, loaded.tokenizer, choice, loaded.key, loaded.card, device)
        except RuntimeError as error:  # also torch's out of memory
            raise StudioError(
                f"{choice.title} can't be used on {device}: {str(error).splitlines()[0]}.",
                "Choose a smaller model, or the processor as device.",
            ) from error

    def embed_images(self, images: Sequence[np.ndarray], *, aligned: bool = False) -> np.ndarray:
        """(N, D) float32 of unit length for N images, each (H, W, 3) uint8 sRGB of any size.

        A model that knows faces only looks for the face in each and aligns it, unless they are `aligned`.
        """
        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            if self._portraits and not aligned:
                part = [portrait(image)[0] for image in part]
            rows.append(self._embed([self._fitted(as_image(image)) for image in part]))
        return np.concatenate(rows)

    def embed_files(
        self, paths: Sequence[Path], cancelled: Callable[[], bool] = lambda: False, batch: int = BATCH
    ) -> Iterator[EmbeddedFiles]:
        """Embed image files, a batch at a time as they are done; files that can't be read are told, not
        raised.

        Files are read ahead, in threads, or in processes where faces are to be found in many.
        """
        ahead = 3 * batch
        with self._readers(len(paths)) as pool:
            waiting: deque[tuple[int, Future[tuple[np.ndarray | None, bool, str]]]] = deque()
            following = iter(range(len(paths)))

            def fill() -> None:
                while len(waiting) < ahead and (i := next(following, None)) is not None:
                    waiting.append((i, pool.submit(_show, paths[i], self.size, self._portraits, self._steps)))

            fill()
            try:
                while waiting and not cancelled():
                    taken = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
                    # read on while the network works
                    fill()
                    shown = [(i, *future.result()) for i, future in taken]
                    good = [(i, pixels, found) for i, pixels, found, _ in shown if pixels is not None]
                    rows = self._embed([pixels for _, pixels, _ in good])
                    yield EmbeddedFiles(
                        np.array([i for i, _, _ in good], np.int64),
                        rows,
                        np.array([not found for _, _, found in good], bool),
                        {i: why for i, pixels, _, why in shown if pixels is None},
                    )
            finally:
                for _, future in waiting:
                    future.cancel()

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(T, D) float32 of unit length."""
        import torch

        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(texts), BATCH):
            with torch.inference_mode():
                tokens = self._tokenizer([str(t) for t in texts[start : start + BATCH]]).to(self.device)
                rows.append(_unit(self._network.encode_text(tokens)))
        return np.concatenate(rows)

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words of a prompt that the model never saw in its training, and that count for nothing.

        Empty for models that keep no list of words: large ones have seen about every word.
        """
        words = self._words()
        if not words:
            return ()
        return tuple(w for w in re.findall(r"[^\s,.;:!?()“”\"]+", text.lower()) if w not in words)

    def _words(self) -> frozenset[str]:
        return frozenset(self.card.get("words", ()))

    def _fitted(self, image: Image.Image) -> np.ndarray:
        return _fitted(image, self._steps)

    def _embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) of images (S, S, 3) uint8 as open_clip's resize and crop left them."""
        import torch

        if not images:
            return np.zeros((0, self.dim), np.float32)
        with torch.inference_mode(), self._casting():
            batch = torch.from_numpy(np.stack(images)).to(self.device)
            # channels last in memory already
            pixels = batch.permute(0, 3, 1, 2).float().div_(255).sub_(self._mean).div_(self._std)
            return _unit(self._network.encode_image(pixels))

    def _casting(self) -> Any:
        import torch

        return torch.autocast(
            self.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None
        )

    def _readers(self, count: int) -> Executor:
        workers = os.cpu_count() or 1
        if self._portraits and count >= MANY and workers > 1:
            return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread)
        # the face finder is for one thread at a time
        return ThreadPoolExecutor(1 if self._portraits else workers, thread_name_prefix="clip-reader")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _fitted(image: Image.Image, steps: Sequence[Callable[[Any], Any]]) -> np.ndarray:
    for step in steps:
        image = step(image)
    return np.array(image)


def _show(
    path: Path, size: int, portraits: bool, steps: Sequence[Callable[[Any], Any]]
) -> tuple[np.ndarray | None, bool, str]:
    """What the model sees of a file, whether it is a face (or need not be), or why it can't be read."""
    try:
        found = True
        image = read_image(path, READ if portraits else OVERSAMPLING * size)
        if portraits:
            pixels, found = portrait(np.asarray(image))
            image = as_image(pixels)
        return _fitted(image, steps), found, ""
    except StudioError as error:
        return None, False, error.message


def _unit(rows: torch.Tensor) -> np.ndarray:
    from torch.nn import functional

    return functional.normalize(rows.float(), dim=-1).cpu().numpy()


def _dim(network: Any) -> int:
    """The length of an embedding, from a text: every kind of network has that side."""
    import torch

    with torch.inference_mode():
        tokens = torch.zeros(1, getattr(network, "context_length", 77), dtype=torch.long)
        return int(network.encode_text(tokens).shape[-1])


@cache
def _autocast(device: str) -> torch.dtype | None:
    """The smaller type that the device multiplies faster, or None for plain fp32.

    CUDA: fp16. Elsewhere it is tried once: processors without the instructions are several times slower in
    bf16.
    """
    import torch

    if device == "cuda":
        return torch.float16
    if device != "cpu":
        return None
    times = {}
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.ones(256, 768, dtype=kind), torch.ones(768, 768, dtype=kind)
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(4):
                a @ b
            best = min(best, time.perf_counter() - start)
        times[kind] = best
    return torch.bfloat16 if times[torch.bfloat16] < times[torch.float32] / 1.3 else None
