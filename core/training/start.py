"""Where residual codes start: principal components of the images with the attributes regressed out.

Not in the paper, whose codes start at random and need hundreds of visits each. The components of small
versions of the images hold pose, light and layout; what the attributes can predict of them linearly is
removed, so that the codes start without (linear) leakage, and latent optimisation goes on from there.
A generator whose picture begins as a linear function of the codes begins with what a regression finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from core.nets.classifier import AttributeClassifier, value_shares
from core.nets.encoder import thumbnails
from core.nets.moments import Lines, Moments
from core.precision import shorter
from core.training.config import TrainConfig
from core.training.dataset import Dataset
from core.training.finetune import encoder_start
from core.training.pretrained import pretrain
from core.training.regions import SIDE, seen_in
from core.training.solving import ridge
from core.training.state import TrainState

THUMBNAIL = 16
BATCH = 256
# The first components are worth more than the noise, the last ones less: standard deviations fall from
# this many noise sigmas with the square root of the component's own.
LARGEST = 4.0
FITTED = 8000  # images that what is fitted before stage 3 is fitted to


def start_stage(name: str, config: TrainConfig, dataset: Dataset, coded: Dataset, state: TrainState) -> None:
    """What a run's networks and codes begin a stage with; `coded` are the images with residual codes."""
    teacher, start = state.teacher, config.disentanglement.residual_start
    if name == "warmup" and config.warmup.pretrained and teacher is None:
        pretrain(config.warmup.pretrained, state.networks, state.average)
    if name == "warmup" and isinstance(state.networks.classifier.features, Moments):
        moments_start(config, coded, state.networks.classifier)
        state.average.classifier.load_state_dict(state.networks.classifier.state_dict())
    if name == "disentanglement" and start == "components":
        component_start(config, coded, state)
    if name == "disentanglement" and start == "encoder" and teacher is not None:
        # for all images in every process of a team, of which each keeps its own
        codes = torch.empty(len(coded), config.network.residual_dim, device=state.residuals.weight.device)
        encoder_start(coded, config.network.image_size, state.networks, codes, teacher.fresh)
        state.residuals.weight.detach().copy_(state.team.leaders(codes)[state.team.part])
    if name == "amortisation" and config.network.base_side and teacher is None:
        rows = torch.arange(len(coded), device=state.residuals.weight.device)
        encoder_base_start(config, coded, state.residual_codes(rows), state)
    if name == "synthesis" and config.synthesis.steps:
        places = np.linspace(0, len(dataset) - 1, min(FITTED, len(dataset))).astype(np.int64)
        some = dataset.take(places)
        if config.network.base_side and teacher is None:
            refit_base(config, some, state)
        if state.regions is not None:
            fit_regions(config, some, state)
    if name == "guide" and state.pseudo is not None and config.guide.steps:
        fill_labels(config, dataset, state)
    if name == "guide" and state.guides and config.guide.begin != "fresh":
        state.guides[0].load_state_dict(state.average.classifier.state_dict())
        begin_even(state.guides[0], state.priors)


@torch.no_grad()
def fill_labels(config: TrainConfig, dataset: Dataset, state: TrainState) -> None:
    """Let the classifier say what images without a label show, where it is sure."""
    assert state.pseudo is not None
    device = state.residuals.weight.device
    for positions, images, _ in _batches(config, dataset):
        with shorter(device, state.precision):
            logits = state.networks.classifier(images.to(device))
        state.pseudo.fill(slice(positions[0], positions[-1] + 1), [v.softmax(1) for v in logits])
    state.pseudo.labels.copy_(state.team.leaders(state.pseudo.labels.long()))  # gloo sends no short ones


@torch.no_grad()
def begin_even(guide: AttributeClassifier, priors: Sequence[torch.Tensor]) -> None:
    """Take what a classifier knows of how frequent the values are out of its logits."""
    bias = getattr(guide.head, "bias", None)
    if isinstance(bias, torch.Tensor):
        bias -= torch.cat(list(priors))


@torch.no_grad()
def moments_start(config: TrainConfig, dataset: Dataset, classifier: AttributeClassifier) -> None:
    """Standardised moments, and lines along which the labelled values lie apart."""
    moments, lines = classifier.features, classifier.head
    assert isinstance(moments, Moments) and isinstance(lines, Lines)
    device = moments.mean.device
    seen = moments.fit(images.to(device) for _, images, _ in _batches(config, dataset))
    lines.begin(seen, torch.from_numpy(dataset.label_array()).to(device))


def _batches(
    config: TrainConfig, dataset: Dataset
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Positions, images and masks of all of `dataset`, on the CPU."""
    for start in range(0, len(dataset), BATCH):
        positions = np.arange(start, min(start + BATCH, len(dataset)))
        yield positions, *dataset.batch(positions, config.network.image_size)


def _shares(dataset: Dataset, positions: np.ndarray, images: torch.Tensor, state: TrainState) -> torch.Tensor:
    """(n, V) how much of each value the images at `positions` have, on the CPU."""
    logits = state.networks.classifier(images.to(state.residuals.weight.device))
    labels = torch.from_numpy(dataset.label_array()[positions]).T
    return torch.cat([value_shares(k, v.softmax(1).cpu()) for k, v in zip(labels, logits, strict=True)], 1)


@torch.no_grad()
def component_start(config: TrainConfig, dataset: Dataset, state: TrainState) -> None:
    """Fill the residual codes of `dataset`'s images, in order; in a team each process its own."""
    device = state.residuals.weight.device
    thumbnails, assignments, wanted_base = [], [], []
    base_side = config.network.base_side
    for positions, images, mask in _batches(config, dataset):
        thumbnails.append((F.adaptive_avg_pool2d(images * mask, THUMBNAIL)).flatten(1))
        if base_side:
            wanted_base.append(F.adaptive_avg_pool2d(images, base_side).flatten(1))
        assignments.append(_shares(dataset, positions, images, state))
    x = torch.cat(thumbnails).double()
    a = torch.cat(assignments).double()
    a = torch.cat([a, torch.ones(len(a), 1, dtype=torch.float64)], 1)
    x = x - a @ torch.linalg.lstsq(a, x, driver="gelsd").solution
    wanted = min(config.network.residual_dim, x.shape[1], len(x))
    u, singular, v = torch.linalg.svd(x, full_matrices=False)
    # A component's sign is anybody's choice: fixed, so that a last digit doesn't turn the codes round. By any
    # direction that no symmetry of the images has.
    direction = torch.randn(v.shape[1], generator=torch.Generator().manual_seed(0), dtype=v.dtype)
    u = u * (v @ direction).sign()
    scale = LARGEST * max(config.disentanglement.residual_noise, 0.1)
    spread = (singular[:wanted] / singular[0]).sqrt() * scale
    codes = F.pad(u[:, :wanted] * len(x) ** 0.5 * spread, (0, config.network.residual_dim - wanted))
    codes = state.team.leaders(codes.float().to(device))
    state.residuals.weight.copy_(codes[state.team.part])
    if wanted_base:
        _start_base(config, state, a[:, :-1].float(), codes, torch.cat(wanted_base))


def _start_base(
    config: TrainConfig,
    state: TrainState,
    assignments: torch.Tensor,
    residuals: torch.Tensor,
    pictures: torch.Tensor,
) -> None:
    """The linear base of the generator: a ridge regression from codes to (n, 3 * side ** 2) `pictures`.

    `assignments` (n, V) are the values' shares, `residuals` (n, R) the codes.
    """
    tables = [table.detach().cpu() for table in state.networks.embeddings.tables]
    shares = assignments.split([len(table) for table in tables], 1)
    attributes = torch.cat([share @ table for share, table in zip(shares, tables, strict=True)], 1)
    x = torch.cat([attributes, residuals.cpu()], 1)
    noise = torch.zeros(x.shape[1], dtype=torch.float64)
    noise[-residuals.shape[1] :] = config.disentanglement.residual_noise**2
    _solve([nets.generator.base for nets in (state.networks, state.average)], x, pictures, noise, state)


@torch.no_grad()
def refit_base(config: TrainConfig, dataset: Dataset, state: TrainState) -> None:
    """Add to the generator's linear base what a regression on residual codes finds in its pictures' errors.

    The base was solved for the codes that stage 1 began with. Those of the encoder are others, and say more
    of the picture than the deep part, which was taught from there, draws of them. What attribute codes
    explain beside them is left out: so a swap changes what it changed before.
    """
    nets, device = state.networks, state.residuals.weight.device
    labels = torch.from_numpy(dataset.label_array())
    codes, errors = [], []
    for positions, images, mask in _batches(config, dataset):
        images, mask = images.to(device), mask.to(device)
        with shorter(device, state.precision):
            probabilities = [logits.softmax(1) for logits in nets.classifier(images)]
            attributes = nets.embeddings.assign(probabilities, labels[positions].to(device)).flatten(1)
            code = torch.cat([attributes, nets.residual_encoder(images)], 1).float()
            error = (images - nets.generator(code).float()) * mask
        codes.append(code.cpu())
        errors.append(F.adaptive_avg_pool2d(error, config.network.base_side).flatten(1).cpu())
    x, residuals = torch.cat(codes), config.network.residual_dim
    noise = torch.zeros(x.shape[1], dtype=torch.float64)
    noise[-residuals:] = config.synthesis_noise**2
    layers = [networks.generator.base for networks in (nets, state.average)]
    _solve(layers, x, torch.cat(errors), noise, state, added=residuals)


@torch.no_grad()
def fit_regions(config: TrainConfig, dataset: Dataset, state: TrainState) -> None:
    """Find where each value is seen; without a label the classifier says what an image shows."""
    assert state.regions is not None
    shares, pictures, inside = [], [], []
    for positions, images, mask in _batches(config, dataset):
        shares.append(_shares(dataset, positions, images, state))
        pictures.append(F.adaptive_avg_pool2d(images * mask, SIDE))
        inside.append((F.adaptive_avg_pool2d(mask, SIDE)[:, 0] > 0.99).float())
    counts = state.networks.classifier.value_counts
    maps = seen_in(torch.cat(shares), torch.cat(pictures), torch.cat(inside), counts, config.mirror)
    state.regions.maps.copy_(state.team.leaders(maps.to(state.regions.maps.device)))


@torch.no_grad()
def encoder_base_start(config: TrainConfig, dataset: Dataset, codes: torch.Tensor, state: TrainState) -> None:
    """The linear part of the residual encoder: a ridge regression from images to their `codes` (n, R)."""
    x = torch.cat([thumbnails(images) for _, images, _ in _batches(config, dataset)])
    layers = [nets.residual_encoder.base for nets in (state.networks, state.average)]
    _solve(layers, x, codes.cpu(), torch.zeros(x.shape[1], dtype=torch.float64), state)


def _solve(
    layers: Sequence[object],
    x: torch.Tensor,
    y: torch.Tensor,
    noise: torch.Tensor,
    state: TrainState,
    added: int = 0,
) -> None:
    """Set linear layers to what predicts y (n, O) of x (n, I) with `noise` of a variance (I,) added.

    Or add to what they are what the last `added` entries of x explain of it.
    """
    device = state.residuals.weight.device
    found, bias = (state.team.leaders(t.to(device)) for t in ridge(x, y, noise, last=added))
    for layer in layers:
        assert isinstance(layer, torch.nn.Linear)
        layer.weight.copy_(layer.weight + found if added else found)
        layer.bias.copy_(layer.bias + bias if added else bias)
