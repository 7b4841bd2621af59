"""CLIP for one collection: model, embeddings, scores. Qt-free; all calls are made on the worker's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.annotate import Assignment, Preview, Rule, Scorer, Scores, assign, preview
from core.annotate.flow import embeddings_of
from core.attributes import Attribute
from core.collection import Collection, LabelTable

if TYPE_CHECKING:
    from core.clip import ClipChoice, ClipModel


class Annotator:
    """Scores the images of `collection` with one model."""

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

    def forget_embeddings(self) -> None:
        """Read them again for the next scores: there are more."""
        self._scorer = None if self._scorer is None else self._scorer.with_embeddings(self._read())

    def _read(self) -> np.ndarray:
        self._ids = self.collection.images().ids
        return embeddings_of(self.collection, self.model, np.float16)

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
