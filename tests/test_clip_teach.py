"""What the annotator is taught with: facts, captions, and the loss that knows who fits what."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.loss import SigLipLoss
from open_clip.model import CLIP
from safetensors.torch import load_file

from core.clip import ClipModel, find_choice
from core.clip.captions import caption, choose_facts, told_row
from core.clip.facts import FACTS, INDEX, celeba_facts, fits, utkface_facts
from core.clip.lessons import Speech
from core.clip.measure import flagged_hair, measure_facial_hair
from core.clip.teach import (
    ARCHITECTURE,
    WEIGHTS_NAME,
    LabelledSigLipLoss,
    Teaching,
    balance,
    eyes_of,
    imagenet_eyes,
    teach,
)
from core.clip.wordings import WORDINGS, held_out_wordings
from core.errors import StudioError
from core.nets.lite import Lite0, to_batch_norm
from core.training.dataset import Dataset, write_index
from tests.synthetic import write_dataset


def some_faces(count: int) -> list[dict[str, bool]]:
    """Facts as the three sources tell them."""
    rng = random.Random(1)
    found = []
    for i in range(count):
        if i % 3 == 0:
            found.append({"male": rng.random() < 0.5})
        elif i % 3 == 1:
            found.append(
                utkface_facts(f"{rng.randrange(1, 100)}_{rng.randrange(2)}_{rng.randrange(5)}_2017.jpg")
            )
        else:
            found.append({name: rng.random() < 0.4 for name in FACTS if rng.random() < 0.7})
    return found


def test_what_the_sources_say() -> None:
    child = utkface_facts("7_1_3_20170109.jpg.chip.jpg")
    assert child["child"] and child["indian"] and not child["male"] and not child["beard"]
    assert not child["old"] and "glasses" not in child
    assert utkface_facts("61_1_20170109.jpg") == {}  # a field is missing
    names = "Male Young Eyeglasses Smiling Mustache Goatee Sideburns 5_o_Clock_Shadow Bald Receding_Hairline"
    names += " Bangs Straight_Hair Wavy_Hair Wearing_Hat Wearing_Earrings Wearing_Necklace Wearing_Necktie"
    names += " Wearing_Lipstick Heavy_Makeup Rosy_Cheeks Pale_Skin Mouth_Slightly_Open High_Cheekbones"
    names += " Double_Chin Chubby Bags_Under_Eyes Arched_Eyebrows Bushy_Eyebrows Narrow_Eyes Big_Nose"
    names += " Pointy_Nose Big_Lips Oval_Face Attractive Blurry No_Beard"
    names += " Black_Hair Brown_Hair Blond_Hair Gray_Hair"
    flags = dict.fromkeys(names.split(), "-1") | {"Male": "1", "5_o_Clock_Shadow": "1", "Wearing_Hat": "1"}
    facts = celeba_facts(flags)
    # stubble is neither a beard nor none, and a hat hides what hair there is
    assert facts["male"] and facts["stubble"] and "beard" not in facts
    assert "bald" not in facts and "black_hair" not in facts
    shaven = celeba_facts(flags | {"No_Beard": "1", "5_o_Clock_Shadow": "-1", "Blond_Hair": "1"})
    assert shaven["clean_shaven"] and shaven["beard"] is False
    assert shaven["blond_hair"] and shaven["black_hair"] is False
    # a goatee takes nothing away: there is a moustache with it, and it is a beard
    round_beard = celeba_facts(flags | {"Goatee": "1", "Mustache": "1"})
    assert round_beard["goatee"] and round_beard["moustache"] and round_beard["beard"]
    assert "beard" not in celeba_facts(flags | {"Mustache": "1", "5_o_Clock_Shadow": "-1"})


def test_facial_hair_is_measured_as_flagged_each_value_by_itself() -> None:
    model = ClipModel.load(find_choice("faces"), "cpu")
    texts = model.embed_texts(list(WORDINGS["facial_hair"]["moustache"])).mean(0)
    facts = np.zeros((12, len(FACTS)), np.int8)
    facts[:10, INDEX["stubble"]] = -1  # the last two are of a source that flags nothing
    facts[:, INDEX["moustache"]] = -1
    facts[:6, INDEX["moustache"]] = 1
    facts[:3, INDEX["goatee"]], facts[3:10, INDEX["goatee"]] = 1, -1
    # by score: 0, 7, 1 and then the others; 10 and 11 would be first
    scores = np.array([9, 7, 3, 2, 1, 1, 0, 8, 0, 0, 10, 10], np.float32)
    rows = measure_facial_hair(model, scores[:, None] * texts, flagged_hair(facts), "as flagged")
    assert {p.attribute for p in rows} == {"as flagged"}
    found = {p.value: p for p in rows}
    assert set(found) == {"moustache", "goatee"}  # of the others nobody has any
    moustache, goatee = found["moustache"], found["goatee"]
    assert (moustache.among, moustache.having, moustache.k, moustache.top) == (10, 6, 3, 2)
    assert (goatee.among, goatee.having, goatee.k) == (10, 3, 2)


def test_fits_is_what_the_facts_say() -> None:
    rng = np.random.default_rng(0)
    facts = rng.integers(-1, 2, (40, len(FACTS))).astype(np.int8)
    told = np.where(rng.random((30, len(FACTS))) < 0.04, rng.choice((-1, 1), (30, len(FACTS))), 0)
    found = fits(told.astype(np.int8), facts)
    for i in range(40):
        for t in range(30):
            said = np.flatnonzero(told[t])
            if any(facts[i, f] == -told[t, f] for f in said):
                wanted = -1
            else:
                wanted = 1 if all(facts[i, f] == told[t, f] for f in said) else 0
            assert found[i, t] == wanted


def test_captions_are_many_and_tell_an_images_own_facts() -> None:
    rng = random.Random(2)
    texts = set()
    for known in some_faces(6000):
        told = choose_facts(known, rng)
        assert told and len(told) <= 4 and all(known[name] == true for name, true in told.items())
        row = np.zeros((1, len(FACTS)), np.int8)
        for name, true in known.items():
            row[0, INDEX[name]] = 1 if true else -1
        assert fits(np.array([told_row(told)], np.int8), row)[0, 0] == 1
        text = caption(told, rng)
        assert text and text == text.lower() and "{" not in text and "  " not in text
        texts.add(text)
    assert len(texts) > 3000


def test_no_caption_has_a_wording_that_measures() -> None:
    held = held_out_wordings()
    assert all(text in held for values in WORDINGS.values() for texts in values.values() for text in texts)
    speech = Speech.__new__(Speech)
    speech.held_out = held
    rng = random.Random(3)
    said = [speech.say(known, rng)[1] for known in some_faces(6000)]
    assert all(said) and not any(wording in text for text in said for wording in held)


@pytest.mark.parametrize("word", ["grinning", "bespectacled"])
def test_negations_and_synonyms_occur(word: str) -> None:
    rng = random.Random(4)
    fact = {"grinning": "smiling", "bespectacled": "glasses"}[word]
    assert any(word in caption({fact: True}, rng) for _ in range(600))
    less = [caption({fact: False}, rng) for _ in range(200)]
    assert any("without" in t or "no " in t or "not" in t for t in less)


def test_the_loss_is_open_clips_where_every_caption_is_one_images() -> None:
    torch.manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(6, 8), dim=-1) for _ in range(2))
    scale, bias = torch.tensor(7.0), torch.tensor(-2.0)
    loss = LabelledSigLipLoss()
    loss.targets, loss.weights = 2 * torch.eye(6) - 1, torch.ones(6)
    # open_clip's is a sum over the captions, ours a mean
    theirs = SigLipLoss()(images, texts, scale, bias)
    torch.testing.assert_close(6 * loss(images, texts, scale, bias), theirs)


def test_rare_captions_count_as_much_as_common_ones() -> None:
    rare, common = balance(torch.tensor([0.02, 0.5]))
    # weight times the deviation of the label is the same
    assert rare * math.sqrt(0.02 * 0.98) == pytest.approx(float(common) * 0.5)


def test_what_a_source_does_not_say_has_no_gradient() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 8, requires_grad=True)
    texts = torch.randn(3, 8)
    loss = LabelledSigLipLoss()
    loss.targets = torch.tensor([[1, -1, 0], [0, 0, 0], [1, 1, 1], [-1, 0, 0]])
    loss.weights = torch.ones(3)
    loss(images, texts, torch.tensor(5.0), torch.tensor(0.0)).backward()
    assert images.grad is not None
    assert (images.grad[1] == 0).all() and (images.grad[[0, 2, 3]].abs().sum(1) > 0).all()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """Drawings under the names of UTKFace, with the labels' files of a shared folder."""
    folder = tmp_path_factory.mktemp("faces")
    write_dataset(folder / "prepared", 40)
    index = Dataset.open(folder / "prepared").index
    index.sources = ["utkface"]
    index.names = [f"utkface/{1 + 2 * i}_{i % 2}_{i % 4}_{i}.jpg" for i in range(40)]
    write_index(folder / "prepared", index)
    (folder / "celeba_attributes.csv").write_text("image\n")
    for value in ("female", "male"):
        (folder / f"lfw_{value}_names.txt").write_text("")
    return Dataset.open(folder / "prepared"), folder


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_weights(
    drawn: tuple[Dataset, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, shared = drawn
    settings = Teaching(
        fact_steps=3, caption_steps=3, images=4, captions=6, among=16, vocabulary=300, precision="float32"
    )
    torch.manual_seed(0)
    eyes = Lite0()
    whole = teach(dataset, shared, tmp_path / "whole", settings, eyes=eyes)
    cut = tmp_path / "cut"

    def stop_at(step: int):
        def progress(done: int, total: int, numbers: dict[str, float]) -> None:
            if done == step:
                (cut / "control" / "stop").touch()

        return progress

    # once in each stage
    assert teach(dataset, shared, cut, settings, stop_at(2), eyes) is None
    assert teach(dataset, shared, cut, settings, stop_at(4), eyes) is None
    # what it began with is not needed any more
    monkeypatch.setattr("core.training.pretrained.find_spec", lambda name: None)
    again = teach(dataset, shared, cut, settings)
    assert whole is not None and again is not None
    first, second = (load_file(folder / WEIGHTS_NAME) for folder in (whole, again))
    assert all(torch.equal(first[name], tensor) for name, tensor in second.items())
    # the image side learned in the first stage, without its first layers, and the text side in the second
    begun = to_batch_norm(eyes, CLIP(**ARCHITECTURE).visual.trunk)
    prefix = "visual.trunk."
    assert torch.equal(first[prefix + "conv_stem.weight"], begun["conv_stem.weight"].half())
    assert not torch.equal(first[prefix + "conv_head.weight"], begun["conv_head.weight"].half())
    # it is a model that open_clip reads, and that says what it knows
    model = ClipModel.load(find_choice(str(again)), "cpu")
    assert model.domain == "faces only" and model.size == 128
    assert model.embed_images(list(dataset.images[:3]), aligned=True).shape == (3, 128)


def test_only_eyes_of_its_own_kind_are_taken(tiny_model: Path) -> None:
    with pytest.raises(StudioError, match="another kind"):
        eyes_of(tiny_model)


def test_without_imagenets_weights_it_says_what_else_to_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.training.pretrained.find_spec", lambda name: None)
    with pytest.raises(StudioError, match="not on this machine") as caught:
        imagenet_eyes()
    assert "--eyes MODEL" in caught.value.hint
