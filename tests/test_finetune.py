"""Growing a model out of another one: what is kept is kept exactly, and the teacher keeps it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from core.attributes import Attribute, AttributeSet, Value
from core.errors import StudioError
from core.model import Model
from core.nets.build import Networks
from core.training import finetune
from core.training.config import TrainConfig
from core.training.dataset import Dataset, Index, write_index
from core.training.loop import train
from core.training.run import Run
from tests.synthetic import draw_faces, tiny_config

HAT = Attribute("hat", "Hat", (Value("none", "None"), Value("hat", "Hat")))
STEPS = ("warmup.steps=60", "disentanglement.steps=0", "amortisation.steps=0", "synthesis.steps=25")


def hats(folder: Path, count: int = 160) -> Path:
    """A prepared folder of drawn faces of which half wear a green hat, the only thing that is labelled."""
    folder.mkdir(parents=True)
    images, _ = draw_faces(count, 32, seed=8)
    labels = (np.arange(count) % 2).astype(np.int8)[:, None]
    images[labels[:, 0] == 1, :7] = (30, 200, 60)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    split = [2 if i % 10 < 2 else 0 for i in range(count)]
    write_index(folder, Index(AttributeSet("hats", "Hats", (HAT,)), ["drawn"], [0] * count, split))
    return folder


def settings(*overrides: str) -> TrainConfig:
    config = tiny_config(*STEPS, "disentanglement.residual_start=encoder", *overrides)
    return msgspec.structs.replace(config, finetune=msgspec.structs.replace(config.finetune, base="base"))


def test_grown_networks_decode_exactly_as_before(tiny_model: Path) -> None:
    base = Model.load(tiny_model, "cpu")
    old = base.card.attributes
    joined = finetune.joined_attributes(old, AttributeSet("hats", "Hats", (HAT,)))
    assert [a.name for a in joined] == [*(a.name for a in old), "hat"]
    torch.manual_seed(5)
    grown = Networks(base.card.network, [len(a.values) for a in joined])
    assert finetune.grow(base.networks, base.card, joined, grown) == []
    images = draw_faces(6, 32, seed=2)[0]
    model = Model(msgspec.structs.replace(base.card, attributes=joined), grown, torch.device("cpu"))
    before, after = base.encode(images), model.encode(images)
    torch.testing.assert_close(after.residual, before.residual, rtol=0, atol=0)
    torch.testing.assert_close(after.attributes[:, : len(old)], before.attributes, rtol=0, atol=1e-6)
    # whatever the new attribute says, the picture is the old one
    np.testing.assert_allclose(model.decode(after), base.decode(before), atol=1e-5)
    from core.recipe import Swap

    swaps = [Swap("hair_color", "blond")]
    both = model.swap(after, [*swaps, Swap("hat", "hat", 1.5)])
    np.testing.assert_allclose(model.decode(both), base.decode(base.swap(before, swaps)), atol=1e-5)
    # and the new columns can learn: their inputs are not zero
    assert float(grown.embeddings.tables[-1].abs().min(1).values.max()) > 0


def test_new_values_and_a_changed_order_are_matched_by_name(tiny_model: Path) -> None:
    base = Model.load(tiny_model, "cpu")
    old = base.card.attributes
    hair = old["hair_color"]
    redder = msgspec.structs.replace(hair, values=(Value("red", "Red"), *hair.values))
    joined = finetune.joined_attributes(old, AttributeSet("more", "More", (redder,)))
    assert [v.name for v in joined["hair_color"].values] == [*(v.name for v in hair.values), "red"]
    # a new domain: only some attributes, in another order, with a value less
    shorter = msgspec.structs.replace(hair, values=hair.values[::-1][:3])
    domain = AttributeSet("other", "Other", (HAT, shorter, old["smile"]))
    torch.manual_seed(5)
    grown = Networks(base.card.network, [len(a.values) for a in domain])
    finetune.grow(base.networks, base.card, domain, grown)
    for new, v in ((1, "blond"), (2, "smiling")):
        name = domain.attributes[new].name
        table = base.networks.embeddings.tables[old.index(name)]
        here = grown.embeddings.tables[new][domain.attributes[new].index(v)]
        assert torch.equal(here, table[old[name].index(v)])
    dim = base.card.network.embedding_dim
    own, first = grown.generator.start.weight, base.networks.generator.start.weight
    k = old.index("smile")
    assert torch.equal(own[:, 2 * dim : 3 * dim], first[:, k * dim : (k + 1) * dim])
    assert not own[:, :dim].any() and torch.equal(own[:, 3 * dim :], first[:, len(old) * dim :])
    told = finetune.describe(base.card, AttributeSet("more", "More", (redder, HAT)), "add")
    assert any("New: Hat" in t for t in told) and any("new values: Red" in t for t in told)


def test_labels_move_to_their_places(tiny_model: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(hats(tmp_path / "hats"))
    joined = finetune.joined_attributes(Model.load(tiny_model, "cpu").card.attributes, dataset.attributes)
    moved = finetune.fit_dataset(dataset, joined)
    assert (moved.label_array()[:, :-1] == -1).all()
    np.testing.assert_array_equal(moved.label_array()[:, -1], dataset.label_array()[:, 0])


def test_a_teacher_that_agrees_costs_nothing(tiny_model: Path) -> None:
    base = Model.load(tiny_model, "cpu")
    joined = finetune.joined_attributes(base.card.attributes, AttributeSet("hats", "Hats", (HAT,)))
    teacher = finetune.Teacher(base, joined)
    assert teacher.fresh == [len(joined) - 1]
    seen = torch.from_numpy(draw_faces(5, 32)[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    logits = [*base.networks.classifier(seen), torch.randn(5, 2)]
    labels = torch.full((5, len(joined)), -1)
    counts = (labels < 0).sum(0).float()
    opinions = teacher.probabilities(seen)
    assert teacher.labels_loss(logits, opinions, labels, counts).item() == pytest.approx(0, abs=1e-5)
    logits[0] = logits[0].flip(1)
    assert teacher.labels_loss(logits, opinions, labels, counts).item() > 0.01
    # its picture of a swap is what the base model itself makes
    from core.recipe import Swap

    images = draw_faces(5, 32)[0]
    k = joined.index("smile")
    shown, known = teacher.pictures(seen, opinions, torch.full((5,), k), torch.ones(5, dtype=torch.int64))
    wanted = base.decode(base.swap(base.encode(images), [Swap("smile", joined["smile"].values[1].name)]))
    np.testing.assert_allclose(shown.clamp(-1, 1).add(1).mul(0.5).permute(0, 2, 3, 1), wanted, atol=1e-4)
    assert known.all()
    _, unknown = teacher.pictures(
        seen, opinions, torch.full((5,), len(joined) - 1), torch.ones(5, dtype=torch.int64)
    )
    assert not unknown.any()


@pytest.mark.slow
def test_an_attribute_is_added_and_the_old_ones_stay(tiny_model: Path, tmp_path: Path) -> None:
    config, run = settings(), tmp_path / "run"
    whole = Dataset.open(hats(tmp_path / "hats"))
    record = Run.start(run, config)
    finetune.store_base(tiny_model, run)
    joined = finetune.attributes_for(run, config, whole.attributes)
    whole = finetune.fit_dataset(whole, joined)
    model = train(config, whole.part("train"), record, "cpu")
    assert model is not None
    images, labels = draw_faces(200, 32, seed=77)
    worn = images.copy()
    worn[::2, :7] = (30, 200, 60)
    base = Model.load(tiny_model, "cpu")
    before, after = base.encode(images).probabilities, model.encode(worn).probabilities
    assert (after[-1].argmax(1) == (np.arange(200) % 2 == 0)).mean() > 0.9
    k = joined.index("glasses")
    accuracy = [(p[k].argmax(1) == labels[:, k]).mean() for p in (before, after)]
    assert accuracy[1] > accuracy[0] - 0.1
    model.save(tmp_path / "model")
    assert Model.load(tmp_path / "model", "cpu").card.attributes["hat"] == HAT


def test_a_base_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(StudioError, match="no model"):
        finetune.store_base(tmp_path / "nothing", tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
