"""How well images fit an attribute's values: cosines of CLIP embeddings of images and of prompts.

A value's prompts make an ensemble: their unit embeddings are averaged and the mean is scaled to unit length,
as CLIP's authors do it (Radford et al. 2021, section 3.1.4). The score of a value is therefore a fixed
mixture of the scores of its prompts, so that a changed prompt costs one column, not a new look at all
embeddings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from core.attributes import Attribute, prompts_of
from core.errors import StudioError

EmbedTexts = Callable[[Sequence[str]], np.ndarray]
# CLIP's learned logit scale ends at its limit of 100 (Radford et al. 2021, section 2.5)
TEMPERATURE = 0.01
# rows that are turned to float32 at once: fits a processor's cache
BLOCK = 4096
# columns of scores that a Scorer keeps: 100 MB for 100,000 images
MOST_COLUMNS = 256
# orders of values that a Scorer keeps: 26 MB for 100,000 images
MOST_ORDERS = 64


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of N images for one attribute with V values and P prompts in all.

    `prompts` (N, P) float32: cosine of image and prompt; `texts` (P,) the prompts; `owner` (P,) int16: which
    value each belongs to. `values` (N, V) float32: cosine of image and ensemble, nan for a value without
    prompts, which CLIP never proposes. Rows of images without an embedding are nan; `known` (N,) tells.
    Everything else is computed when it is first asked for. Arrays are not to be changed.
    """

    attribute: Attribute
    texts: tuple[str, ...]
    owner: np.ndarray = field(repr=False)
    prompts: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    temperature: float = TEMPERATURE
    model: str = ""
    # orders of values by their prompts, which the scores of one Scorer share
    orders: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) bool: has an embedding, and so scores."""
        return np.isfinite(self.values).any(axis=1)

    @cached_property
    def filled(self) -> np.ndarray:
        """(N, V) float32: `values` with -inf instead of nan."""
        return np.where(np.isnan(self.values), np.float32(-np.inf), self.values)

    @cached_property
    def best(self) -> np.ndarray:
        """(N,) int16: the value with the highest score; -1 without scores."""
        return np.where(self.known, self.filled.argmax(axis=1), -1).astype(np.int16)

    @cached_property
    def margin(self) -> np.ndarray:
        """(N,) float32: the best score less the runner-up's; inf without a runner-up, nan where unknown."""
        if self.values.shape[1] < 2:
            return np.where(self.known, np.float32(np.inf), np.float32(np.nan))
        top = np.partition(self.filled, -2, axis=1)
        with np.errstate(invalid="ignore"):  # -inf less -inf: unknown
            return (top[:, -1] - top[:, -2]).astype(np.float32)

    @cached_property
    def probability(self) -> np.ndarray:
        """(N, V) float32: softmax of score / temperature over the values; nan rows where unknown.

        Comparable between images, but not calibrated: CLIP was never told that one of these values holds.
        """
        with np.errstate(invalid="ignore"):
            logits = (self.filled - self.filled.max(axis=1, keepdims=True)) / np.float32(self.temperature)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=1, keepdims=True)
        return logits

    @cached_property
    def entropy(self) -> np.ndarray:
        """(N,) float32: entropy of `probability`, from 0 (certain) to 1 (all values alike); nan unknown."""
        p = self.probability
        with np.errstate(invalid="ignore", divide="ignore"):
            terms = np.where(p > 0, p * np.log(p), np.float32(0))
        worst = np.log(max(2, int(np.isfinite(self.values).any(axis=0).sum())))
        return np.where(self.known, -terms.sum(axis=1) / worst, np.nan).astype(np.float32)

    @cached_property
    def order(self) -> np.ndarray:
        """(V, N) int32: each value's images from best to worst, equal ones by position, unknown last."""
        rows = []
        for value, column in enumerate(self.filled.T):
            key = tuple(self.texts[i] for i in np.flatnonzero(self.owner == value))
            if key not in self.orders:
                self.orders[key] = descending(column)
            rows.append(self.orders[key])
        return np.stack(rows)

    @cached_property
    def rank(self) -> np.ndarray:
        """(N, V) int32: place of the image among all by the value's score, 0 the best; N where unknown."""
        ranks = np.empty((self.values.shape[1], len(self)), np.int32)
        places = np.arange(len(self), dtype=np.int32)
        for row, order in zip(ranks, self.order, strict=True):
            row[order] = places
        return np.where(np.isnan(self.values), np.int32(len(self)), ranks.T)

    def best_prompt(self, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(M,) int64: of each value (M,) the prompt that the image at that position (M,) fits best."""
        found = np.zeros(len(positions), np.int64)
        for value in np.unique(values):
            columns = np.flatnonzero(self.owner == value)
            rows = np.flatnonzero(values == value)
            found[rows] = columns[self.prompts[positions[rows]][:, columns].argmax(axis=1)]
        return found


class Scorer:
    """Scores of one set of embeddings. Keeps what it knows of prompts, so that typing costs one prompt.

    `embeddings` (N, D) float32 or float16 of unit length, nan rows where there is none; `embed_texts` gives
    unit embeddings (T, D) of T texts. Calls from one thread at a time.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        embed_texts: EmbedTexts,
        temperature: float = TEMPERATURE,
        model: str = "",
    ) -> None:
        self.embeddings = embeddings
        self._embed_texts = embed_texts
        self._temperature = temperature
        self._model = model
        self._texts: dict[str, np.ndarray] = {}
        self._columns: OrderedDict[str, np.ndarray] = OrderedDict()
        self._orders: dict[tuple[str, ...], np.ndarray] = {}

    def with_embeddings(self, embeddings: np.ndarray) -> Scorer:
        """The same for other images: what is known of texts is kept."""
        other = Scorer(embeddings, self._embed_texts, self._temperature, self._model)
        other._texts = self._texts
        return other

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(T, D) float32 unit embeddings; texts seen before cost nothing."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            rows = np.asarray(self._embed_texts(new), np.float32)
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            self._texts.update(zip(new, rows, strict=True))
        dim = self.embeddings.shape[1]
        return np.stack([self._texts[t] for t in texts]) if texts else np.zeros((0, dim), np.float32)

    def score(self, attribute: Attribute) -> Scores:
        """Scores for an attribute; StudioError if none of its values has a prompt."""
        prompts = [prompts_of(attribute, value) for value in attribute.values]
        texts = tuple(text for of_value in prompts for text in of_value)
        if not texts:
            raise StudioError(
                f"No value of {attribute.title} has a prompt.",
                "Write at least one: a sentence that describes an image with that value.",
            )
        owner = np.repeat(np.arange(len(prompts), dtype=np.int16), [len(p) for p in prompts])
        columns = self._columns_of(texts)
        mixture = ensemble(self.texts(texts), owner, len(prompts))
        # one value's prompts at a time: 0 times the nan of nothing else can get in, and copies stay small
        values = np.empty((len(prompts), columns.shape[1]), np.float32)
        for value, row in enumerate(values):
            of_value = np.flatnonzero(owner == value)
            row[:] = mixture[of_value, value] @ columns[of_value] if len(of_value) else np.nan
        for key in list(self._orders)[:-MOST_ORDERS]:
            del self._orders[key]
        return Scores(
            attribute, texts, owner, columns.T, values.T, self._temperature, self._model, self._orders
        )

    def _columns_of(self, texts: Sequence[str]) -> np.ndarray:
        """(P, N) float32 cosines; only those of new texts are computed."""
        new = [text for text in dict.fromkeys(texts) if text not in self._columns]
        if new:
            found = cosines(self.embeddings, self.texts(new))
            self._columns.update(zip(new, found, strict=True))
        for text in texts:
            self._columns.move_to_end(text)
        stacked = np.stack([self._columns[text] for text in texts])
        while len(self._columns) > MOST_COLUMNS:
            self._columns.popitem(last=False)
        return stacked


def score(
    embeddings: np.ndarray,
    attribute: Attribute,
    embed_texts: EmbedTexts,
    temperature: float = TEMPERATURE,
    model: str = "",
) -> Scores:
    """Scores of `embeddings` (N, D) once; a `Scorer` keeps what it knows for the next time."""
    return Scorer(embeddings, embed_texts, temperature, model).score(attribute)


def descending(scores: np.ndarray) -> np.ndarray:
    """(N,) int32 positions from the highest of `scores` (N,) float32 to the lowest, equal ones by position.

    Sorts whole numbers made of score and position, which numpy does several times as fast as a stable
    argsort of the scores.
    """
    scores = np.ascontiguousarray(scores, np.float32) + np.float32(0)  # -0 is 0
    bits = scores.view(np.uint32)
    # numbers that rise as the scores fall: positive floats rise with their bits, negative ones fall
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
    keys = falling.astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(scores), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)


def cosines(embeddings: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """(P, N) float32 products of `embeddings` (N, D), float32 or float16, and `texts` (P, D)."""
    texts = np.ascontiguousarray(texts, np.float32)
    if embeddings.dtype == np.float32:
        return texts @ embeddings.T
    found = np.empty((len(texts), len(embeddings)), np.float32)
    for start in range(0, len(embeddings), BLOCK):
        block = embeddings[start : start + BLOCK].astype(np.float32)
        found[:, start : start + BLOCK] = texts @ block.T
    return found


def ensemble(texts: np.ndarray, owner: np.ndarray, values: int) -> np.ndarray:
    """(P, V) float32: how much each prompt's score counts in each value's, from unit embeddings (P, D).

    The cosine with the re-normalised mean of n unit vectors is the sum of the single cosines divided by
    n times the mean's length.
    """
    mixture = np.zeros((len(texts), values), np.float32)
    for value in range(values):
        of_value = np.flatnonzero(owner == value)
        if len(of_value):
            mixture[of_value, value] = 1 / np.linalg.norm(texts[of_value].sum(axis=0))
    return mixture
