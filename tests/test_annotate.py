"""Scores and rules: known answers, and the paper's rule against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.annotate import (
    BalancedTopK,
    Margin,
    Rule,
    Scorer,
    Scores,
    Threshold,
    TopK,
    assign,
    default_k,
    preview,
    score,
)
from core.annotate.scores import descending, ensemble
from core.attributes import Attribute, Value, prompts_of
from core.errors import StudioError

# five images by three values; the best two of a: 0, 1; of b: 1, 2; of c: 3, 4
TABLE = np.array(
    [[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.6, 0.2], [0.2, 0.3, 0.5], [0.1, 0.2, 0.4]], np.float32
)


def scores_of(table: np.ndarray) -> Scores:
    """Scores with one prompt a value."""
    names = "abcdefghij"[: table.shape[1]]
    attribute = Attribute("letter", "Letter", tuple(Value(n, n.upper(), (f"the letter {n}",)) for n in names))
    texts = tuple(prompts_of(attribute, value)[0] for value in attribute.values)
    owner = np.arange(len(texts), dtype=np.int16)
    table = table.astype(np.float32)
    return Scores(attribute, texts, owner, table, table, model="a model")


class Texts:
    """Embeddings of texts by what they say, which counts what it was asked."""

    def __init__(self, dim: int = 8) -> None:
        self.dim, self.asked = dim, []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        seeds = [sum(map(ord, text)) for text in texts]
        rows = np.stack([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def unit(rng: np.random.Generator, count: int, dim: int = 8) -> np.ndarray:
    rows = rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


GLASSES = Attribute(
    "glasses",
    "Glasses",
    (
        Value("none", "None", ("a bare face",)),
        Value("glasses", "Glasses", ("glasses", "spectacles", "a face with glasses")),
        Value("monocle", "Monocle"),
    ),
)


# --------------------------------------------------------------------------------------------------- scores


def test_a_values_score_is_the_cosine_with_its_prompts_mean() -> None:
    embeddings, texts = unit(np.random.default_rng(0), 50), Texts()
    found = score(embeddings, GLASSES, texts)
    single = texts(list(found.texts))
    assert found.texts == ("a bare face", "glasses", "spectacles", "a face with glasses")
    assert found.owner.tolist() == [0, 1, 1, 1]
    np.testing.assert_allclose(found.prompts, embeddings @ single.T, atol=1e-6)
    mean = single[1:].mean(axis=0)
    np.testing.assert_allclose(found.values[:, 1], embeddings @ (mean / np.linalg.norm(mean)), atol=1e-6)
    np.testing.assert_allclose(found.values[:, 0], embeddings @ single[0], atol=1e-6)
    assert np.isnan(found.values[:, 2]).all(), "nobody said what a monocle looks like"
    assert set(found.best.tolist()) == {0, 1}


def test_templates_take_each_prompt_and_a_value_may_have_its_own() -> None:
    attribute = Attribute(
        "species",
        "Species",
        (Value("cat", "Cat", ("a cat", " a kitten ", "")), Value("dog", "Dog", ("a dog",), ("{}, barking",))),
        ("a photo of {}", "{}"),
    )
    cat, dog = attribute.values
    assert prompts_of(attribute, cat) == ("a photo of a cat", "a cat", "a photo of a kitten", "a kitten")
    assert prompts_of(attribute, dog) == ("a dog, barking",)


def test_margin_entropy_and_probability_of_known_scores() -> None:
    found = scores_of(np.array([[0.3, 0.3, 0.3], [0.5, 0.2, 0.1], [0.1, 0.11, 0.0]]))
    assert found.best.tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.margin, [0, 0.3, 0.01], atol=1e-6)
    np.testing.assert_allclose(found.entropy[:2], [1, 0], atol=1e-4)
    odds = np.exp(1.0)
    np.testing.assert_allclose(found.probability[2, 1], odds / (1 + odds), atol=1e-3)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1, atol=1e-6)
    assert found.rank[:, 0].tolist() == [1, 0, 2]


def test_images_without_an_embedding_get_nothing() -> None:
    embeddings = unit(np.random.default_rng(1), 6)
    embeddings[2] = np.nan
    found = score(embeddings, GLASSES, Texts())
    assert found.known.tolist() == [True, True, False, True, True, True]
    assert found.best[2] == -1 and np.isnan(found.margin[2]) and np.isnan(found.entropy[2])
    assert found.rank[2].tolist() == [6, 6, 6]
    rules: list[Rule] = [TopK(6), BalancedTopK(6), Threshold({"none": -1.0}), Margin()]
    for rule in rules:
        assert not assign(rule, found).claims[2].any()


def test_only_the_changed_prompt_is_computed_again() -> None:
    embeddings, texts = unit(np.random.default_rng(2), 40), Texts()
    scorer = Scorer(embeddings, texts)
    before = scorer.score(GLASSES)
    assert before.rank.shape == (40, 3)
    texts.asked.clear()
    typed = Attribute(
        "glasses", "Glasses", (GLASSES.values[0], Value("glasses", "Glasses", ("glasses", "big glasses")))
    )
    after = scorer.score(typed)
    assert texts.asked == ["big glasses"]
    fresh = score(embeddings, typed, Texts())
    np.testing.assert_allclose(after.values, fresh.values, atol=1e-6)
    np.testing.assert_array_equal(after.rank, fresh.rank)
    np.testing.assert_array_equal(after.rank[:, 0], before.rank[:, 0])


def test_half_precision_rows_score_the_same_in_blocks() -> None:
    embeddings = unit(np.random.default_rng(3), 9000)
    whole, half = (score(e, GLASSES, Texts()) for e in (embeddings, embeddings.astype(np.float16)))
    np.testing.assert_allclose(whole.prompts, half.prompts, atol=2e-3)


def test_no_prompts_at_all_is_said() -> None:
    silent = Attribute("mood", "Mood", (Value("good", "Good"), Value("bad", "Bad", ("  ",))))
    with pytest.raises(StudioError, match="No value of Mood has a prompt"):
        score(unit(np.random.default_rng(0), 3), silent, Texts())


@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-1, 1, width=16) | st.just(-np.inf)))
def test_descending_is_a_stable_sort(values: np.ndarray) -> None:
    np.testing.assert_array_equal(descending(values), np.argsort(-values, kind="stable"))


def test_ensemble_of_equal_prompts_is_the_prompt() -> None:
    row = unit(np.random.default_rng(4), 1)
    mixture = ensemble(np.repeat(row, 3, axis=0), np.zeros(3, np.int16), 1)
    np.testing.assert_allclose(mixture, 1 / 3, atol=1e-6)


# ---------------------------------------------------------------------------------------------------- rules


def test_top_k_drops_what_two_values_claim_and_lists_it() -> None:
    found = assign(TopK(2), scores_of(TABLE))
    assert found.values.tolist() == [0, -1, 1, 2, 2]
    assert found.conflicts.tolist() == [False, True, False, False, False]
    assert found.claimants(1) == ("b", "a"), "first for b, second for a"
    assert found.counts.tolist() == [1, 1, 2]


def test_balanced_top_k_gives_the_conflict_to_its_better_rank_and_the_loser_goes_on() -> None:
    found = assign(BalancedTopK(2), scores_of(TABLE))
    # a asks for 0, 1; b for 1, 2, where 1 is its best; a goes on to 2, which is b's second and a's third
    # a ends with 3, c's best: c keeps it, so a takes 4, which c ranks second, then has no more
    assert found.values.tolist() == [0, 1, 1, 2, 2]
    assert found.conflicts.tolist() == [False, True, True, True, True]
    even = assign(BalancedTopK(1), scores_of(TABLE))
    assert even.values.tolist() == [0, 1, -1, 2, -1] and not even.conflicts.any()


def test_threshold_labels_all_that_reach_it() -> None:
    found = assign(Threshold({"a": 0.8, "b": 0.6}), scores_of(TABLE))
    assert found.values.tolist() == [0, -1, 1, -1, -1]
    assert np.flatnonzero(found.conflicts).tolist() == [1]
    assert not found.claims[:, 2].any(), "a value without a threshold claims nothing"


def test_margin_labels_the_clear_ones() -> None:
    found = assign(Margin(0.15), scores_of(TABLE))
    assert found.values.tolist() == [0, -1, 1, 2, 2]
    assert found.claimants(1) == ("b", "a")
    found = assign(Margin(0.15, 0.5), scores_of(TABLE))
    assert found.values.tolist() == [0, -1, 1, 2, -1] and not found.claims[4].any()
    assert assign(Margin(), scores_of(TABLE)).values.tolist() == [0, 0, 1, 2, 2]


def test_equal_scores_go_by_position_and_a_tie_of_values_to_the_first() -> None:
    found = assign(TopK(2), scores_of(np.array([[0.5, 0.1], [0.5, 0.2], [0.5, 0.3]])))
    assert found.claims[:, 0].tolist() == [True, True, False]
    assert assign(Margin(), scores_of(np.array([[0.5, 0.5]]))).values.tolist() == [0]


def test_only_eligible_images_take_part() -> None:
    eligible = np.array([False, True, True, True, True])
    found = assign(TopK(1), scores_of(TABLE), eligible)
    assert found.values.tolist() == [-1, -1, -1, 2, -1]
    assert found.claimants(1) == ("b", "a")


def test_a_label_tells_why() -> None:
    found = assign(TopK(2), scores_of(TABLE))
    assert found.reason(1) is None
    reason = found.reason(2)
    assert reason is not None
    assert reason["value"] == "b" and reason["prompt"] == "the letter b" and reason["model"] == "a model"
    assert reason["score"] == pytest.approx(0.6) and reason["margin"] == pytest.approx(0.3)
    assert (reason["rank"], reason["of"]) == (2, 5)
    assert reason["rule"] == "the 2 best of each value, without conflicts"
    settled = assign(BalancedTopK(2), scores_of(TABLE)).reason(1)
    assert settled is not None and settled["value"] == "b" and settled["conflict"] == ["b", "a"]


def test_the_preview_leaves_out_what_people_have_settled() -> None:
    scores = scores_of(TABLE)
    settled = np.array([True, False, False, False, False])
    found = preview(TopK(2), scores, settled)
    assert (found.counts, found.conflicts, found.skipped) == ((0, 1, 2), 1, 1)
    assert preview(TopK(2), scores, np.array([False, True, False, False, False])).conflicts == 0
    filled = preview(TopK(), scores).rule
    assert filled == TopK(1)


def test_default_k() -> None:
    assert [default_k(70_000, v) for v in (2, 4, 7)] == [1000, 1000, 1000], "the paper's"
    assert default_k(500, 2) == 25 and default_k(500, 5) == 10
    assert default_k(3, 4) == 1 and default_k(0, 4) == 0


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (TopK(-1), "are no number"),
        (Threshold({}), "No value has a threshold"),
        (Threshold({"z": 0.1}), "no value “z”"),
        (Threshold({"a": 3.0}), "not from -1 to 1"),
        (Threshold({"a": float("nan")}), "not from -1 to 1"),
        (Margin(-0.1), "margin is below 0"),
        (Margin(float("nan")), "margin is below 0"),
    ],
)
def test_senseless_rules_are_refused(rule: Rule, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        assign(rule, scores_of(TABLE))


# few distinct numbers, so that there are ties
tables = arrays(
    np.float32,
    st.tuples(st.integers(1, 25), st.integers(1, 5)),
    elements=st.integers(-9, 9).map(lambda i: i / 10),
)


@settings(deadline=None, max_examples=150)
@given(tables, st.integers(1, 30), st.randoms())
def test_the_papers_rule_against_a_plain_loop(table: np.ndarray, k: int, random: object) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    known = rng.random(len(table)) < 0.9
    table = np.where(known[:, None], table, np.nan)
    claimed: dict[int, list[int]] = {}
    for value in range(table.shape[1]):
        images = [i for i in range(len(table)) if known[i]]
        for image in sorted(images, key=lambda i: (-table[i, value], i))[:k]:
            claimed.setdefault(image, []).append(value)
    wanted = [claimed[i][0] if len(claimed.get(i, [])) == 1 else -1 for i in range(len(table))]
    found = assign(TopK(k), scores_of(table))
    assert found.values.tolist() == wanted
    assert np.flatnonzero(found.conflicts).tolist() == sorted(i for i, v in claimed.items() if len(v) > 1)
    for image, values in claimed.items():
        assert sorted(found.claimants(image)) == ["abcde"[v] for v in values]


@settings(deadline=None, max_examples=150)
@given(tables, st.integers(1, 12))
def test_balanced_labels_are_a_stable_matching(table: np.ndarray, k: int) -> None:
    scores = scores_of(table)
    found = assign(BalancedTopK(k), scores)
    count, values = table.shape
    rank = [[(int(scores.rank[i, v]), v) for v in range(values)] for i in range(count)]
    held = [np.flatnonzero(found.values == v).tolist() for v in range(values)]
    for v in range(values):
        assert len(held[v]) <= k
        for i in range(count):
            if found.values[i] == v:
                continue
            image_would = found.values[i] < 0 or rank[i][v] < rank[i][found.values[i]]
            value_would = len(held[v]) < k or any(rank[i][v][0] < rank[j][v][0] for j in held[v])
            assert not (image_would and value_would), "both would rather have each other"
