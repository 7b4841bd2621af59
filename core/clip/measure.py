"""How well the annotator's zero-shot scores find what the labels of held-out faces say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.attributes import AttributeSet
from core.clip.facts import INDEX
from core.clip.model import BATCH, ClipModel
from core.clip.wordings import WORDINGS
from core.csv_table import read_csv
from core.paths import resources
from core.training.dataset import Dataset

# What the source's flags say of facial hair: the fact of a value, and how it is said, 1 true or -1 false.
FACIAL_HAIR = {
    "none": ("facial_hair", -1),
    "moustache": ("moustache", 1),
    "goatee": ("goatee", 1),
    "beard": ("beard", 1),
}
SIGNS = {"yes": 1, "no": -1, "": 0}


@dataclass(frozen=True)
class Precision:
    """One value: of `among` images whose source labels the attribute, `having` have the value.

    `k` is half of `having`, rounded up; `top` of the first `k` images by score have the value.
    """

    attribute: str
    value: str
    among: int
    having: int
    k: int
    top: int

    @property
    def precision(self) -> float:
        """The share of the first k that is right."""
        return self.top / self.k


def embed_prepared(model: ClipModel, dataset: Dataset) -> np.ndarray:
    """(N, D) embeddings of prepared images, which are aligned already."""
    rows = [
        model.embed_images(list(dataset.images[dataset.rows[start : start + BATCH]]), aligned=True)
        for start in range(0, len(dataset), BATCH)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, model.dim), np.float32)


def own_wordings(attributes: AttributeSet) -> dict[str, dict[str, tuple[str, ...]]]:
    """The prompts of an attribute set, as `WORDINGS` has them."""
    return {a.name: {v.name: v.prompts for v in a.values if v.prompts} for a in attributes}


def score_values(
    model: ClipModel, embeddings: np.ndarray, wordings: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """(N,) score of each value: the cosine with the mean of its wordings' embeddings."""
    scores = {}
    for value, texts in wordings.items():
        mean = model.embed_texts(list(texts)).mean(0)
        scores[value] = embeddings @ (mean / np.linalg.norm(mean))
    return scores


def measure(
    model: ClipModel,
    dataset: Dataset,
    embeddings: np.ndarray | None = None,
    wordings: Mapping[str, Mapping[str, Sequence[str]]] = WORDINGS,
) -> list[Precision]:
    """Precision of the top K of each value among the images whose source labels the attribute."""
    rows = embed_prepared(model, dataset) if embeddings is None else embeddings
    labels = dataset.label_array()
    found = []
    for name, values in wordings.items():
        attribute = dataset.attributes[name]
        known = labels[:, dataset.attributes.index(name)]
        among = known >= 0
        for value, scores in score_values(model, rows[among], values).items():
            found += _of_value(name, value, scores, known[among] == attribute.index(value))
    return found


def flagged_hair(facts: np.ndarray) -> dict[str, np.ndarray]:
    """(N,) of each value of facial hair: 1 if the flags say so, -1 if not, 0 where they leave it open.

    An attribute has one value, and its labels call facial hair by the most telling name. The source's flags
    are not exclusive: most moustaches are with a goatee, and who asks for moustaches is not wrong to find
    those. `facts` (N, F) as `core.clip.facts.read_facts` has them.
    """
    # those of UTKFace are from age and gender, and would only be told apart by these
    flagged = facts[:, INDEX["stubble"]] != 0
    return {v: np.where(flagged, sign * facts[:, INDEX[name]], 0) for v, (name, sign) in FACIAL_HAIR.items()}


def hair_by_eye(dataset: Dataset) -> dict[str, np.ndarray]:
    """The same as a look at held-out men of CelebA says it, blind to flags and scores; its women have none.

    Not exclusive either; what could not be told, mostly stubble, is left out (`docs/annotator.md`).
    """
    names = [dataset.index.names[row] for row in dataset.rows]
    values, lines = read_csv(resources() / "labels" / "held-out.csv")
    seen = {name: [SIGNS[cell] for cell in cells] for _, name, cells in lines}
    gender = dataset.attributes["gender"].index("female")
    women = dataset.label_array()[:, dataset.attributes.index("gender")] == gender
    rows = np.zeros((len(names), len(values)), np.int8)
    for row, name, woman in zip(rows, names, women, strict=True):
        row[:] = seen.get(name, -1 if woman and name.startswith("celeba/") else 0)
    none = np.where((rows == -1).all(1), 1, np.where((rows == 1).any(1), -1, 0))
    return {"none": none, **dict(zip(values, rows.T, strict=True))}


def measure_facial_hair(
    model: ClipModel,
    embeddings: np.ndarray,
    said: Mapping[str, np.ndarray],
    title: str,
    wordings: Mapping[str, Mapping[str, Sequence[str]]] = WORDINGS,
) -> list[Precision]:
    """Precision of each value of facial hair by itself, by what `said` (N,) says; `title` names the rows."""
    found = []
    for value, scores in score_values(model, embeddings, wordings["facial_hair"]).items():
        among = said[value] != 0
        found += _of_value(title, value, scores[among], said[value][among] == 1)
    return found


def _of_value(attribute: str, value: str, scores: np.ndarray, has: np.ndarray) -> list[Precision]:
    """Of scores (N,) of images that have the value or not (N,) bool; empty where none has."""
    k = -(-int(has.sum()) // 2)
    if not k:
        return []
    best = np.argsort(-scores, kind="stable")[:k]
    return [Precision(attribute, value, len(has), int(has.sum()), k, int(has[best].sum()))]


def table(columns: Mapping[str, Sequence[Precision]]) -> str:
    """A Markdown table: a line for each value, a column for each set of wordings."""
    lines = [
        "| attribute | value | labelled | have it | K | " + " | ".join(columns) + " |",
        "| --- | --- | --- | --- | --- | " + " | ".join("---" for _ in columns) + " |",
    ]
    first, *others = columns.values()
    rest = [{(p.attribute, p.value): p for p in column} for column in others]
    for p in first:
        cells = [p, *(column.get((p.attribute, p.value)) for column in rest)]
        shown = " | ".join("" if cell is None else f"{cell.precision:.3f}" for cell in cells)
        lines.append(f"| {p.attribute} | {p.value} | {p.among:,} | {p.having:,} | {p.k:,} | {shown} |")
    return "\n".join(lines)
