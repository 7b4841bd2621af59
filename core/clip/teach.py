"""Train the shipped annotator: a small CLIP of faces, with open_clip's model, tokenizer and loss.

Two stages. First the image side alone learns all facts at once: each fact has a vector of its own that stands
in for its captions. It begins with what it learned on ImageNet.
Then it rests, every image is embedded once, and the text side learns to say where they are (locked-image
tuning: Zhai et al. 2022): captions alone teach an image side far more slowly, and texts hold it back.

The images are prepared faces (`main.py prepare`) of the splits train and judge: the judge of swaps has no
part in CLIP's labels. The held-out split is never seen. Captions are made anew in each step from the facts
of the images in it; see `docs/annotator.md` in resources.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from open_clip.loss import SigLipLoss
from open_clip.model import CLIP
from torch import nn
from torch.nn import functional as F

from core.clip.captions import told_row
from core.clip.choices import CONFIG_NAME
from core.clip.facts import fits, read_facts
from core.clip.lessons import VOCABULARY, Faces, Speech
from core.clip.loading import CARD_NAME
from core.clip.model import BATCH
from core.errors import StudioError
from core.files import atomic_write
from core.model import Model
from core.nets.average import follow
from core.nets.lite import Lite0, load_imagenet, to_batch_norm
from core.precision import Precision, backward, choose_precision, shorter
from core.training.dataset import Dataset
from core.training.pretrained import IMAGENET, find_pretrained
from core.training.run import Run

# As in open_clip's model configurations. The table of tokens is more than half of all weights.
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 128,
    "init_logit_scale": math.log(20),
    "init_logit_bias": -1.0,
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 128,
    },
    "text_cfg": {"context_length": 32, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 2},
}
SIZE = ARCHITECTURE["vision_cfg"]["image_size"]
MEAN = STD = 0.5
WEIGHTS_NAME = "open_clip_model.safetensors"


class Teaching(msgspec.Struct, frozen=True):
    """Settings of a training."""

    fact_steps: int = 1000
    caption_steps: int = 3000
    images: int = 64
    captions: int = 128
    among: int = 1024  # embedded images that a step's captions are told of
    vocabulary: int = 200_000  # captions made to learn which words there are
    image_rate: float = 1e-3
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: int = 50
    average: float = 0.995
    checkpoint_every: int = 100
    precision: Precision = "auto"
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

    def __init__(self, known: np.ndarray, shares: np.ndarray, eyes: Lite0) -> None:
        """`known` tokens have an embedding; `shares` (F,) of images for which a fact is true.

        The image side begins with what `eyes` know.
        """
        super().__init__()
        self.network = CLIP(**ARCHITECTURE)
        with torch.no_grad():
            self.network.token_embedding.weight[torch.from_numpy(~known)] = 0
        # timm's network without its normalisation, which would rest, and with quicker gradients
        self.network.visual.trunk = copy.deepcopy(eyes).to(memory_format=torch.channels_last)
        for module in self.network.visual.trunk.first_layers():
            module.requires_grad_(False)  # they know lines and colours, and cost the most
        self.facts = nn.Parameter(torch.randn(len(shares), ARCHITECTURE["embed_dim"]) * 0.02)
        self.fact_bias = nn.Parameter(torch.from_numpy(np.log(shares / (1 - shares)).astype(np.float32)))
        self.fact_scale = nn.Parameter(torch.tensor(math.log(20.0)))


def balance(shares: torch.Tensor) -> torch.Tensor:
    """Weights of captions or facts that `shares` of the images fit: rare ones would else hardly count."""
    shares = shares.clamp(0.02, 0.98)
    return 0.5 / (shares * (1 - shares)).sqrt()


def eyes_of(folder: Path) -> Lite0:
    """The features of a model's classifier; StudioError if the image side can't begin with them."""
    features = Model.load(folder, "cpu").networks.classifier.features
    if not isinstance(features, Lite0):
        raise StudioError(
            f"The classifier of {folder.name} is of another kind than the annotator's image side.",
            'Choose a model whose network has classifier = "lite0".',
        )
    return features


def imagenet_eyes() -> Lite0:
    """What the network learned on ImageNet; StudioError if its weights are not on this machine."""
    eyes = Lite0()
    load_imagenet(eyes, find_pretrained(IMAGENET, instead="begin with a model's classifier: --eyes MODEL"))
    return eyes


def teach(
    dataset: Dataset,
    data: Path,
    folder: Path,
    settings: Teaching,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
    eyes: Lite0 | None = None,
) -> Path | None:
    """Train in `folder`, going on from its last checkpoint; returns the model's folder, or None if stopped.

    `dataset` is a prepared folder of the shared faces, `data` the folder they came from, for their labels.
    `eyes` are what the image side begins with, in place of ImageNet's.
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
    length = ARCHITECTURE["text_cfg"]["context_length"]
    speech = Speech(faces, settings.seed, settings.vocabulary, length)
    stored = run.load_checkpoint()
    if eyes is None:  # a run that goes on has its own
        eyes = imagenet_eyes() if stored is None else Lite0()
    torch.manual_seed(settings.seed)
    pupil = Pupil(speech.known, faces.shares, eyes)
    optimizer, unknown = _optimizer(pupil, settings), torch.from_numpy(speech.unknown)
    average = copy.deepcopy(pupil.network)
    step = _restore(stored, pupil, optimizer, average) if stored is not None else 0
    run.event("start", step=step, images=len(chosen), words=len(speech.words))
    pupil.train()
    running: dict[str, float] = {}
    embeddings: torch.Tensor | None = None
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * _schedule(step, settings)
        optimizer.zero_grad(set_to_none=True)
        if step < settings.fact_steps:
            losses = _fact_losses(pupil, faces, step, settings)
        else:
            if embeddings is None:
                embeddings = _lock(pupil, average, faces, settings)
            losses = _caption_losses(pupil, faces, embeddings, speech, step, settings)
        backward(sum(losses.values(), torch.zeros(())))
        words = pupil.network.token_embedding.weight.grad
        if words is not None:
            words[unknown] = 0
        nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            pupil.network.logit_scale.clamp_(0, math.log(100))
        step += 1
        follow(average, pupil.network, settings.average, step)
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


def _fact_losses(pupil: Pupil, faces: Faces, step: int, settings: Teaching) -> dict[str, torch.Tensor]:
    """The loss of a step of the first stage; what is drawn depends on the step alone: a stopped run goes on
    the same."""
    rng = np.random.default_rng((settings.seed, step))
    rows = rng.choice(len(faces.probability), settings.images, replace=False, p=faces.probability)
    loss = LabelledSigLipLoss()
    loss.targets = torch.from_numpy(faces.facts[rows])
    loss.weights = balance(torch.from_numpy(faces.shares))
    images = _normalised(faces.shown(rows, SIZE, rng))
    found = _seen(pupil, images, settings)
    return {"facts": loss(found, F.normalize(pupil.facts, dim=-1), pupil.fact_scale.exp(), pupil.fact_bias)}


@torch.no_grad()
def _lock(pupil: Pupil, average: CLIP, faces: Faces, settings: Teaching) -> torch.Tensor:
    """Give the image side its averaged weights, and return the (N, D) embeddings of all images."""
    pupil.network.visual.load_state_dict(average.visual.state_dict())
    pupil.network.visual.requires_grad_(False)
    rng, found = np.random.default_rng(0), []
    for start in range(0, len(faces.facts), BATCH):
        rows = np.arange(start, min(start + BATCH, len(faces.facts)))
        found.append(_seen(pupil, _normalised(faces.shown(rows, SIZE, rng)), settings))
    return torch.cat(found)


def _seen(pupil: Pupil, images: torch.Tensor, settings: Teaching) -> torch.Tensor:
    """(N, D) embeddings of length 1 of images (N, 3, S, S)."""
    with shorter(images.device, choose_precision(settings.precision, images.device)):
        found = pupil.network.encode_image(images)
    return F.normalize(found.float(), dim=-1)


def _caption_losses(
    pupil: Pupil, faces: Faces, embeddings: torch.Tensor, speech: Speech, step: int, settings: Teaching
) -> dict[str, torch.Tensor]:
    """The losses of a step of the second stage, also drawn by the step alone."""
    rng = np.random.default_rng((settings.seed, step))
    among = min(settings.among, int((faces.probability > 0).sum()))
    rows = rng.choice(len(faces.probability), among, replace=False, p=faces.probability)
    speaker = random.Random(settings.seed * 1_000_003 + step)
    said = speech.batch(faces, rows, settings.captions, speaker)
    told = np.array([told_row(facts) for facts, _ in said], np.int8)
    loss, network = LabelledSigLipLoss(), pupil.network
    loss.targets = torch.from_numpy(fits(told, faces.facts[rows]))
    known = (loss.targets != 0).sum(0).clamp(min=1)
    loss.weights = balance((loss.targets > 0).sum(0) / known)
    texts = network.encode_text(speech.tokens([t for _, t in said], speaker), normalize=True)
    # a caption lies where the vectors of the facts that it tells lie together
    vectors = F.normalize(pupil.facts, dim=-1).detach()
    meant = F.normalize(torch.from_numpy(told).float() @ vectors, dim=-1)
    return {
        "captions": loss(embeddings[rows], texts, network.logit_scale.exp(), network.logit_bias),
        "words": (1 - (texts * meant).sum(1)).mean(),
    }


def _normalised(images: torch.Tensor) -> torch.Tensor:
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def _optimizer(pupil: Pupil, settings: Teaching) -> torch.optim.Optimizer:
    scales = [pupil.fact_scale, pupil.network.logit_scale, pupil.network.logit_bias, pupil.fact_bias]
    ids = {id(p) for p in scales}
    named = [(n, p) for n, p in pupil.named_parameters() if p.requires_grad and id(p) not in ids]
    groups = [{"params": scales, "weight_decay": 0.0, "rate": 5 * settings.learning_rate}]
    for eyes in (True, False):
        rate = settings.image_rate if eyes else settings.learning_rate
        part = [(n, p) for n, p in named if n.startswith("network.visual.trunk.") == eyes]
        decayed = [p for n, p in part if p.ndim >= 2 and "embedding" not in n and n != "facts"]
        ids = {id(p) for p in decayed}
        others = [p for _, p in part if id(p) not in ids]
        groups.append({"params": decayed, "weight_decay": settings.weight_decay, "rate": rate})
        groups.append({"params": others, "weight_decay": 0.0, "rate": rate})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def _schedule(step: int, settings: Teaching) -> float:
    """In each stage a linear warm-up, then half a cosine down to a hundredth."""
    first = step < settings.fact_steps
    done = step if first else step - settings.fact_steps
    whole = settings.fact_steps if first else settings.caption_steps
    rise = min(1.0, (done + 1) / settings.warm_up)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done / whole)))


def _checkpoint(run: Run, pupil: Pupil, optimizer: torch.optim.Optimizer, average: CLIP, step: int) -> None:
    tensors = {f"pupil.{n}": t for n, t in pupil.state_dict().items()}
    tensors.update({f"average.{n}": t for n, t in average.state_dict().items()})
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{n}": t for n, t in state.items()})
    run.save_checkpoint(tensors, {"step": step})


def _restore(
    stored: tuple[dict[str, torch.Tensor], dict[str, Any]],
    pupil: Pupil,
    optimizer: torch.optim.Optimizer,
    average: CLIP,
) -> int:
    tensors, state = stored
    pupil.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("pupil.")})
    average.load_state_dict({n[8:]: t for n, t in tensors.items() if n.startswith("average.")})
    saved = optimizer.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, kind = name.split(".", 2)
            moments.setdefault(int(index), {})[kind] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": saved["param_groups"]})
    return int(state["step"])


def _published(network: CLIP) -> dict[str, torch.Tensor]:
    """The weights of `network` by open_clip's names, with timm's image side."""
    trunk = "visual.trunk."
    others = {n: t for n, t in network.state_dict().items() if not n.startswith(trunk)}
    theirs = to_batch_norm(network.visual.trunk, CLIP(**ARCHITECTURE).visual.trunk)
    return others | {trunk + n: t for n, t in theirs.items()}


def save_annotator(folder: Path, network: CLIP, words: list[str], step: int) -> None:
    """Write the model in open_clip's local-dir layout, fp16, with the words it knows."""
    from safetensors.torch import save

    weights = _published(network)
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
