"""CLIP for one collection: model, embeddings, scores. Qt-free; all calls are made on the worker's thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from core.annotate import Assignment, Preview, Rule, Scorer, Scores, assign, preview
from core.attributes import Attribute
from core.collection import Collection, LabelTable
from core.errors import StudioError

if TYPE_CHECKING:
    from core.clip import ClipChoice, ClipModel

BATCH = 32
READ = 448  # longer side at which images are read: more than any model here looks at
BLOCK = 4096
log = logging.getLogger(__name__)


class Annotator:
    """Embeds and scores the images of `collection` with one model."""

    def __init__(self, collection: Collection, choice: ClipChoice) -> None:
        self.collection, self.choice = collection, choice
        self._model: ClipModel | None = None
        self._scorer: Scorer | None = None
        self._ids: np.ndarray = np.zeros(0, np.int64)

    @property
    def model(self) -> ClipModel:
        """The model, loaded when it is first asked for; StudioError where it can't be."""
        if self._model is None:
            from core.clip import ClipModel
            from core.preload import preload_torch

            preload_torch()
            self._model = ClipModel.load(self.choice)
        return self._model

    @property
    def domain(self) -> str:
        """What the model knows where that is narrow; empty before it is loaded."""
        return self._model.domain if self._model is not None else ""

    def missing(self) -> np.ndarray:
        """Ids of the images that have no embedding yet."""
        return self.collection.embeddings(self.model.key, self.model.dim).missing()

    def embed(self, ids: np.ndarray, cancelled: Callable[[], bool]) -> int:
        """Embed images `ids` (M,) and keep them; how many could be read."""
        images = self.collection.images()
        kept, pictures = [], []
        from gui.curator.thumbnails import load_picture

        for number, position in zip(ids.tolist(), images.positions(ids).tolist(), strict=True):
            if cancelled():
                return 0
            if position < 0:
                continue
            try:
                picture = load_picture(self.collection.folder / images.paths[position], READ)
            except (StudioError, OSError, ValueError) as error:
                log.info("not embedded: %s", error)
                continue
            kept.append(number)
            pictures.append(np.asarray(picture))
        if kept:
            rows = self.model.embed_images(pictures)
            store = self.collection.embeddings(self.model.key, self.model.dim)
            store.write(np.array(kept, np.int64), rows)
        return len(kept)

    def forget_embeddings(self) -> None:
        """Read them again for the next scores: there are more."""
        self._scorer = None if self._scorer is None else self._scorer.with_embeddings(self._read())

    def _read(self) -> np.ndarray:
        """(N, D) float16 of all images, nan where there is no embedding."""
        model = self.model
        store, images = self.collection.embeddings(model.key, model.dim), self.collection.images()
        have = store.have
        rows = np.full((len(images), model.dim), np.nan, np.float16)
        there = np.flatnonzero(have)
        for start in range(0, len(there), BLOCK):
            part = there[start : start + BLOCK]
            rows[part] = store.rows(images.ids[part])
        self._ids = images.ids
        return rows

    @property
    def scorer(self) -> Scorer:
        """Scores of the embeddings there are, aligned with the collection's images."""
        if self._scorer is None:
            self._scorer = Scorer(self._read(), self.model.embed_texts, model=self.model.key)
        elif len(self._ids) != len(self.collection.images()):
            self.forget_embeddings()
        return self._scorer

    def score(self, attribute: Attribute) -> Scores:
        """Scores of an attribute, with what the grid reads already computed."""
        scores = self.scorer.score(attribute)
        _ = scores.best, scores.margin
        return scores


def foresee(rule: Rule, scores: Scores, labels: LabelTable) -> tuple[Assignment, Preview]:
    """What a rule would do. StudioError where its numbers make no sense."""
    found = assign(rule, scores)
    _ = found.conflicts
    return found, preview(rule, scores, labels.settled)
