"""One step of each stage. A step takes the state and a batch, updates the state, and returns its losses."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from core.errors import StudioError
from core.model import OUTSIDE_VALUE
from core.nets.classifier import AttributeClassifier
from core.nets.layers import Trunk
from core.training import losses
from core.training.config import TrainConfig
from core.training.perceptual import feature_maps
from core.training.state import TrainState

Losses = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Images (N, C, S, S) in -1..1, what is `seen` by the encoders, mask (N, 1, S, S), labels (N, K).

    `seen` may lack a border that `images` has. `code_rows` (N,) are rows of the residual codes, -1 for none.
    """

    images: torch.Tensor
    seen: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    code_rows: torch.Tensor
    generator: torch.Generator

    def first(self, count: int) -> Batch:
        """The first `count` images."""
        return Batch(
            self.images[:count],
            self.seen[:count],
            self.mask[:count],
            self.labels[:count],
            self.code_rows[:count],
            self.generator,
        )


def make_optimizers(config: TrainConfig, state: TrainState, stage: str) -> dict[str, torch.optim.Optimizer]:
    """The optimisers of a stage; every parameter group keeps its full rate as `base_lr` for the schedule."""
    nets = state.networks

    def adam(
        *groups: tuple[nn.Module, float], betas: tuple[float, float] = (0.5, 0.99)
    ) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            [{"params": list(m.parameters()), "lr": lr, "base_lr": lr} for m, lr in groups], betas=betas
        )

    if stage == "warmup":
        decayed = torch.optim.AdamW(nets.classifier.parameters(), lr=config.warmup.lr, weight_decay=0.02)
        decayed.param_groups[0]["base_lr"] = config.warmup.lr
        return {"classifier": decayed}
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
    if stage == "amortisation":
        return {"encoder": adam((nets.residual_encoder, config.amortisation.lr), betas=(0.9, 0.99))}
    y = config.synthesis
    # it judges swaps now and learns no more; gradients still pass through it
    nets.classifier.requires_grad_(False)
    chosen = {"networks": adam((nets.generator, y.lr_generator), (nets.residual_encoder, y.lr_encoder))}
    if state.discriminator is not None:
        chosen["discriminator"] = adam((state.discriminator, y.lr_discriminator), betas=(0.0, 0.99))
    return chosen


def warmup_step(config: TrainConfig, state: TrainState, batch: Batch) -> Losses:
    """The classifier on labelled images."""
    loss = losses.classification(state.networks.classifier(batch.seen), batch.labels)
    _update(state, "classifier", loss)
    return {"classification": loss}


def disentanglement_step(config: TrainConfig, state: TrainState, batch: Batch, share: float) -> Losses:
    """Stage 1. `share` (0..1) is how much of the stage is done."""
    s, nets = config.disentanglement, state.networks
    logits = nets.classifier(batch.seen)
    attributes = nets.embeddings.assign([v.softmax(1) for v in logits], batch.labels)
    residual = state.residuals(batch.code_rows)
    noise = torch.randn(residual.shape, generator=batch.generator).to(residual.device)
    made = nets.generator(torch.cat([attributes.flatten(1), residual + s.residual_noise * noise], 1))
    parts = _reconstruction(config, state, made, batch)
    parts["classification"] = losses.classification(logits, batch.labels)
    parts["entropy"] = losses.entropy(logits, batch.labels)
    parts["decay"] = residual.square().sum(1).mean()
    total = (
        parts["reconstruction"]
        + s.classification * parts["classification"]
        + s.residual_decay * parts["decay"]
    )
    if share >= s.entropy_after:
        total = total + s.entropy * parts["entropy"]
    _update(state, ("networks", "residuals"), total)
    return parts


def amortisation_step(config: TrainConfig, state: TrainState, batch: Batch) -> Losses:
    """Stage 2: the encoder to the optimised codes."""
    target = state.residuals(batch.code_rows).detach()
    loss = F.mse_loss(state.networks.residual_encoder(batch.seen), target)
    _update(state, "encoder", loss)
    return {"matching": loss}


def synthesis_step(config: TrainConfig, state: TrainState, batch: Batch, share: float, step: int) -> Losses:
    """Stage 3: generator and encoder on all images; images with a code keep the encoder near it."""
    y, s, nets = config.synthesis, config.disentanglement, state.networks
    with torch.no_grad():
        probabilities = [v.softmax(1) for v in nets.classifier(batch.seen)]
        attributes = nets.embeddings.assign(probabilities, batch.labels)
    residual = nets.residual_encoder(batch.seen)
    noise = torch.randn(residual.shape, generator=batch.generator).to(residual.device)
    noisy = residual + s.residual_noise * noise
    made = nets.generator(torch.cat([attributes.flatten(1), noisy], 1))
    parts = _reconstruction(config, state, made, batch)
    total = parts["reconstruction"] + s.residual_decay * residual.square().sum(1).mean()
    coded = batch.code_rows >= 0
    if bool(coded.any()):
        target = state.residuals(batch.code_rows.clamp(min=0)).detach()
        parts["matching"] = F.mse_loss(residual[coded], target[coded])
        total = total + y.latent_matching * parts["matching"]
    critic = state.discriminator
    adversarial = y.adversarial if critic is not None and share >= y.adversarial_after else 0.0
    half = batch.first(len(batch.labels) // 2)  # swaps on half of the images: a second pass is dear
    fake = made[: len(half.labels)]
    if y.swapping or adversarial:
        swapped, k, value = _random_swap(state, attributes[: len(half.labels)], batch.generator)
        fake = nets.generator(torch.cat([swapped.flatten(1), residual[: len(half.labels)]], 1))
    if y.swapping:
        logits = nets.classifier(torch.where(half.mask > 0, fake, half.seen))
        wanted = half.labels.clone()  # the other attributes are to stay
        wanted[torch.arange(len(k)), k] = value
        parts["swapping"] = losses.classification(logits, wanted)
        total = total + y.swapping * parts["swapping"]
    if adversarial and critic is not None:
        critic.requires_grad_(False)
        parts["adversary"] = losses.adversary(critic(_outside(fake, half)))
        critic.requires_grad_(True)
        total = total + adversarial * parts["adversary"]
    _update(state, "networks", total)
    if adversarial and critic is not None:
        parts["discriminator"] = _discriminator_step(config, state, half, fake.detach(), step)
    return parts


def _discriminator_step(
    config: TrainConfig, state: TrainState, batch: Batch, fake: torch.Tensor, step: int
) -> torch.Tensor:
    assert state.discriminator is not None
    y = config.synthesis
    lazy = y.gradient_penalty and step % y.penalty_every == 0
    real = _outside(batch.images, batch).requires_grad_(bool(lazy))
    real_logits = state.discriminator(real)
    loss = losses.discriminator(real_logits, state.discriminator(_outside(fake, batch)))
    total = loss
    if lazy:
        # regularised every few steps, and so much more strongly (Karras et al. 2020, section 3.1)
        weight = 0.5 * y.gradient_penalty * y.penalty_every
        total = loss + weight * losses.gradient_penalty(real_logits, real)
    _update(state, "discriminator", total)
    return loss


def _outside(images: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Real and made pictures with the same grey where the photo ended, so that it betrays neither."""
    return images * batch.mask + OUTSIDE_VALUE * (1 - batch.mask)


def _random_swap(
    state: TrainState, attributes: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes with one random attribute of each image set to a random value; the attributes and values (N,)."""
    n, count, _ = attributes.shape
    k = torch.randint(count, (n,), generator=generator)
    swapped = attributes.clone()
    value = torch.zeros(n, dtype=torch.int64)
    draw = torch.rand(n, generator=generator)
    for i in range(n):
        table = state.networks.embeddings.tables[int(k[i])].detach()
        value[i] = int(draw[i] * len(table))
        swapped[i, int(k[i])] = table[value[i]]
    return swapped, k.to(attributes.device), value.to(attributes.device)


def _reconstruction(config: TrainConfig, state: TrainState, made: torch.Tensor, batch: Batch) -> Losses:
    r = config.reconstruction
    total = losses.reconstruction(made, batch.images, batch.mask, r.l1, r.mse, r.bce)
    parts = {"pixels": total}
    if r.perceptual and state.features is not None:
        with torch.no_grad():
            wanted = feature_maps(state.features, batch.images)
        parts["perceptual"] = losses.perceptual(feature_maps(state.features, made), wanted, batch.mask)
        total = total + r.perceptual * parts["perceptual"]
    return {"reconstruction": total, **parts}


def perceptual_features(classifier: AttributeClassifier) -> nn.Module:
    """A frozen copy of the classifier's trunk."""
    trunk = classifier.features
    if not isinstance(trunk, Trunk):
        raise StudioError(
            "The classifier of this kind of network has no features for a perceptual loss.",
            "Set reconstruction.perceptual_file, or reconstruction.perceptual=0.",
        )
    return copy.deepcopy(trunk).requires_grad_(False).eval()


def _update(state: TrainState, names: str | tuple[str, ...], loss: torch.Tensor) -> None:
    optimizers = [state.optimizers[n] for n in ((names,) if isinstance(names, str) else names)]
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
