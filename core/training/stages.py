"""One step of each stage: its losses and gradients, and how a step is put together from its parts."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core.errors import StudioError
from core.model import OUTSIDE_VALUE
from core.nets.classifier import AttributeClassifier, filled
from core.nets.guide import SIZE
from core.nets.layers import Trunk, shrunk
from core.nets.lite import Lite0
from core.precision import backward, shorter
from core.training import losses
from core.training.batch import Batch, Whole, mask_at
from core.training.config import TrainConfig
from core.training.guide import RISE, worst_change
from core.training.perceptual import feature_maps
from core.training.state import TrainState
from core.training.swaps import random_swaps, shown_swaps, swap_losses

Losses = dict[str, torch.Tensor]


@dataclass
class Part:
    """A part of a step's batch, with the counts of the whole and the residual codes of the whole.

    `codes` (whole batch, R) gather gradients in stage 1.
    """

    batch: Batch
    whole: Whole
    codes: torch.Tensor | None

    def own_codes(self) -> torch.Tensor:
        """The residual codes (N, R) of this part's images."""
        assert self.codes is not None
        return self.codes[self.batch.places]


def make_optimizers(config: TrainConfig, state: TrainState, stage: str) -> dict[str, torch.optim.Optimizer]:
    """The optimisers of a stage; every parameter group keeps its full rate as `base_lr` for the schedule."""
    nets = state.networks

    def adam(
        *groups: tuple[nn.Module, float], betas: tuple[float, float] = (0.5, 0.99)
    ) -> torch.optim.Optimizer:
        return torch.optim.Adam(_groups(groups), betas=betas)

    def decayed(*groups: tuple[nn.Module, float]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(_groups(groups), weight_decay=0.02)

    if stage == "warmup":
        if isinstance(nets.classifier.features, Lite0):
            for layer in nets.classifier.features.first_layers():
                layer.requires_grad_(False)
        # the trunk of a classifier that has learned already changes less
        trunk = config.warmup.lr * (1.0 if state.teacher is None else config.finetune.trunk)
        groups = ((nets.classifier.features, trunk), (nets.classifier.head, config.warmup.lr))
        return {"classifier": decayed(*groups)}
    if stage == "disentanglement":
        s = config.disentanglement
        sparse = torch.optim.SparseAdam(state.residuals.parameters(), lr=s.lr_residual, betas=(0.5, 0.99))
        sparse.param_groups[0]["base_lr"] = s.lr_residual
        dense = adam(
            (nets.generator, s.lr_generator),
            (nets.embeddings, s.lr_embeddings),
            (nets.classifier, s.lr_classifier),
        )
        return {"networks": dense, "residuals": sparse}
    for part in (nets.generator, nets.residual_encoder):
        # solved for, and a small step in each of its many weights is a large one in what they add up to
        base = getattr(part, "base", None)
        if base is not None:
            base.requires_grad_(False)
    if stage == "guide":
        rates = config.guide.lr, config.guide.lr_fresh
        pairs = tuple(zip(state.guides, rates, strict=False))
        return {"guide": decayed(*pairs)} if pairs else {}
    if stage == "amortisation":
        return {"encoder": adam((nets.residual_encoder, config.amortisation.lr), betas=(0.9, 0.99))}
    y = config.synthesis
    # it judges swaps now and learns no more; gradients still pass through it
    nets.classifier.requires_grad_(False)
    for network in state.guides:
        network.requires_grad_(False)
    both = ((nets.generator, y.lr_generator), (nets.residual_encoder, y.lr_encoder))
    chosen = {"networks": adam(*both, betas=(y.momentum, 0.99))}
    if state.discriminator is not None:
        chosen["discriminator"] = adam((state.discriminator, y.lr_discriminator), betas=(0.0, 0.99))
    return chosen


def _groups(groups: Iterable[tuple[nn.Module, float]]) -> list[dict[str, Any]]:
    return [{"params": list(m.parameters()), "lr": lr, "base_lr": lr} for m, lr in groups]


def step(
    config: TrainConfig, state: TrainState, batch: Batch, stage: str, share: float, pieces: int = 1
) -> Losses:
    """One step of `stage` on this process's part of a batch, cut into `pieces` that are worked on in turn.

    `share` (0..1) is how much of the stage is done. Nothing is changed before all gradients are there, so
    that a step that ran out of memory can be taken again. Returns the losses of all processes' parts.
    torch.OutOfMemoryError in all processes if one runs out of memory.
    """
    whole = batch.counts()
    if state.team.size > 1:
        whole = whole.from_flat(state.team.sum(whole.flat()))
    rows = codes = None
    if stage not in ("warmup", "guide"):
        rows = torch.zeros(int(whole.images), dtype=torch.int64, device=batch.code_rows.device)
        rows[batch.places] = batch.code_rows + 1
        rows = state.team.sum(rows) - 1 if state.team.size > 1 else rows - 1
        codes = state.residual_codes(rows).requires_grad_(stage == "disentanglement")
    losses_of = {
        "warmup": warmup,
        "disentanglement": disentanglement,
        "amortisation": amortisation,
        "guide": guide,
        "synthesis": synthesis,
    }[stage]
    for optimizer in state.optimizers.values():
        optimizer.zero_grad(set_to_none=True)
    if state.asking is not None:
        state.asking.begin()
    sums: dict[str, torch.Tensor] = {}
    failed: torch.OutOfMemoryError | None = None
    try:
        with shorter(batch.images.device, state.precision):
            for part in batch.split(pieces):
                for name, value in losses_of(config, state, Part(part, whole, codes), share).items():
                    sums[name] = sums.get(name, 0.0) + value.detach()
    except torch.OutOfMemoryError as error:
        failed = error
    if state.team.any(failed is not None, batch.images.device):
        raise failed or torch.OutOfMemoryError("another process ran out of memory")
    for name, optimizer in state.optimizers.items():
        if name == "residuals":
            assert codes is not None and codes.grad is not None and rows is not None
            state.team.sparse_gradient(state.residuals.weight, rows, codes.grad)
        else:
            state.team.sync_gradients(p for group in optimizer.param_groups for p in group["params"])
        optimizer.step()
    if state.asking is not None and stage == "synthesis":
        state.asking.follow(state.team)
    if state.team.size > 1:
        total = state.team.sum(torch.stack(list(sums.values())))
        sums = dict(zip(sums, total, strict=True))
    return sums


def warmup(config: TrainConfig, state: TrainState, part: Part, share: float) -> Losses:
    """Gradients of the classifier on labelled images."""
    logits = state.networks.classifier(part.batch.seen)
    parts = {"classification": losses.classification(logits, part.batch.labels, part.whole.known)}
    total = parts["classification"] + _base_labels(config, state, part, logits, parts)
    backward(total)
    return parts


def _base_labels(
    config: TrainConfig, state: TrainState, part: Part, logits: list[torch.Tensor], parts: Losses
) -> torch.Tensor:
    """The weighted loss against what the base of a fine-tuning sees, put into `parts` too; 0 without one."""
    if state.teacher is None or not config.finetune.labels:
        return logits[0].new_zeros(())
    opinions = state.teacher.probabilities(part.batch.seen)
    loss = state.teacher.labels_loss(logits, opinions, part.batch.labels, part.whole.unknown)
    parts["base_labels"] = loss
    return config.finetune.labels * loss


def disentanglement(config: TrainConfig, state: TrainState, part: Part, share: float) -> Losses:
    """Gradients of stage 1."""
    s, nets, batch, whole = config.disentanglement, state.networks, part.batch, part.whole
    with torch.set_grad_enabled(s.lr_classifier > 0):  # one that rests costs half as much
        logits = nets.classifier(batch.seen)
    attributes = nets.embeddings.assign([v.softmax(1) for v in logits], batch.labels)
    residual = part.own_codes()
    made = nets.generator(torch.cat([attributes.flatten(1), residual + s.residual_noise * batch.noise], 1))
    parts = _reconstruction(config, state, made, part)
    parts["classification"] = losses.classification(logits, batch.labels, whole.known)
    parts["entropy"] = losses.entropy(logits, batch.labels, whole.unknown)
    parts["decay"] = losses.mean(residual.square().sum(1), whole.images)
    total = (
        parts["reconstruction"]
        + s.classification * parts["classification"]
        + s.residual_decay * parts["decay"]
    )
    if share >= s.entropy_after:
        total = total + s.entropy * parts["entropy"]
    if s.rehearsal and share >= s.rehearsal_after:
        parts["rehearsal"] = _rehearse(state, part)
        total = total + s.rehearsal * parts["rehearsal"]
    total = total + s.classification * _base_labels(config, state, part, logits, parts)
    backward(total)
    return parts


def _rehearse(state: TrainState, part: Part) -> torch.Tensor:
    """The classifier's loss on pictures of random values with other images' residual codes.

    No gradient passes into the generator: it would draw what the classifier sees, not what there is.
    """
    tables, batch = state.networks.embeddings.tables, part.batch
    assert part.codes is not None
    with torch.no_grad():
        columns = [(draw * len(table)).long() for draw, table in zip(batch.rehearsed.T, tables, strict=True)]
        codes = [table[column] for column, table in zip(columns, tables, strict=True)]
        residual = part.codes[len(part.codes) - 1 - batch.places]
        drawn = state.networks.generator(torch.cat([*codes, residual], 1))
    values = torch.stack(columns, 1)
    count = part.whole.images.expand(values.shape[1])
    return losses.classification(state.networks.classifier(drawn), values, count)


def amortisation(config: TrainConfig, state: TrainState, part: Part, share: float) -> Losses:
    """Gradients of stage 2: the encoder to the optimised codes."""
    loss = _matching(state.networks.residual_encoder(part.batch.seen), part.own_codes(), part.whole.images)
    backward(loss)
    return {"matching": loss}


def guide(config: TrainConfig, state: TrainState, part: Part, share: float) -> Losses:
    """Gradients of the guides of swaps. In a fine-tuning they also learn what the classifier sees."""
    batch, labels, known = part.batch, part.batch.labels, part.whole.known
    if state.teacher is not None:
        with torch.no_grad():
            probabilities = [v.softmax(1) for v in state.networks.classifier(batch.seen)]
        labels = filled(labels, probabilities)
        known = part.whole.images.expand(labels.shape[1])
    parts: Losses = {}
    for name, network in zip(("classification", "second_classification"), state.guides, strict=False):
        images, mask = shrunk(batch.seen, network.image_size), mask_at(batch.mask, network.image_size)
        reach = config.guide.reach * min(1.0, share / RISE + 0.1) * network.image_size / SIZE
        worst = worst_change(network, images, mask, labels, known, reach, batch.swap_draw, batch.grain)
        # what it then says is told apart from how frequent a value is
        logits = [v + p for v, p in zip(network(worst), state.guide_priors, strict=True)]
        parts[name] = losses.classification(logits, labels, known)
        backward(parts[name])
    return parts


def synthesis(config: TrainConfig, state: TrainState, part: Part, share: float) -> Losses:
    """Gradients of stage 3: generator and encoder on all images; codes keep the encoder near them."""
    y, s, nets, batch, whole = (
        config.synthesis,
        config.disentanglement,
        state.networks,
        part.batch,
        part.whole,
    )
    with torch.no_grad():
        probabilities = [v.softmax(1) for v in nets.classifier(batch.seen)]
        attributes = nets.embeddings.assign(probabilities, batch.labels)
    residual = nets.residual_encoder(batch.seen)
    noisy = residual + config.synthesis_noise * batch.noise
    made = nets.generator(torch.cat([attributes.flatten(1), noisy], 1))
    parts = _reconstruction(config, state, made, part)
    decay = losses.mean(residual.square().sum(1), whole.images)
    total = parts["reconstruction"] + s.residual_decay * decay
    coded = batch.code_rows >= 0
    if bool(whole.coded > 0):
        parts["matching"] = _matching(residual[coded], part.own_codes()[coded], whole.coded)
        total = total + y.latent_matching * parts["matching"]
    if state.leakage is not None and share >= y.leakage_after:
        parts["leakage"] = losses.mean(state.leakage(residual), whole.images)
        risen = min(1.0, (share - y.leakage_after) / y.leakage_rise) if y.leakage_rise else 1.0
        total = total + y.leakage * risen * parts["leakage"]
    critic = state.discriminator
    adversarial = y.adversarial if critic is not None and share >= y.adversarial_after else 0.0
    half = batch.take(batch.half)  # swaps on half of the images: a second pass is dear
    if state.teacher is not None:
        half = state.teacher.choose_swaps(half, config.finetune.new_swaps)
    fake = unswapped = made[batch.half]
    if y.swapping or adversarial:
        # the pictures of a fine-tuning's base are of one swap
        pairs = y.pairs if state.teacher is None else 0.0
        swaps = random_swaps(list(nets.embeddings.tables), attributes[batch.half], half, pairs)
        # with the same noise, so that nothing but the swap tells both pictures apart
        fake = nets.generator(torch.cat([swaps.codes.flatten(1), noisy[batch.half]], 1))
    change = fake - unswapped
    beyond: torch.Tensor | None = None
    if y.swapping:
        seen = [p[batch.half] for p in probabilities]
        within = fake
        if state.regions is not None:
            # beyond its region a change persuades nobody
            beyond = 1 - swaps.region(state.regions, half.mask.shape[2])
            within = fake - beyond * change
        shown = shown_swaps(half, within, unswapped, y.grain)
        changed, kept = swap_losses(state, half, swaps, shown, seen, whole)
        parts["swapping"] = changed
        total = total + y.swapping * changed
        if y.keeping:
            parts["keeping"] = kept
            total = total + y.keeping * kept
        if state.teacher is not None and config.finetune.pictures:
            opinions = state.teacher.probabilities(half.seen)
            pictures, there = state.teacher.pictures(half.seen, opinions, swaps.attribute, swaps.value)
            pixels = whole.pixels[half.mask.shape[2]]
            parts["base_pictures"] = state.teacher.picture_loss(fake, pictures, half.mask, there, pixels)
            total = total + config.finetune.pictures * parts["base_pictures"]
    if y.nearness:
        # where a swap changes nothing that it says, it is to change nothing
        pixels = whole.pixels[half.mask.shape[2]]
        weights = None if beyond is None else 1 + y.beyond * beyond
        parts["nearness"] = losses.nearness(change, half.mask, pixels, weights)
        total = total + y.nearness * parts["nearness"]
    if adversarial and critic is not None:
        critic.requires_grad_(False)
        try:
            parts["adversary"] = losses.adversary(critic(_outside(fake, half)), whole.halves)
        finally:  # the step may be broken off
            critic.requires_grad_(True)
        total = total + adversarial * parts["adversary"]
    backward(total)
    if adversarial and critic is not None:
        parts["discriminator"] = _discriminate(config, state, half, fake.detach(), whole)
    return parts


def _matching(found: torch.Tensor, wanted: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Mean squared error of codes (n, R) over `count` codes."""
    return losses.mean((found - wanted).square().mean(1), count)


def _discriminate(
    config: TrainConfig, state: TrainState, batch: Batch, fake: torch.Tensor, whole: Whole
) -> torch.Tensor:
    assert state.discriminator is not None
    y = config.synthesis
    lazy = y.gradient_penalty and state.step % y.penalty_every == 0
    real = _outside(batch.images, batch).requires_grad_(bool(lazy))
    real_logits = state.discriminator(real)
    loss = losses.discriminator(real_logits, state.discriminator(_outside(fake, batch)), whole.halves)
    total = loss
    if lazy:
        # regularised every few steps, and so much more strongly (Karras et al. 2020, section 3.1)
        weight = 0.5 * y.gradient_penalty * y.penalty_every
        total = loss + weight * losses.gradient_penalty(real_logits, real, whole.halves)
    backward(total)
    return loss


def _outside(images: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Real and made pictures with the same grey where the photo ended, so that it betrays neither."""
    return images * batch.mask + OUTSIDE_VALUE * (1 - batch.mask)


def _reconstruction(config: TrainConfig, state: TrainState, made: torch.Tensor, part: Part) -> Losses:
    r, batch, pixels = config.reconstruction, part.batch, part.whole.pixels
    total = losses.reconstruction(
        made, batch.images, batch.mask, r.l1, r.mse, r.bce, pixels[batch.mask.shape[2]]
    )
    parts = {"pixels": total}
    if r.perceptual and state.features is not None:
        with torch.no_grad():
            wanted = feature_maps(state.features, batch.images)
        found = feature_maps(state.features, made)
        parts["perceptual"] = losses.perceptual(found, wanted, batch.mask, pixels)
        total = total + r.perceptual * parts["perceptual"]
    return {"reconstruction": total, **parts}


def perceptual_features(classifier: AttributeClassifier) -> nn.Module:
    """A frozen copy of the classifier's trunk."""
    trunk = classifier.features
    if not isinstance(trunk, Trunk | Lite0):
        raise StudioError(
            "The classifier of this kind of network has no features for a perceptual loss.",
            "Set reconstruction.perceptual_file, or reconstruction.perceptual=0.",
        )
    return copy.deepcopy(trunk).requires_grad_(False).eval()
