"""The guide of swaps: what is the worst for it, what it learns from that, and what stage 3 makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.nets.guide import Guide
from core.training import losses, stages
from core.training.asking import KEEP_LEAST, KEEP_MOST, LOST, RATE, Asking
from core.training.batch import make_batch
from core.training.dataset import Dataset, log_priors
from core.training.guide import worst_change
from core.training.loop import Trainer, train
from core.training.parallel import Team
from core.training.run import Run
from core.training.state import NUMBERED, STAGES, TrainState, stage_place
from core.training.swaps import random_swaps, swap_losses
from tests.synthetic import tiny_config, write_dataset

CPU = torch.device("cpu")


def images_of(
    dataset: Dataset, count: int, size: int = 32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, mask = dataset.batch(np.arange(count), size)
    return images, mask, torch.from_numpy(dataset.label_array()[:count])


def flat(guide: Guide) -> torch.Tensor:
    """All its weights, as they are now."""
    return torch.cat([p.detach().flatten() for p in guide.parameters()])


def worst(
    guide: Guide, images: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, reach: float
) -> torch.Tensor:
    count = len(images)
    known = (labels >= 0).sum(0)
    return worst_change(guide, images, mask, labels, known, reach, torch.rand(count), torch.arange(count))


def test_the_worst_change_is_within_reach_inside_the_photo_and_worse(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 16))
    images, mask, labels = images_of(dataset, 12)
    mask[:, :, :, 20:] = 0
    torch.manual_seed(0)
    guide = Guide(3, 32, [len(a.values) for a in dataset.attributes])
    torch.nn.init.normal_(guide.head.weight, std=0.3)
    changed = worst(guide, images, mask, labels, 1.5)
    difference = changed - images
    lengths = difference.flatten(1).norm(dim=1)
    assert float(lengths.max()) <= 1.5 + 1e-4 and float(lengths.min()) > 0.7
    assert float(difference[:, :, :, 20:].abs().max()) == 0
    before, after = (float(losses.classification(guide(x), labels).detach()) for x in (images, changed))
    # noise of the same length hardly matters, the worst change does
    noise = torch.randn_like(images) * mask
    noise *= 1.5 / noise.flatten(1).norm(dim=1)[:, None, None, None]
    noisy = float(losses.classification(guide(images + noise), labels).detach())
    assert after - before > 4 * abs(noisy - before)


def trained(dataset: Dataset, reach: float) -> Guide:
    config = tiny_config("guide.steps=90", "guide.batch=32", "guide.lr=2e-3", f"guide.reach={reach}")
    state = TrainState.fresh(config, [len(a.values) for a in dataset.attributes], len(dataset), CPU)
    state.optimizers = stages.make_optimizers(config, state, "guide")
    rng, labels = np.random.default_rng(0), torch.from_numpy(dataset.label_array())
    for step in range(90):
        rows = rng.choice(len(dataset), 32, replace=False)
        images, mask = dataset.batch(rows, 32)
        draws = torch.Generator().manual_seed(step)
        batch = make_batch(images, images, mask, labels[rows], torch.from_numpy(rows), 16, draws)
        stages.step(config, state, batch, "guide", step / 90)
    assert len(state.guides) == 1
    return state.guides[0]


def test_it_is_harder_to_fool_than_one_that_saw_the_images_alone(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 320, hidden=0.0))
    glasses = next(k for k, a in enumerate(dataset.attributes) if a.name == "glasses")
    images, mask = dataset.batch(np.arange(64), 32)
    labels = torch.full((64, len(dataset.attributes)), -1)
    labels[:, glasses] = torch.from_numpy(dataset.label_array()[:64, glasses])
    found = {}
    for reach in (0.0, 4.0):  # at 64 px; 2 here
        guide = trained(dataset, reach)
        seen = [guide(x) for x in (images, worst(guide, images, mask, labels, 3.0))]
        assert float((seen[0][glasses].argmax(1) == labels[:, glasses]).float().mean()) > 0.9
        found[reach] = [float(losses.classification(logits, labels).detach()) for logits in seen]
    # what the same change does to each
    assert found[4.0][1] < 0.5 * found[0.0][1]


def test_swaps_are_judged_by_it_alone_and_it_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 24))
    config = tiny_config("guide.steps=1", "synthesis.swapping=1.0", "synthesis.keeping=0.5")
    images, mask, labels = images_of(dataset, 12)
    batch = make_batch(images, images, mask, labels, torch.arange(12), 16, torch.Generator().manual_seed(0))

    def gradient(seed: int) -> tuple[float, torch.Tensor, Guide]:
        state = TrainState.fresh(config, [len(a.values) for a in dataset.attributes], 24, CPU)
        assert len(state.guides) == 1
        torch.manual_seed(seed)
        torch.nn.init.normal_(state.guides[0].head.weight, std=0.1)
        state.features = stages.perceptual_features(state.networks.classifier)
        state.optimizers = stages.make_optimizers(config, state, "synthesis")
        found = stages.step(config, state, batch, "synthesis", 0.5)
        weight = state.networks.generator.mapping[0].weight  # type: ignore[union-attr, index]
        assert weight.grad is not None
        return float(found["swapping"]), weight.grad, state.guides[0]

    (one, first, guide), (other, second, _) = gradient(1), gradient(2)
    assert one != other and not torch.allclose(first, second)
    assert all(p.grad is None for p in guide.parameters())


def test_a_run_with_a_guide_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = tiny_config(
        "warmup.steps=3", "disentanglement.steps=3", "amortisation.steps=2", "synthesis.steps=4",
        "guide.steps=6", "guide.batch=16", "guide.sure=0.3", "checkpoint_every=2",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 60)).part("train")
    whole = train(config, dataset, Run.start(tmp_path / "whole", config), "cpu")
    run = Run.start(tmp_path / "broken", config)

    class Stops:
        held_out = None

        def waits(self) -> bool:
            return False

        def answer(self, trainer: object) -> None: ...

        def after_step(self, trainer: object) -> None:
            state = trainer.state  # type: ignore[attr-defined]
            if (STAGES[state.stage], state.step) == ("guide", 3):
                (run.folder / "control" / "stop").touch()

    (run.folder / "control").mkdir(exist_ok=True)
    assert train(config, dataset, run, "cpu", watch=Stops()) is None
    stored = run.load_checkpoint()
    assert stored is not None and stored[1]["stage"] == "guide" and stored[1]["step"] == 3
    (run.folder / "control" / "stop").unlink()
    again = train(config, dataset, run, "cpu")
    assert whole is not None and again is not None
    for (name, a), b in zip(
        whole.networks.state_dict().items(), again.networks.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    # a model holds no guide: it is for training only
    assert not any("guide" in name for name in whole.networks.state_dict())


def test_guides_learn_from_what_the_classifier_is_sure_of(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 60)).part("train")
    names = [a.name for a in dataset.attributes]
    glasses = names.index("glasses")
    config = tiny_config("guide.steps=2", "guide.batch=16", "guide.sure=0.9", "guide.begin=fresh")
    run = Run.start(tmp_path / "run", config)
    trainer = Trainer(config, dataset, run, CPU)
    given = dataset.label_array()
    assert trainer.state.asking is not None
    limit = trainer.state.asking.limits.clone()
    # a classifier that sees glasses everywhere, and of the rest that all values are equally likely
    head = trainer.state.networks.classifier.head
    assert isinstance(head, torch.nn.Linear)
    place = sum(len(a.values) for a in list(dataset.attributes)[:glasses]) + 1
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[place] = 4.0
    trainer._enter(STAGES.index("guide"))
    wanted = given.copy()
    wanted[given[:, glasses] < 0, glasses] = 1
    assert (wanted != given).any() and np.array_equal(trainer.sampler.guide_labels, wanted)
    batch = trainer.sampler.batch("guide", 0)
    assert bool((batch.labels[:, glasses] >= 0).all())
    # glasses are frequent now: a guide is told so, more of them may be asked, and no more of the rest
    assert trainer.state.guide_priors[glasses][1] > trainer.state.priors[glasses][1]
    more = trainer.state.asking.limits > limit
    assert more.nonzero().flatten().tolist() == [place]
    # the other stages go on with the labels alone, and a resumed run has the same
    assert bool((trainer.sampler.batch("synthesis", 0).labels[:, glasses] < 0).any())
    assert np.array_equal(trainer.sampler.labels, given)
    trainer.checkpoint()
    again = Trainer(config, dataset, run, CPU)
    again.resume()
    assert again.state.asking is not None
    assert np.array_equal(again.sampler.guide_labels, wanted)
    assert np.array_equal(again.sampler.guide_weights, trainer.sampler.guide_weights)
    assert torch.equal(again.state.asking.limits, trainer.state.asking.limits)


def test_two_guides_share_nothing_and_both_are_asked(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 40)).part("train")
    config = tiny_config(
        "warmup.steps=3", "disentanglement.steps=2", "amortisation.steps=1", "synthesis.steps=1",
        "guide.steps=3", "guide.batch=16", "guide.begin=both", "synthesis.swapping=1.0",
    )  # fmt: skip
    run = Run.start(tmp_path / "run", config)
    trainer = Trainer(config, dataset, run, CPU)
    trainer.resume()
    while STAGES[trainer.state.stage] != "guide":
        assert trainer.run_stage(None)
    first, second = trainer.state.guides
    assert type(first.features) is type(trainer.state.networks.classifier.features)
    before = [flat(guide) for guide in (first, second)]
    assert trainer.run_stage(None)
    for guide, old in zip((first, second), before, strict=True):
        assert not torch.equal(flat(guide), old)
    stored = run.load_checkpoint()
    assert stored is not None
    again = Trainer(config, dataset, run, CPU)
    again.resume()
    for guide, other in zip(trainer.state.guides, again.state.guides, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(guide.parameters(), other.parameters(), strict=True))
    # the loss of swaps is the mean of what each of them alone would say
    images, mask, labels = images_of(dataset, 12)
    batch = make_batch(images, images, mask, labels, torch.arange(12), 16, torch.Generator().manual_seed(0))
    state = again.state
    codes = torch.zeros(12, len(dataset.attributes), state.networks.embeddings.tables[0].shape[1])
    swaps = random_swaps(list(state.networks.embeddings.tables), codes, batch)
    seen = [torch.full((12, len(a.values)), 1 / len(a.values)) for a in dataset.attributes]
    found = []
    for guides in (state.guides[:1], state.guides[1:], state.guides):
        alone = replace(state, guides=guides)
        found.append(torch.stack(swap_losses(alone, batch, swaps, images, seen, batch.counts())).detach())
    assert not torch.allclose(found[0], found[1])
    torch.testing.assert_close(found[2], (found[0] + found[1]) / 2)


def test_how_frequent_a_value_is_does_not_tell_a_guide_what_a_swap_shows() -> None:
    labels = np.array([[0, -1]] * 90 + [[1, -1]] * 9 + [[-1, -1]] * 50)
    priors = log_priors(labels, np.ones(len(labels)), [2, 3])
    assert priors[0].exp().tolist() == pytest.approx([91 / 101, 10 / 101]) and priors[1].tolist() == [0, 0, 0]
    # images that show nothing: a classifier of them says the shares, a guide that all are alike
    known = torch.from_numpy(labels[:99])
    for prior, wanted in ((torch.zeros(2), 90 / 99), (priors[0], 0.5)):
        logits = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([logits], 0.1)
        for _ in range(300):
            optimizer.zero_grad()
            losses.classification([(logits + prior).expand(99, 2), torch.zeros(99, 3)], known).backward()
            optimizer.step()
        assert float(logits.softmax(0)[0].detach()) == pytest.approx(wanted, abs=0.03)


def test_checkpoints_of_before_the_guide_are_understood() -> None:
    assert [STAGES[stage_place(n)] for n in range(len(NUMBERED))] == list(NUMBERED)
    assert stage_place(len(NUMBERED)) == stage_place("") == len(STAGES)
    assert stage_place("guide") == 3


def test_a_run_of_before_values_were_asked_for_goes_on(tmp_path: Path) -> None:
    config = tiny_config(
        "warmup.steps=1", "disentanglement.steps=1", "amortisation.steps=1", "synthesis.steps=4",
        "guide.steps=1", "guide.batch=16", "checkpoint_every=2", "synthesis.success=0.9",
    )  # fmt: skip
    dataset = Dataset.open(write_dataset(tmp_path / "data", 60)).part("train")
    run = Run.start(tmp_path / "run", config)
    trainer = Trainer(config, dataset, run, CPU)
    trainer.resume()
    while STAGES[trainer.state.stage] != "synthesis":
        assert trainer.run_stage(None)
    stored = run.load_checkpoint()
    assert stored is not None and stored[1]["stage"] == "synthesis"
    # as they were stored
    tensors = {name: t for name, t in stored[0].items() if not name.startswith("asking.")}
    assert len(tensors) < len(stored[0])
    run.save_checkpoint(tensors | {"guide.enough": torch.ones(len(stored[0]["asking.weights"]))}, stored[1])
    file = run.folder / "config.json"
    tree = json.loads(file.read_text("utf-8"))
    del tree["synthesis"]["success"]
    tree["guide"] |= {"clear": 0.5, "most": 0.65, "few": 100}
    file.write_text(json.dumps(tree), "utf-8")
    again, settings = Run.resume(run.folder)
    assert settings == config
    assert train(settings, dataset, again, "cpu") is not None


def test_what_stays_as_clear_as_in_the_photo_costs_nothing_and_swaps_are_weighted() -> None:
    logits = [torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]], requires_grad=True), torch.zeros(3, 3)]
    attribute, value = torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1])
    before = torch.tensor([[1, 2], [1, -1], [0, 0]])
    photos = [torch.full((3, 2), 0.5), torch.tensor([[0.2, 0.2, 0.6], [0.0, 1.0, 0.0], [0.1, 0.8, 0.1]])]
    weights = torch.tensor([2.0, 0.0, 0.5])
    changed, kept = losses.swap(logits, attribute, value, before, torch.tensor(3.0), photos, weights)
    assert float(changed.detach()) == pytest.approx(2.5 * float(losses.bounded(torch.tensor(0.5))) / 3)
    changed.backward()
    assert logits[0].grad is not None
    assert [bool(row.abs().sum() > 0) for row in logits[0].grad] == [True, False, True]
    # of what is to stay, the first fell from 0.6 to a third; the second is unknown, and the likeliest value
    # fell from 1; the third was less clear before
    third, *seen = (losses.bounded(torch.tensor(p)) for p in (1 / 3, 0.6, 1.0))
    fell = 2 * third - sum(seen)
    assert float(kept.detach()) == pytest.approx(float(fell) / 3, rel=1e-5)


def test_a_change_of_colour_or_a_line_costs_more_than_one_of_light() -> None:
    def spread(size: float, square: float) -> float:
        return size + losses.FAR * square

    mask = torch.ones(1, 1, 16, 16)
    light = torch.full((1, 3, 16, 16), 0.2)
    assert float(losses.nearness(light, mask)) == pytest.approx(spread(0.2, 0.04))
    colour = torch.tensor([0.2, -0.2, 0.0])[None, :, None, None].expand(1, 3, 16, 16)
    wanted = (1 + losses.TINT) * spread(0.4 / 3, 0.08 / 3)
    assert float(losses.nearness(colour, mask)) == pytest.approx(wanted)
    line = torch.zeros(1, 3, 16, 16)
    # a fifth of it stays where it is after a blur of five pixels, and a fifth goes to each of four others
    line[..., 8] = 0.2
    fine = losses.FINE * (spread(0.16, 0.16**2) + 4 * spread(0.04, 0.04**2)) / 16
    assert float(losses.nearness(line, mask)) == pytest.approx(spread(0.2, 0.04) / 16 + fine)
    mask[..., :11] = 0  # outside the photo
    assert float(losses.nearness(line, mask)) == pytest.approx(0.0, abs=1e-7)


def sure(*values: list[int]) -> list[torch.Tensor]:
    """What a classifier that has no doubt sees: of attributes with 2, 2 and 3 values."""
    hot = torch.nn.functional.one_hot
    return [hot(torch.tensor(v), n).float() for v, n in zip(values, (2, 2, 3), strict=True)]


def test_more_weight_is_on_what_swaps_of_an_attribute_lose() -> None:
    asking = Asking([2, 2, 3], success=0.9)
    attribute = torch.tensor([0, 0, 1, 0])
    told = torch.tensor([[1, 0, 2], [1, 1, -1], [0, 1, 0], [0, 1, 1]])
    # the last image's second value was not seen before either
    photos = sure([1, 1, 0, 0], [0, 1, 1, 0], [2, 0, 0, 1])
    after = sure([0, 0, 1, 1], [1, 1, 0, 0], [2, 1, 0, 1])
    asking.begin()
    # the mean of what is to stay
    assert torch.equal(asking.keep(attribute, told, photos, after), 1 - torch.eye(3)[attribute])
    asking.follow(Team())
    # of swaps of the first attribute one of two lost the second, none of two the third; of the second's one
    # lost the first
    rest = 1.0 - LOST
    wanted = torch.zeros(3, 3)
    wanted[0, 1], wanted[0, 2] = rest - LOST, -2 * LOST
    wanted[1, 0], wanted[1, 2] = rest, -LOST
    assert torch.allclose(asking.keeping, torch.exp(RATE * wanted))
    weights = asking.keep(attribute, told, photos, after)
    first, third = np.exp(RATE * rest), np.exp(-RATE * LOST)
    two = [2 * first / (first + third), 0.0, 2 * third / (first + third)]
    assert weights[2].tolist() == pytest.approx(two)
    # a loss that is twice as heavy counts twice
    logits = [torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 3)]
    plain, heavy = (
        losses.swap(logits, attribute, attribute * 0, told, torch.tensor(4.0), photos, None, factor)[1]
        for factor in (None, torch.full((4, 3), 2.0))
    )
    assert float(plain) > 0 and float(heavy) == pytest.approx(2 * float(plain))
    for _ in range(200):
        asking.begin()
        asking.keep(attribute, told, photos, after)
        asking.follow(Team())
    assert float(asking.keeping.min()) == KEEP_LEAST and float(asking.keeping.max()) == KEEP_MOST


def test_more_is_asked_of_what_is_not_seen_and_little_of_what_few_photos_show() -> None:
    asking = Asking([2, 3, 2], success=0.75)
    labels = torch.cat(
        [torch.tensor([[0, 1, -1]]).repeat(2000, 1), torch.tensor([[1, 2, -1]]).repeat(250, 1)]
    )
    asking.limit(torch.cat([labels, torch.tensor([[-1, -1, -1]]).repeat(50, 1)]))
    # as many as it takes, a quarter of that, and none; nobody has labels of the last attribute
    assert asking.limits.tolist() == [6.0, 3.0, 0.0, 6.0, 3.0, 1.0, 1.0]
    assert asking.weights.tolist() == pytest.approx([1.0, 1.0, 0.1, 1.0, 1.0, 1.0, 1.0])
    attribute, value = torch.tensor([1, 1, 0, 1]), torch.tensor([1, 1, 1, 2])
    before = torch.tensor([[0, 0, 0], [-1, -1, -1], [1, 0, 0], [0, 2, 0]])
    after = [
        torch.tensor([[0.5, 0.5]] * 4),
        torch.tensor([[0.1, 0.8, 0.1], [0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        torch.tensor([[0.5, 0.5]] * 4),
    ]
    asking.begin()
    weights = asking.weigh(attribute, value, before, after)
    assert weights.tolist() == pytest.approx([0.2, 0.7, 0.5, 1.0])
    asking.follow(Team())
    # one of two swaps was seen where three of four should be; the last two images had the value before
    assert asking.weights[3] == pytest.approx(np.exp(RATE * 0.5))
    assert asking.weights[[0, 1, 4]].tolist() == [1.0, 1.0, 1.0]
    # a step that is broken off notes nothing; many that fail ask for as much as there may be
    asking.begin()
    asking.weigh(attribute, value, before, after)
    asking.begin()
    asking.follow(Team())
    assert asking.weights[3] == pytest.approx(np.exp(RATE * 0.5))
    for _ in range(200):
        asking.begin()
        asking.weigh(attribute[2:3], value[2:3], torch.tensor([[0, 0, 0]]), [v[:1] * 0 for v in after])
        asking.follow(Team())
    assert float(asking.weights[1]) == 3.0


def test_what_a_stage_asks_for_follows_what_is_seen(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", 24))
    config = tiny_config("guide.steps=1", "synthesis.swapping=1.0", "synthesis.success=0.9")
    counts = [len(a.values) for a in dataset.attributes]
    state = TrainState.fresh(config, counts, 24, CPU)
    state.features = stages.perceptual_features(state.networks.classifier)
    state.optimizers = stages.make_optimizers(config, state, "synthesis")
    assert state.asking is not None
    state.asking.limits.fill_(2.0)
    smile = next(k for k, a in enumerate(dataset.attributes) if a.name == "smile")
    first = sum(counts[:smile])
    # a classifier that sees the first value of all attributes everywhere
    bias = torch.cat([torch.tensor([9.0, *[0.0] * (count - 1)]) for count in counts])
    with torch.no_grad():
        torch.nn.init.zeros_(state.networks.classifier.head.weight)
        state.networks.classifier.head.bias.copy_(bias)
    images, mask, labels = images_of(dataset, 12)
    labels = torch.full_like(labels, -1)
    labels[:, smile] = torch.tensor([0, 1] * 6)
    batch = make_batch(images, images, mask, labels, torch.arange(12), 16, torch.Generator().manual_seed(0))
    swaps = {"swap_attribute": torch.full((12,), smile), "swap_draw": torch.tensor([0.1, 0.1, 0.9] * 4)}
    stages.step(config, state, replace(batch, **swaps), "synthesis", 0.5)
    # to the first value, which it sees, go two that smile; to the other, which it doesn't, one that doesn't
    assert state.asking.weights[first] == pytest.approx(np.exp(-RATE * 0.1 * 2))
    assert state.asking.weights[first + 1] == pytest.approx(np.exp(RATE * 0.9))
    assert int((state.asking.weights != 1).sum()) == 2
