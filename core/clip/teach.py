"""Train the shipped annotator: a small CLIP of faces, with open_clip's model, tokenizer and loss.

Two stages. First the image side alone learns all facts at once: each fact has a vector of its own that stands
in for its captions. Then images and captions are trained together, with the facts' vectors still beside them
and as what captions are to come close to.
Captions alone teach the same far more slowly, for a batch has few that tell a rare fact.

The images are prepared faces (`main.py prepare`) of the splits train and judge: the judge of swaps has no
part in CLIP's labels. The held-out split is never seen. Captions are made anew in each step from the facts
of the images in it; see `docs/annotator.md` in resources.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from open_clip import get_tokenizer, load_checkpoint
from open_clip.loss import SigLipLoss
from open_clip.model import CLIP
from torch import nn
from torch.nn import functional as F

from core.clip.captions import caption, choose_facts, told_row, weight_of
from core.clip.choices import CONFIG_NAME
from core.clip.facts import FACTS, INDEX, fits, read_facts
from core.clip.loading import CARD_NAME
from core.clip.wordings import held_out_wordings
from core.errors import StudioError
from core.files import atomic_write
from core.training.augment import moved
from core.training.dataset import Dataset, balance_weights
from core.training.run import Run

# As in open_clip's model configurations. The table of tokens is half of all weights.
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 128,
    "init_logit_scale": math.log(20),
    "init_logit_bias": -1.0,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 32, "patch_size": None},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
SIZE = ARCHITECTURE["vision_cfg"]["image_size"]
STORED = 80  # pixels of the images in memory; the model sees a part of them
MEAN = STD = 0.5
GREY = 128
# Images of a source in an epoch, relative: LFW tells no more than the gender, CelebA tells the most.
SOURCE_WEIGHT = {"celeba": 3.0, "utkface": 1.5, "lfw": 0.15}
WEIGHTS_NAME = "open_clip_model.safetensors"
START, END = 49406, 49407  # open_clip's tokens around a text


class Teaching(msgspec.Struct, frozen=True):
    """Settings of a training."""

    fact_steps: int = 700
    caption_steps: int = 500
    images: int = 64
    captions: int = 96
    vocabulary: int = 200_000  # captions made to learn which words there are
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: int = 50
    average: float = 0.995
    checkpoint_every: int = 100
    seed: int = 1

    @property
    def steps(self) -> int:
        """Of both stages."""
        return self.fact_steps + self.caption_steps


class LabelledSigLipLoss(SigLipLoss):
    """open_clip's sigmoid loss, with which captions fit which images told by labels.

    open_clip's own takes each image's caption for its only match. Here several images fit a caption and
    several captions an image: `targets` (N, T) holds 1 (fits), -1 (does not), 0 (the source does not say),
    and takes the place of the diagonal; pairs with 0 don't count. `weights` (T,) balance rare captions
    against common ones.
    """

    targets: torch.Tensor
    weights: torch.Tensor

    def get_ground_truth(
        self, device: torch.device, dtype: torch.dtype, num_logits: int, negative_only: bool = False
    ) -> torch.Tensor:
        """(N, T) targets of the batch."""
        return self.targets.to(device, dtype)

    def _loss(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        negative_only: bool = False,
    ) -> torch.Tensor:
        logits = self.get_logits(image_features, text_features, logit_scale, logit_bias)
        targets = self.get_ground_truth(logits.device, logits.dtype, len(logits))
        counted = (targets != 0) * self.weights.to(logits)
        return -(F.logsigmoid(targets * logits) * counted).sum() / counted.sum().clamp(min=1e-6)


class Pupil(nn.Module):
    """The network, and a vector, a bias and a scale for facts, which the finished model does without."""

    def __init__(self, known: np.ndarray, shares: np.ndarray) -> None:
        """`known` tokens have an embedding; `shares` (F,) of images for which a fact is true."""
        super().__init__()
        self.network = CLIP(**ARCHITECTURE)
        with torch.no_grad():
            self.network.token_embedding.weight[torch.from_numpy(~known)] = 0
        self.network.visual.to(memory_format=torch.channels_last)
        self.facts = nn.Parameter(torch.randn(len(shares), ARCHITECTURE["embed_dim"]) * 0.02)
        self.fact_bias = nn.Parameter(torch.from_numpy(np.log(shares / (1 - shares)).astype(np.float32)))
        self.fact_scale = nn.Parameter(torch.tensor(math.log(20.0)))


def balance(shares: torch.Tensor) -> torch.Tensor:
    """Weights of captions or facts that `shares` of the images fit: rare ones would else hardly count."""
    shares = shares.clamp(0.02, 0.98)
    return 0.5 / (shares * (1 - shares)).sqrt()


class Faces:
    """Images in memory and the facts of each."""

    def __init__(self, dataset: Dataset, facts: np.ndarray) -> None:
        self.facts = facts
        self.known = [{FACTS[j]: bool(row[j] > 0) for j in np.flatnonzero(row)} for row in facts]
        self.pixels = np.empty((len(dataset), STORED, STORED, 3), np.uint8)
        self.inside = np.empty((len(dataset), STORED, STORED), bool)
        for start in range(0, len(dataset), 512):
            rows = dataset.rows[start : start + 512]
            part = torch.from_numpy(dataset.images[rows]).permute(0, 3, 1, 2).float()
            small = F.interpolate(part, size=(STORED, STORED), mode="bilinear", antialias=True)
            self.pixels[start : start + 512] = small.round().byte().permute(0, 2, 3, 1).numpy()
            inside = torch.ones(len(rows), 1, *part.shape[2:])
            if dataset.inside is not None:
                inside = torch.from_numpy(dataset.inside[rows])[:, None].float()
            whole = F.interpolate(inside, size=(STORED, STORED), mode="bilinear", antialias=True)[:, 0]
            self.inside[start : start + 512] = (whole > 0.999).numpy()
        sources = np.asarray(dataset.index.source)[dataset.rows]
        shares = np.array([SOURCE_WEIGHT.get(s, 1.0) for s in dataset.index.sources])
        self.bordered = np.flatnonzero(self.inside.mean((1, 2)) < 0.8)
        told = np.maximum(1, (facts != 0).sum(0))
        self.shares = ((facts > 0).sum(0) / told).clip(0.01, 0.99)
        weights = balance_weights(dataset.label_array(), 0.6) * shares[sources] * (np.abs(facts).sum(1) > 0)
        self.probability = weights / weights.sum()


class Speech:
    """Captions as tokens. Tokens that no caption has are kept at zero: an unknown word says nothing."""

    def __init__(self, faces: Faces, seed: int, sample: int) -> None:
        self.tokenize = get_tokenizer("", context_length=ARCHITECTURE["text_cfg"]["context_length"])
        self.held_out = held_out_wordings()
        rng = random.Random(seed)
        texts: set[str] = set()
        for _ in range(sample):
            told, text = self.say(rng.choice(faces.known), rng)
            if told:
                texts.add(text)
        self.known = np.zeros(ARCHITECTURE["text_cfg"]["vocab_size"], bool)
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


def augmented(faces: Faces, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """(N, 3, SIZE, SIZE) float32, normalised: mirrored, moved, turned, with other colours and borders."""
    n = len(rows)
    images = torch.from_numpy(faces.pixels[rows]).permute(0, 3, 1, 2).float()
    inside = faces.inside[rows]
    # where an image ends must not tell its source: others get such borders too, filled in the same ways
    if len(faces.bordered):
        others = rng.random(n) < 0.2
        inside = inside & np.where(others[:, None, None], faces.inside[rng.choice(faces.bordered, n)], True)
    fill = torch.full((n, 3, 1, 1), float(GREY))
    kind = rng.random(n)
    plain = kind < 0.25
    fill[plain] = torch.from_numpy(rng.uniform(0, 255, (int(plain.sum()), 3, 1, 1)).astype(np.float32))
    fills = fill.expand(-1, -1, STORED, STORED).clone()
    pasted = np.flatnonzero((kind >= 0.25) & (kind < 0.5))
    fills[pasted] = images[rng.permutation(n)[: len(pasted)]]
    images = torch.where(torch.from_numpy(inside)[:, None], images, fills)
    angle = rng.normal(0, 0.07, n)
    scale = np.exp(rng.normal(-0.02, 0.08, n))
    mirror = rng.choice((-1.0, 1.0), n)
    places = (angle, scale, rng.normal(0, 0.05, (n, 2)), mirror)
    turned, sized, shifted, sides = (torch.from_numpy(p.astype(np.float32)) for p in places)
    images = moved(images, turned, sized, shifted, sides, SIZE)
    images = images.div_(255)

    def per_image(low: float, high: float, channels: int = 1) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, channels, 1, 1)).astype(np.float32))

    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey.expand_as(images), images, per_image(0.75, 1.2))
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * per_image(0.75, 1.25) + middle * per_image(0.85, 1.15) * per_image(
        0.96, 1.04, 3
    )
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def teach(
    dataset: Dataset,
    data: Path,
    folder: Path,
    settings: Teaching,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
    begin: Path | None = None,
) -> Path | None:
    """Train in `folder`, going on from its last checkpoint; returns the model's folder, or None if stopped.

    `dataset` is a prepared folder of the shared faces, `data` the folder they came from, for their labels.
    `begin` is the folder of a model to begin with, in place of random weights.
    """
    parts = np.concatenate([dataset.part(split).rows for split in ("train", "judge")])
    chosen = Dataset(
        dataset.folder, dataset.index, dataset.images, dataset.inside, dataset.labels, np.sort(parts)
    )
    if len(chosen) < settings.images:
        raise StudioError("There are too few prepared faces.", "Prepare more of them.")
    for name in ("checkpoints", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "config.json", overwrite=True) as file:
        file.write(msgspec.json.format(msgspec.json.encode(settings), indent=2))
    run = Run(folder)
    (folder / "control" / "stop").unlink(missing_ok=True)
    faces = Faces(chosen, read_facts(data, [chosen.index.names[row] for row in chosen.rows]))
    speech = Speech(faces, settings.seed, settings.vocabulary)
    torch.manual_seed(settings.seed)
    pupil = Pupil(speech.known, faces.shares)
    if begin is not None:
        load_checkpoint(pupil.network, str(begin / WEIGHTS_NAME))
    optimizer, unknown = _optimizer(pupil, settings), torch.from_numpy(speech.unknown)
    average = {name: t.detach().clone() for name, t in pupil.network.state_dict().items()}
    step = _restore(run, pupil, optimizer, average)
    run.event("start", step=step, images=len(chosen), words=len(speech.words))
    pupil.train()
    running: dict[str, float] = {}
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * _schedule(step, settings)
        losses = _losses(pupil, faces, speech, step, settings)
        optimizer.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        words = pupil.network.token_embedding.weight.grad
        if words is not None:
            words[unknown] = 0
        nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            pupil.network.logit_scale.clamp_(0, math.log(100))
        step += 1
        _update_average(average, pupil.network, min(settings.average, (1 + step) / (10 + step)))
        numbers = {name: loss.item() for name, loss in losses.items()}
        running = {name: 0.95 * running.get(name, value) + 0.05 * value for name, value in numbers.items()}
        progress(step, settings.steps, running)
        stop = run.asked_to_stop()
        if step % 20 == 0:
            run.event("step", step=step, scale=pupil.network.logit_scale.exp().item(), **running)
        if step % settings.checkpoint_every == 0 or stop or step == settings.steps:
            _checkpoint(run, pupil, optimizer, average, step)
            save_annotator(folder / "model", average, speech.words, step)
        if stop and step < settings.steps:
            run.event("stopped", step=step)
            return None
    run.event("finished", step=step)
    return folder / "model"


def _losses(
    pupil: Pupil, faces: Faces, speech: Speech, step: int, settings: Teaching
) -> dict[str, torch.Tensor]:
    """The losses of a step; what is drawn depends on the step alone: a stopped run goes on the same."""
    rng = np.random.default_rng((settings.seed, step))
    rows = rng.choice(len(faces.probability), settings.images, replace=False, p=faces.probability)
    network, loss = pupil.network, LabelledSigLipLoss()
    images = network.encode_image(augmented(faces, rows, rng), normalize=True)
    loss.targets = torch.from_numpy(faces.facts[rows])
    loss.weights = balance(torch.from_numpy(faces.shares))
    vectors = F.normalize(pupil.facts, dim=-1)
    losses = {"facts": loss(images, vectors, pupil.fact_scale.exp(), pupil.fact_bias)}
    if step >= settings.fact_steps:
        speaker = random.Random(settings.seed * 1_000_003 + step)
        said = speech.batch(faces, rows, settings.captions, speaker)
        told = np.array([told_row(facts) for facts, _ in said], np.int8)
        loss.targets = torch.from_numpy(fits(told, faces.facts[rows]))
        known = (loss.targets != 0).sum(0).clamp(min=1)
        loss.weights = balance((loss.targets > 0).sum(0) / known)
        texts = network.encode_text(speech.tokens([t for _, t in said], speaker), normalize=True)
        losses["captions"] = loss(images, texts, network.logit_scale.exp(), network.logit_bias)
        # a caption lies where the vectors of the facts that it tells lie together
        meant = F.normalize(torch.from_numpy(told).float() @ vectors.detach(), dim=-1)
        losses["words"] = (1 - (texts * meant).sum(1)).mean()
    return losses


def _optimizer(pupil: Pupil, settings: Teaching) -> torch.optim.Optimizer:
    scales = [pupil.fact_scale, pupil.network.logit_scale, pupil.network.logit_bias, pupil.fact_bias]
    ids = {id(p) for p in scales}
    decayed = [p for n, p in pupil.network.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    ids.update(id(p) for p in decayed)
    others = [p for p in pupil.parameters() if id(p) not in ids]
    rate = settings.learning_rate
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay, "rate": rate},
        {"params": others, "weight_decay": 0.0, "rate": rate},
        {"params": scales, "weight_decay": 0.0, "rate": 5 * rate},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


def _schedule(step: int, settings: Teaching) -> float:
    """Linear warm-up, constant in the first stage, then half a cosine down to a hundredth."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = max(0, step - settings.fact_steps) / max(1, settings.caption_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _update_average(average: dict[str, torch.Tensor], network: nn.Module, decay: float) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)


def _checkpoint(
    run: Run, pupil: Pupil, optimizer: torch.optim.Optimizer, average: dict[str, torch.Tensor], step: int
) -> None:
    tensors = {f"pupil.{n}": t for n, t in pupil.state_dict().items()}
    tensors.update({f"average.{n}": t for n, t in average.items()})
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{n}": t for n, t in state.items()})
    run.save_checkpoint(tensors, {"step": step})


def _restore(
    run: Run, pupil: Pupil, optimizer: torch.optim.Optimizer, average: dict[str, torch.Tensor]
) -> int:
    loaded = run.load_checkpoint()
    if loaded is None:
        return 0
    tensors, state = loaded
    pupil.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("pupil.")})
    for name in average:
        average[name].copy_(tensors[f"average.{name}"])
    saved = optimizer.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, kind = name.split(".", 2)
            moments.setdefault(int(index), {})[kind] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": saved["param_groups"]})
    return int(state["step"])


def save_annotator(folder: Path, weights: dict[str, torch.Tensor], words: list[str], step: int) -> None:
    """Write the model in open_clip's local-dir layout, fp16, with the words it knows."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    half = {n: t.half().contiguous() if t.is_floating_point() else t for n, t in weights.items()}
    preprocess = {"size": SIZE, "mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic"}
    config = {"model_cfg": ARCHITECTURE, "preprocess_cfg": preprocess}
    card = {
        "domain": "faces only",
        "presentation": "aligned faces",
        "steps": step,
        "trained_on": "CelebA, UTKFace, Labeled Faces in the Wild",
        "licence": "for research, not for commerce, as the images it was trained on",
        "words": words,
    }
    with atomic_write(folder / WEIGHTS_NAME, overwrite=True) as file:
        file.write(save(half))
    for name, content in ((CONFIG_NAME, config), (CARD_NAME, card)):
        with atomic_write(folder / name, overwrite=True) as file:
            file.write(json.dumps(content, indent=1).encode())
