"""Fine-tuning: a new model that begins as an old one and keeps what fits of it.

A new attribute widens the generator's input by its embedding. The new columns start at zero, so that the
grown networks decode exactly as the old ones did, whatever the new codes are; the classifier gets new rows.
The images that the base learned from are not there, so it comes along as a frozen teacher: what it sees in
the new images stands for their missing labels (Hinton et al. 2015; Li and Hoiem 2016, learning without
forgetting), and its pictures of swaps of the old attributes are what the new model is to show too.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from torch import nn

from core.attributes import Attribute, AttributeSet
from core.errors import StudioError
from core.model import Model, ModelCard, load_card
from core.nets.build import Networks
from core.nets.classifier import value_shares
from core.training import losses
from core.training.batch import Batch
from core.training.config import TrainConfig
from core.training.dataset import Dataset
from core.training.judge import Judge

BASE = "base"  # folder of the base model inside the run, so that a run is whole wherever it is copied
UNLIKELY = -4.0  # bias of a value that is added to an old attribute: so it starts with 2 % at most


def with_base(config: TrainConfig, model: Path, mode: Literal["add", "domain"]) -> TrainConfig:
    """The settings for fine-tuning `model`: with its sizes, whatever the preset's are."""
    settings = msgspec.structs.replace(config.finetune, base=BASE, mode=mode)
    return msgspec.structs.replace(config, network=load_card(model).network, finetune=settings)


def store_base(model: Path, run: Path) -> None:
    """Copy a model into a run that will be fine-tuned from it; StudioError if it is none."""
    load_card(model)
    try:
        shutil.copytree(model, run / BASE, dirs_exist_ok=True, ignore=shutil.ignore_patterns("samples"))
    except (OSError, shutil.Error) as error:
        raise StudioError(f"The base model can't be copied: {error}.", "Free some space.") from error


def joined_attributes(base: AttributeSet, new: AttributeSet) -> AttributeSet:
    """The base's attributes, with values that `new` adds at their ends, then the others of `new`."""
    by_name = {a.name: a for a in new}
    kept = []
    for attribute in base:
        more = by_name.pop(attribute.name, None)
        known = {v.name for v in attribute.values}
        added = tuple(v for v in more.values if v.name not in known) if more else ()
        kept.append(msgspec.structs.replace(attribute, values=(*attribute.values, *added)))
    return msgspec.structs.replace(base, attributes=(*kept, *by_name.values()))


def attributes_for(run: Path, config: TrainConfig, data: AttributeSet) -> AttributeSet:
    """What a fine-tuned model of these data will know."""
    if config.finetune.mode == "domain":
        return data
    return joined_attributes(load_card(run / BASE).attributes, data)


def fit_dataset(dataset: Dataset, attributes: AttributeSet) -> Dataset:
    """The dataset with its labels in the places of `attributes`; what it doesn't say is unknown, and so are
    its attributes and values that are not among them."""
    labels = np.full((len(dataset.labels), len(attributes)), -1, np.int16)
    places = {a.name: k for k, a in enumerate(attributes)}
    for k, attribute in enumerate(dataset.attributes):
        if attribute.name not in places:
            continue
        target = attributes.attributes[places[attribute.name]]
        known = {v.name: i for i, v in enumerate(target.values)}
        # -1 picks the last place: unknown stays unknown
        moved = np.array([*(known.get(v.name, -1) for v in attribute.values), -1])
        labels[:, places[attribute.name]] = moved[dataset.labels[:, k].astype(np.int64)]
    index = msgspec.structs.replace(dataset.index, attributes=attributes)
    return replace(dataset, index=index, labels=labels)


@dataclass(frozen=True)
class Match:
    """Which attribute and values of the base are which of the new model: positions."""

    old: int
    new: int
    old_values: tuple[int, ...]
    new_values: tuple[int, ...]


def matches(base: AttributeSet, attributes: AttributeSet) -> list[Match]:
    """The attributes that both have, by name, with the values that both have."""
    found = []
    for old, attribute in enumerate(base):
        for new, other in enumerate(attributes):
            if other.name == attribute.name:
                shared = [v.name for v in attribute.values if v.name in {w.name for w in other.values}]
                if shared:
                    places = tuple(attribute.index(v) for v in shared), tuple(other.index(v) for v in shared)
                    found.append(Match(old, new, *places))
    return found


@torch.no_grad()
def grow(base: Networks, card: ModelCard, attributes: AttributeSet, networks: Networks) -> list[str]:
    """Fill `networks` (for `attributes`) from the base's as far as they fit; names of what stayed fresh.

    Tensors are matched by name and shape; embeddings, the classifier's rows and the generator's columns by
    the attributes' and values' names.
    """
    old_state, fresh = base.state_dict(), []
    found = matches(card.attributes, attributes)
    dim, residual = card.network.embedding_dim, card.network.residual_dim
    same_codes = (networks.embeddings.dim, card.network.kind) == (dim, card.network.kind)
    for name, tensor in networks.state_dict().items():
        if name.startswith(("embeddings.", "strengths.", "classifier.head.")):
            continue
        old = old_state.get(name)
        if old is None:
            fresh.append(name)
        elif old.shape == tensor.shape and not _takes_codes(name):
            tensor.copy_(old)
        elif _takes_codes(name) and same_codes and len(old) == len(tensor) and tensor.dim() == 2:
            tensor.zero_()
            for match in found:
                tensor[:, match.new * dim : (match.new + 1) * dim] = old[
                    :, match.old * dim : (match.old + 1) * dim
                ]
            if tensor.shape[1] - len(attributes) * dim == residual:
                tensor[:, -residual:] = old[:, -residual:]
        else:
            fresh.append(name)
    if same_codes:
        for match in found:
            networks.embeddings.tables[match.new][list(match.new_values)] = base.embeddings.tables[match.old][
                list(match.old_values)
            ]
    _grow_strengths(base, card.attributes, attributes, networks, found)
    _grow_head(base, card.attributes, attributes, networks, found)
    return fresh


def _grow_strengths(
    base: Networks, old: AttributeSet, new: AttributeSet, networks: Networks, found: list[Match]
) -> None:
    """Swaps to values that both have go as far as before."""
    old_rows, new_rows = _first_rows(old), _first_rows(new)
    for match in found:
        for a, b in zip(match.old_values, match.new_values, strict=True):
            reach = base.strengths.reach[old_rows[match.old] + a]
            networks.strengths.reach[new_rows[match.new] + b] = reach


def _takes_codes(name: str) -> bool:
    """Whether a weight's columns are the joined codes: the generator's first layers."""
    first = ("mapping.0", "start", "base", "net.0")
    return name in [f"generator.{layer}.weight" for layer in first]


def _grow_head(
    base: Networks, old: AttributeSet, new: AttributeSet, networks: Networks, found: list[Match]
) -> None:
    from_head, to_head = base.classifier.head, networks.classifier.head
    if not isinstance(from_head, nn.Linear) or not isinstance(to_head, nn.Linear):
        return  # it learns anew
    if from_head.in_features != to_head.in_features:
        return
    old_rows, new_rows = _first_rows(old), _first_rows(new)
    for match in found:
        first, count = new_rows[match.new], len(new.attributes[match.new].values)
        to_head.bias[first : first + count] = UNLIKELY
        for a, b in zip(match.old_values, match.new_values, strict=True):
            to_head.weight[first + b] = from_head.weight[old_rows[match.old] + a]
            to_head.bias[first + b] = from_head.bias[old_rows[match.old] + a]


def _first_rows(attributes: AttributeSet) -> list[int]:
    counts = [len(a.values) for a in attributes]
    return [sum(counts[:k]) for k in range(len(counts))]


class Teacher:
    """The base model, frozen, beside the one that grows out of it."""

    def __init__(self, base: Model, attributes: AttributeSet) -> None:
        self.networks = base.networks
        self.matches = matches(base.card.attributes, attributes)
        self.attributes = attributes
        old = {m.new for m in self.matches}
        self.fresh = [k for k in range(len(attributes)) if k not in old]

    @torch.no_grad()
    def probabilities(self, seen: torch.Tensor) -> list[torch.Tensor]:
        """What it sees in (N, C, S, S) images: (N, V_k) for each of its own attributes."""
        return [logits.softmax(1) for logits in self.networks.classifier(seen)]

    def labels_loss(
        self,
        logits: list[torch.Tensor],
        opinions: list[torch.Tensor],
        labels: torch.Tensor,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        """Divergence from what the teacher sees, for the attributes it knows, where there is no label.

        `counts` (K,) are the numbers of missing labels to divide by. 0 where both agree.
        """
        total = logits[0].sum() * 0.0
        for match in self.matches:
            unknown = labels[:, match.new] < 0
            wanted = torch.zeros_like(logits[match.new][unknown])
            wanted[:, list(match.new_values)] = opinions[match.old][unknown][:, list(match.old_values)]
            wanted = wanted / wanted.sum(1, keepdim=True).clamp(min=1e-6)
            log_p = logits[match.new][unknown].log_softmax(1)
            own = (wanted * wanted.clamp(min=1e-9).log()).sum()
            total = total + (own - (wanted * log_p).sum()) / counts[match.new].clamp(min=1)
        return total / max(1, len(self.matches))

    def choose_swaps(self, batch: Batch, share: float) -> Batch:
        """The batch with its random swaps made over: `share` of them are of new attributes."""
        if not self.fresh or not self.matches:
            return batch
        attribute, draw = batch.swap_attribute, batch.swap_draw
        of_fresh = torch.tensor(self.fresh, device=attribute.device)[attribute % len(self.fresh)]
        old = torch.tensor([m.new for m in self.matches], device=attribute.device)
        new = draw < share
        rest = torch.where(new, draw / max(share, 1e-9), (draw - share) / max(1 - share, 1e-9))
        chosen = torch.where(new, of_fresh, old[attribute % len(old)])
        return replace(batch, swap_attribute=chosen, swap_draw=rest)

    @torch.no_grad()
    def pictures(
        self, seen: torch.Tensor, opinions: list[torch.Tensor], k: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What it makes of images with attribute k (N,) set to value (N,), positions in the new model.

        Images (N, C, S, S), and (N,) bool: whether it knows that attribute and value.
        """
        codes = self.networks.embeddings.assign(opinions)
        known = torch.zeros(len(seen), dtype=torch.bool, device=seen.device)
        for match in self.matches:
            for a, b in zip(match.old_values, match.new_values, strict=True):
                here = (k == match.new) & (value == b)
                codes[here, match.old] = self.networks.embeddings.tables[match.old][a]
                known |= here
        residual = self.networks.residual_encoder(seen)
        return self.networks.generator(torch.cat([codes.flatten(1), residual], 1)), known

    @staticmethod
    def picture_loss(
        made: torch.Tensor,
        wanted: torch.Tensor,
        mask: torch.Tensor,
        known: torch.Tensor,
        pixels: torch.Tensor,
    ) -> torch.Tensor:
        """Absolute difference of images that are `known`, inside the photo, over `pixels` of all images."""
        return losses.masked_mean((made - wanted).abs(), mask * known[:, None, None, None], pixels)


def begin(
    run: Path, attributes: AttributeSet, networks: Networks, average: Networks, device: torch.device
) -> Teacher:
    """Fill new networks and their average from the run's base model; the teacher for the training."""
    base = Model.load(run / BASE, str(device))
    grow(base.networks, base.card, attributes, networks)
    average.load_state_dict(networks.state_dict())
    return Teacher(base, attributes)


@torch.no_grad()
def encoder_start(
    dataset: Dataset,
    size: int,
    networks: Networks,
    residuals: torch.Tensor,
    fresh: list[int],
    batch: int = 256,
) -> None:
    """Residual codes (N, R) as the base encodes the images, without what tells the new attributes linearly.

    What a linear regression on the new attributes' (soft) values predicts of the codes is taken out: the new
    embeddings are to say it.
    """
    codes, values = [], []
    labels = dataset.label_array()
    for start in range(0, len(dataset), batch):
        positions = np.arange(start, min(start + batch, len(dataset)))
        images, _ = dataset.batch(positions, size)
        images = images.to(residuals.device)
        codes.append(networks.residual_encoder(images).double().cpu())
        logits = networks.classifier(images)
        known = torch.from_numpy(labels[positions])
        rows = [torch.ones(len(positions), 1, dtype=torch.float64)]
        rows += [value_shares(known[:, k], logits[k].softmax(1).double().cpu()) for k in fresh]
        values.append(torch.cat(rows, 1))
    x, a = torch.cat(codes), torch.cat(values)
    if fresh:
        predicted = a @ torch.linalg.lstsq(a, x, driver="gelsd").solution
        x = x - predicted + predicted.mean(0)
    residuals.copy_(x.float())


class FittedJudge:
    """A judge of swaps that was trained on other attributes than a model's, for `evaluate`."""

    def __init__(self, judge: Judge, own: AttributeSet, wanted: AttributeSet) -> None:
        self.judge, self.count = judge, len(wanted)
        self.moves: list[tuple[int, int, np.ndarray]] = []
        for match in matches(own, wanted):
            places = np.full(len(own.attributes[match.old].values), -1, np.int64)
            places[list(match.old_values)] = match.new_values
            self.moves.append((match.old, match.new, places))

    def values(self, images: np.ndarray) -> np.ndarray:
        """(N, K) int64 values in (N, S, S, 3) uint8 images, -1 for what it can't say."""
        seen = self.judge.values(images)
        values = np.full((len(images), self.count), -1, np.int64)
        for old, new, places in self.moves:
            values[:, new] = places[seen[:, old]]
        return values


AnyJudge = Judge | FittedJudge


def describe(card: ModelCard, data: AttributeSet, mode: str) -> list[str]:
    """In sentences: what is kept of a base model, and what is new. StudioError if nothing fits."""
    shared = {m.new for m in matches(card.attributes, data)}
    new = [a for k, a in enumerate(data) if k not in shared]
    told = []
    if mode == "add":
        told.append(f"It keeps the {len(card.attributes)} attributes of {card.title}.")
        told += [f"New: {_listed(a)}." for a in new]
        for attribute in data:
            known = {v.name for a in card.attributes if a.name == attribute.name for v in a.values}
            added = [v.title for v in attribute.values if known and v.name not in known]
            if added:
                told.append(f"{attribute.title} gets new values: {', '.join(added)}.")
    else:
        kept = [a.title for k, a in enumerate(data) if k in shared]
        told.append(f"It learns the {len(data)} attributes of the images only.")
        told.append(f"Kept of {card.title}: its networks" + (f" and {', '.join(kept)}." if kept else "."))
    return told


def _listed(attribute: Attribute) -> str:
    return f"{attribute.title} ({', '.join(v.title for v in attribute.values)})"
