"""What the annotator is taught with: faces as they may be photographed, and captions of what is known."""

from __future__ import annotations

import random

import numpy as np
import torch
from open_clip import get_tokenizer
from torch.nn import functional as F

from core.clip.captions import caption, choose_facts, weight_of
from core.clip.facts import FACTS, INDEX
from core.clip.wordings import held_out_wordings
from core.training.augment import moved
from core.training.dataset import Dataset, balance_weights

GREY = 128
# Images of a source in an epoch, relative: LFW tells no more than the gender, CelebA tells the most.
SOURCE_WEIGHT = {"celeba": 3.0, "utkface": 1.5, "lfw": 0.15}
VOCABULARY = 49408
START, END = 49406, 49407  # open_clip's tokens around a text


class Faces:
    """Prepared images and the facts of each."""

    def __init__(self, dataset: Dataset, facts: np.ndarray) -> None:
        self._dataset = dataset
        self.facts = facts
        self.known = [{FACTS[j]: bool(row[j] > 0) for j in np.flatnonzero(row)} for row in facts]
        sources = np.asarray(dataset.index.source)[dataset.rows]
        shares = np.array([SOURCE_WEIGHT.get(s, 1.0) for s in dataset.index.sources])
        whole = [self._inside(np.arange(i, min(i + 512, len(facts)))) for i in range(0, len(facts), 512)]
        self._bordered = np.flatnonzero(np.concatenate([part.mean((1, 2)) for part in whole]) < 0.8)
        told = np.maximum(1, (facts != 0).sum(0))
        self.shares = ((facts > 0).sum(0) / told).clip(0.01, 0.99)
        weights = balance_weights(dataset.label_array(), 0.6) * shares[sources] * (np.abs(facts).sum(1) > 0)
        self.probability = weights / weights.sum()

    def _inside(self, rows: np.ndarray) -> np.ndarray:
        """(N, S, S) bool: where the photos are, in the size they are stored in."""
        return (self._dataset.inside_of(rows, self._dataset.images.shape[1])[:, 0] > 0).numpy()

    def shown(self, rows: np.ndarray, size: int, rng: np.random.Generator) -> torch.Tensor:
        """(N, 3, size, size) float32 in 0..1: mirrored, moved, turned, with other colours and borders."""
        n = len(rows)
        pixels = np.asarray(self._dataset.images[self._dataset.rows[rows]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        inside = self._inside(rows)
        # where an image ends must not tell its source: others get such borders too, filled in the same ways
        if len(self._bordered):
            others = rng.random(n) < 0.2
            borders = self._inside(rng.choice(self._bordered, n))
            inside = inside & np.where(others[:, None, None], borders, True)
        fill = torch.full((n, 3, 1, 1), float(GREY))
        kind = rng.random(n)
        plain = kind < 0.25
        fill[plain] = torch.from_numpy(rng.uniform(0, 255, (int(plain.sum()), 3, 1, 1)).astype(np.float32))
        fills = fill.expand_as(images).clone()
        pasted = np.flatnonzero((kind >= 0.25) & (kind < 0.5))
        fills[pasted] = images[rng.permutation(n)[: len(pasted)]]
        images = torch.where(torch.from_numpy(inside)[:, None], images, fills)
        angle = rng.normal(0, 0.07, n)
        scale = np.exp(rng.normal(-0.02, 0.08, n))
        mirror = rng.choice((-1.0, 1.0), n)
        places = (angle, scale, rng.normal(0, 0.05, (n, 2)), mirror)
        turned, sized, shifted, sides = (torch.from_numpy(p.astype(np.float32)) for p in places)
        if images.shape[2] > size:
            images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        images = moved(images, turned, sized, shifted, sides, size).div_(255)

        def per_image(low: float, high: float, channels: int = 1) -> torch.Tensor:
            return torch.from_numpy(rng.uniform(low, high, (n, channels, 1, 1)).astype(np.float32))

        grey = images.mean(1, keepdim=True)
        images = torch.lerp(grey.expand_as(images), images, per_image(0.75, 1.2))
        middle = images.mean((1, 2, 3), keepdim=True)
        light = per_image(0.85, 1.15) * per_image(0.96, 1.04, 3)
        return (images - middle) * per_image(0.75, 1.25) + middle * light


class Speech:
    """Captions as tokens. Tokens that no caption has are kept at zero: an unknown word says nothing."""

    def __init__(self, faces: Faces, seed: int, sample: int, length: int) -> None:
        """Words are of `sample` captions; a text has `length` tokens."""
        self.tokenize = get_tokenizer("", context_length=length)
        self.held_out = held_out_wordings()
        rng = random.Random(seed)
        texts: set[str] = set()
        for _ in range(sample):
            told, text = self.say(rng.choice(faces.known), rng)
            if told:
                texts.add(text)
        self.known = np.zeros(VOCABULARY, bool)
        self.words = sorted({word.strip(",") for text in texts for word in text.split()})
        for start in range(0, len(self.words), 1000):
            self.known[self.tokenize(self.words[start : start + 1000]).numpy().ravel()] = True
        self.known[[0, START, END]] = True
        self.known[self.tokenize([","]).numpy().ravel()] = True
        self.unknown = np.flatnonzero(~self.known)
        neutral = "the a an of and that is this in here on we you it for to at from very so some by has as"
        self.neutral = [int(t) for t in self.tokenize([neutral])[0] if t not in (0, START, END)]
        self.neutral = [t for t in self.neutral if self.known[t]]

    def say(
        self, known: dict[str, bool], rng: random.Random, first: str | None = None
    ) -> tuple[dict[str, bool], str]:
        """Facts of an image, `first` among them, and a caption that tells them, not in held-out words."""
        while told := choose_facts(known, rng, first):
            text = caption(told, rng)
            if not any(held in text for held in self.held_out):
                return told, text
        return {}, ""

    def batch(
        self, faces: Faces, rows: np.ndarray, count: int, rng: random.Random
    ) -> list[tuple[dict[str, bool], str]]:
        """Captions for `rows`: first what is told, so that rare facts have their share, then of whom."""
        facts = faces.facts[rows]
        options = [(name, sign) for name in FACTS for sign in (1, -1) if weight_of(name, sign > 0) > 0]
        options = [(name, sign) for name, sign in options if (facts[:, INDEX[name]] == sign).any()]
        chosen = rng.choices(options, [weight_of(name, sign > 0) for name, sign in options], k=count)
        said = []
        for name, sign in chosen:
            row = rng.choice(np.flatnonzero(facts[:, INDEX[name]] == sign).tolist())
            said.append(self.say(faces.known[rows[row]], rng, name))
        return [(told, text) for told, text in said if told]

    def tokens(self, texts: list[str], rng: random.Random) -> torch.Tensor:
        """(T, C) int64, now and then with words before and behind that say nothing."""
        table = self.tokenize(texts)
        length = table.shape[1]
        for row in table:
            if rng.random() < 0.4:
                words = [int(t) for t in row if t not in (0, START, END)]
                before, behind = rng.choice(((1, 0), (2, 0), (3, 1), (0, 1), (0, 2), (1, 1), (5, 0)))
                extra = [
                    rng.choice(self.neutral) if rng.random() < 0.5 else int(rng.choice(self.unknown))
                    for _ in range(before + behind)
                ]
                words = [*extra[:before], *words, *extra[before:]][: length - 2]
                row.zero_()
                row[: len(words) + 2] = torch.tensor([START, *words, END])
        return table
