"""Metrics on codes with known answers: perfect, entangled, random."""

from __future__ import annotations

import numpy as np
import pytest

from core.metrics.dci import completeness, dci, disentanglement
from core.metrics.dcor import distance_correlation, distance_correlations, one_hot
from core.metrics.groups import grouped
from core.metrics.intervals import wilson
from core.metrics.mig import mig, mutual_information
from core.metrics.probe import probe
from core.metrics.sap import sap
from core.metrics.swaps import agreement, random_targets, score_swaps, swap_score

N, F, V, D = 1500, 3, 4, 3


@pytest.fixture(scope="module")
def factors():
    return np.random.default_rng(0).integers(0, V, (N, F))


@pytest.fixture(scope="module")
def perfect(factors):
    """(N, F, D): each factor's value embedding, as in the method."""
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(F, V, D)) * np.array([0.1, 1, 10])[:, None, None]
    return np.stack([embeddings[f][factors[:, f]] for f in range(F)], axis=1)


@pytest.fixture(scope="module")
def entangled(factors):
    """(N, F, D): all factors in every code."""
    rng = np.random.default_rng(2)
    every = np.concatenate([one_hot(factors[:, f]) for f in range(F)], axis=1)
    return np.stack([every @ rng.normal(size=(F * V, D)) for _ in range(F)], axis=1)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).normal(size=(N, F, D))


# ---- groups


def test_codes_come_in_three_forms():
    assert [p.shape for p in grouped(np.zeros((5, 2)))] == [(5, 1), (5, 1)]
    assert [p.shape for p in grouped(np.zeros((5, 2, 7)))] == [(5, 7), (5, 7)]
    assert [p.shape for p in grouped([np.zeros((5, 7)), np.zeros(5)])] == [(5, 7), (5, 1)]
    for bad in (np.zeros(5), [], [np.zeros(5), np.zeros(4)], np.full((5, 2), np.nan)):
        with pytest.raises(ValueError):
            grouped(bad)


@pytest.mark.parametrize("metric", [dci, sap, mig])
def test_factors_that_do_not_fit_are_refused(metric):
    codes = np.random.default_rng(0).normal(size=(50, 2))
    for bad in (
        np.zeros((49, 2), int),
        np.zeros((50, 2), int),
        np.random.default_rng(0).normal(size=(50, 2)),
    ):
        with pytest.raises(ValueError):
            metric(codes, bad)


# ---- DCI


def test_dci_from_importances():
    eye, flat = np.eye(3), np.full((3, 3), 1 / 3)
    assert disentanglement(eye)[0] == completeness(eye)[0] == 1
    assert disentanglement(flat)[0] == pytest.approx(0) and completeness(flat)[0] == pytest.approx(0)
    # two codes for one factor each half: disentangled, not complete
    split_codes = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]])
    assert disentanglement(split_codes)[0] == 1
    assert completeness(split_codes)[0] == pytest.approx(1 - np.log(2) / np.log(3) / 2)
    # one code for two factors, and one that nobody needs: complete, not disentangled
    shared = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert completeness(shared)[0] == 1 and disentanglement(shared)[0] == pytest.approx(0)
    assert disentanglement(np.zeros((2, 2)))[0] == 0


@pytest.fixture(scope="module")
def few():
    """Two factors of two and three values; the trees take their time."""
    rng = np.random.default_rng(4)
    factors = np.stack([rng.integers(0, 2, 400), rng.integers(0, 3, 400)], axis=1)
    every = np.concatenate([one_hot(factors[:, f]) for f in range(2)], axis=1)
    perfect = [one_hot(factors[:, f]) @ rng.normal(size=(f + 2, D)) for f in range(2)]
    # turned by 45 degrees: both factors need both codes alike
    a, b = (factors - factors.mean(axis=0)).T * np.array([[2], [1.2]])
    entangled = [code + 0.3 * rng.normal(size=400) for code in (a + b, a - b)]
    return factors, every, perfect, entangled, [rng.normal(size=(400, D)) for _ in range(2)]


def test_dci_of_perfect_entangled_and_random_codes(few):
    factors, _, *codes = few
    good, mixed, none = (dci(some, factors) for some in codes)
    assert min(good.disentanglement, good.completeness) > 0.99 and good.informativeness == 1
    assert good.importance.argmax(axis=0).tolist() == [0, 1]
    assert good.importance.sum(axis=0) == pytest.approx(1)
    assert max(mixed.disentanglement, mixed.completeness) < 0.2 and mixed.informativeness > 0.8
    assert max(none.disentanglement, none.completeness) < 0.1 and none.informativeness < 0.6


def test_dci_with_the_residual_as_another_group(few):
    factors, every, attributes = few[:3]
    rng = np.random.default_rng(5)
    clean = dci([*attributes, rng.normal(size=(400, 6))], factors)
    assert clean.importance.shape == (3, 2) and clean.completeness > 0.97
    blurred = [code + 3 * rng.normal(size=code.shape) * code.std() for code in attributes]
    leaking = dci([*blurred, every], factors)
    assert leaking.disentanglement < 0.3 and leaking.importance[2].min() > 0.8


def test_histogram_trees_agree_with_the_exact_ones():
    """Also the guard of what is read from inside scikit-learn: two values and several."""
    rng = np.random.default_rng(5)
    factors = np.stack([rng.integers(0, 2, 400), rng.integers(0, 3, 400)], axis=1)
    codes = factors + 0.4 * factors[:, ::-1] + 0.2 * rng.normal(size=(400, 2))
    codes = np.column_stack([codes, rng.normal(size=400)])
    fast, exact = dci(codes, factors), dci(codes, factors, trees="exact")
    assert fast.importance == pytest.approx(exact.importance, abs=0.05)
    assert fast.disentanglement == pytest.approx(exact.disentanglement, abs=0.05)
    assert fast.completeness == pytest.approx(exact.completeness, abs=0.05)
    assert fast.informativeness == pytest.approx(exact.informativeness, abs=0.08)


# ---- SAP


def test_sap_of_perfect_entangled_and_random_codes(factors, noise):
    rng = np.random.default_rng(6)
    perfect = np.stack([one_hot(factors[:, f]) for f in range(F)], axis=1) * 0.01
    assert sap(perfect, factors).score == pytest.approx(1 - 1 / V, abs=0.06)
    doubled = np.concatenate([perfect, perfect + rng.normal(size=perfect.shape) * 1e-6], axis=1)
    assert sap(doubled, factors).score == pytest.approx(0, abs=0.01)
    assert sap(noise, factors).score < 0.06
    one = sap(perfect[:, :1], factors[:, 0])
    assert one.score == pytest.approx(1 - 1 / V) and one.scores.shape == (1, 1)


def test_thresholds_read_what_a_line_cannot(factors):
    codes = factors + np.random.default_rng(7).normal(size=factors.shape) * 0.01
    assert sap(codes, factors, classifier="thresholds").score == pytest.approx(1 - 1 / V, abs=0.06)
    many = np.random.default_rng(7).integers(0, 10, (N, 2))
    assert sap(many.astype(float), many, classifier="thresholds").score > 0.8
    assert sap(many.astype(float), many).score < 0.5


def test_sap_does_not_depend_on_scale(factors):
    codes = factors[:, :2] + np.random.default_rng(8).normal(size=(N, 2)) * 0.3
    assert sap(codes * np.array([1e-3, 1e3]), factors).score == pytest.approx(
        sap(codes, factors).score, abs=1e-6
    )


# ---- MIG


def test_mutual_information():
    rng = np.random.default_rng(9)
    a, b = rng.integers(0, 4, 20_000), rng.integers(0, 5, 20_000)
    assert mutual_information(a, a) == pytest.approx(np.log(4), abs=1e-3)
    assert mutual_information(a, b) == pytest.approx(0, abs=2e-3)
    assert mutual_information(a, a // 2) == pytest.approx(np.log(2), abs=1e-3)


def test_mig_of_perfect_entangled_and_random_codes(perfect, entangled, noise, factors):
    assert mig(perfect, factors).score > 0.97
    assert mig(factors.astype(float), factors).score > 0.97  # codes of one number
    assert mig(np.concatenate([perfect, perfect], axis=1), factors).score == pytest.approx(0, abs=0.01)
    assert mig(entangled, factors).score < 0.2
    assert mig(noise, factors).score < 0.05 and mig(noise[..., 0], factors).score < 0.05
    # half of the factor's information (one of its two bits) in a code of one number
    assert mig((factors[:, :1] // 2).astype(float), factors[:, :1]).score == pytest.approx(0.5, abs=0.02)


# ---- probes


def test_probe_reads_what_is_there_and_guesses_otherwise(perfect, noise, factors):
    there = probe(perfect[:, :2].reshape(N, -1), factors, ["a", "b", "c"])
    assert [p.name for p in there] == ["a", "b", "c"]
    assert there[0].accuracy.share > 0.99 and there[1].accuracy.share > 0.99
    assert there[2].accuracy.share < 0.36
    for p in probe(noise.reshape(N, -1), factors):
        assert p.accuracy.low < p.majority + 0.05 and abs(p.above_guess) < 0.1
        assert p.chance == 0.25 and p.count == N


def test_probe_leaves_out_unknown_labels_and_states_the_majority():
    rng = np.random.default_rng(10)
    labels = np.stack([np.where(rng.random(N) < 0.9, 0, 1), rng.integers(0, 2, N), np.full(N, -1)], axis=1)
    codes = rng.normal(size=(N, 5)) + 5 * labels[:, 1:2]
    labels[: N // 2, 1] = -1
    rare, partly = probe(codes, labels, ["rare", "partly", "unknown"])
    assert rare.majority == pytest.approx(0.9, abs=0.02) and abs(rare.above_guess) < 0.02
    assert rare.balanced_accuracy < 0.6
    assert partly.count == N - N // 2 and partly.accuracy.count == pytest.approx(150, abs=1)
    assert partly.accuracy.share > 0.99
    with pytest.raises(ValueError):
        probe(codes, labels, ["one"])


def test_folds_test_every_sample_once():
    """The rare value's five samples can be told apart, so no fold of five misses one."""
    rng = np.random.default_rng(12)
    labels = np.repeat([0, 1], [595, 5])
    codes = rng.normal(size=(600, 3)) + 9 * labels[:, None]
    (once,), (all_,) = probe(codes, labels), probe(codes, labels, folds=5)
    assert (once.accuracy.count, all_.accuracy.count) == (120, 600)
    assert all_.accuracy.share == all_.balanced_accuracy == 1.0
    assert all_.majority == pytest.approx(595 / 600)
    # what one fold says lies about what all say
    turns, codes = rng.integers(0, 2, 600), rng.normal(size=(600, 40))
    folds = probe(codes + 0.15 * turns[:, None], turns, folds=5)[0]
    assert folds.accuracy.count == 600 and 0.55 < folds.accuracy.share < folds.train_accuracy
    with pytest.raises(ValueError):
        probe(codes, turns, folds=6)


# ---- distance correlation


def direct(x, y):
    """The definition of 2007, by loops over pairs."""

    def centred(v):
        d = np.array([[np.linalg.norm(a - b) for b in v] for a in v])
        return d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean()

    a, b = centred(x), centred(y)
    return np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


def test_a_bent_probe_reads_an_angle_that_a_straight_one_cannot() -> None:
    """Halves of a circle by turns: no straight line tells them apart."""
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, 1500)
    codes = np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.02, (1500, 2))
    turns = (angle // (np.pi / 3)).astype(int) % 2
    (straight,), (bent,) = probe(codes, turns), probe(codes, turns, bent=True)
    assert straight.accuracy.share < 0.75 and bent.accuracy.share > 0.93
    (nothing,) = probe(rng.normal(size=(1500, 2)), turns, bent=True)
    assert abs(nothing.above_guess) < 0.1


def test_distance_correlation_is_that_of_its_definition():
    rng = np.random.default_rng(11)
    x = rng.normal(size=(40, 3))
    y = x[:, :1] ** 2 + 0.3 * rng.normal(size=(40, 2))
    assert distance_correlation(x, y).biased == pytest.approx(direct(x, y), abs=1e-9)


def test_distance_correlation_of_dependent_and_independent_vectors():
    rng = np.random.default_rng(12)
    x = rng.normal(size=(800, 10))
    same, moved, curved, other, values = distance_correlations(
        x,
        [x, 3 * x @ np.linalg.qr(rng.normal(size=(10, 10)))[0] + 1, x[:, 0] ** 2, rng.normal(size=(800, 10)),
         one_hot((x[:, 0] > 0).astype(int))],
    )  # fmt: skip
    assert (same.biased, same.squared) == (pytest.approx(1), pytest.approx(1))
    assert (moved.biased, moved.squared) == (pytest.approx(1), pytest.approx(1))  # turned, scaled, shifted
    assert curved.squared > 0.005  # no linear probe sees this
    assert abs(other.squared) < 0.01 < other.biased  # why there are two
    assert values.squared > 0.05
    assert distance_correlation(x, x, most=100).count == 100


def test_bias_corrected_square_is_zero_on_average():
    rng = np.random.default_rng(13)
    found = [distance_correlation(rng.normal(size=(30, 4)), rng.normal(size=(30, 4))) for _ in range(200)]
    assert np.mean([f.squared for f in found]) == pytest.approx(0, abs=0.02)
    assert np.mean([f.biased for f in found]) > 0.3


def test_distance_correlation_refuses_what_it_cannot_do():
    x = np.random.default_rng(0).normal(size=(20, 2))
    assert np.isnan(distance_correlation(x, np.ones(20)).squared)
    with pytest.raises(ValueError):
        distance_correlation(x, np.ones(19))
    with pytest.raises(ValueError):
        distance_correlation(x[:3], x[:3])


# ---- swaps


def test_wilson():
    half, none, every = wilson(50, 100), wilson(0, 20), wilson(20, 20)
    assert (half.low, half.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))
    assert none.low == 0 and none.high == pytest.approx(0.1611, abs=1e-4)
    assert every.high == 1 and every.low == pytest.approx(1 - 0.1611, abs=1e-4)
    assert np.isnan(wilson(0, 0).share)
    with pytest.raises(ValueError):
        wilson(3, 2)


def test_swap_score():
    before = np.array([[0, 0], [0, 1], [1, 1], [0, -1], [-1, 0]])
    after = np.array([[1, 0], [0, 1], [1, 0], [1, 1], [1, 0]])
    score = swap_score(before, after, 0, 1, ["a", "b"])
    # the third is a 1 already and of the last it isn't known: neither counts
    assert (score.success.hits, score.success.count) == (2, 3)
    assert (score.preserved["b"].hits, score.preserved["b"].count) == (2, 2)
    assert score.preservation == 1
    assert (agreement(before[:, 1], after[:, 1]).hits, agreement(before[:, 1], after[:, 1]).count) == (3, 4)
    with pytest.raises(ValueError):
        swap_score(before, after[:3], 0, 1, ["a", "b"])


def test_random_targets_differ_and_are_even():
    before = np.random.default_rng(0).integers(0, 3, (9000, 2))
    targets = random_targets(before, (3, 5))
    assert (targets != before).all() and targets.min() == 0 and targets.max() == 4
    assert np.bincount(targets[before[:, 0] == 0, 0]).tolist() == pytest.approx([0, 1500, 1500], abs=150)
    assert set(random_targets(np.full((50, 1), -1), (2,)).ravel()) == {0, 1}


def test_score_swaps_with_a_model_that_does_and_one_that_does_not():
    rng = np.random.default_rng(14)
    images = rng.integers(0, 3, (50, 2))  # images that are their values, so that the judge is certain

    def swapping(rows, k, targets):
        result = images[rows].copy()
        result[:, k] = targets
        return result

    def breaking(rows, k, targets):
        result = swapping(rows, k, targets)
        result[:, 1 - k] = (result[:, 1 - k] + 1) % 3
        return result

    args = (lambda x: x, images, (3, 3), ("a", "b"))
    for score in score_swaps(50, swapping, *args, batch=16):
        assert score.success.share == 1 and score.success.count == 50 and score.preservation == 1
    for score in score_swaps(50, breaking, *args, batch=16):
        assert score.success.share == 1 and score.preservation == 0
    for score in score_swaps(50, lambda rows, k, targets: images[rows], *args):
        assert score.success.share == 0 and score.preservation == 1
    assert score_swaps(50, swapping, *args, cancelled=lambda: True) == ()
