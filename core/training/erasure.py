"""Erasure: directions of the residual codes that tell an attribute are taken out of a finished encoder.

What a linear probe reads of an attribute lies in as many directions as it has values, less one. Least-squares
concept erasure (LEACE: Belrose et al. 2023, theorem 4.3) makes one of them constant with the least change of
the codes. It is an affine map, and so is the encoder's last layer: the map goes into its weights. The picture
loses what was told there, so the strongest direction is seldom the one to take; afterwards the generator's
linear part learns from the new codes what it can (`start.refit_base`, in the training).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from core.errors import StudioError
from core.model import Model
from core.nets.encoder import ResidualEncoder
from core.nets.generator import StyleGenerator
from core.training.dataset import Dataset
from core.training.evaluate import encode_all, pixels_of
from core.training.finetune import fit_dataset
from core.training.solving import ridge

BATCH = 128
TINY = 1e-9  # of the largest variance: directions below it are none
REFITTED = 4000  # images that the linear part is fitted to


def erase(model: Model, dataset: Dataset, chosen: Sequence[tuple[str, int]]) -> None:
    """Take directions out of a model's residual codes: of each attribute the 1st, 2nd, ... strongest.

    From the labelled images of the `train` part of a prepared folder. StudioError for an unknown attribute, a
    direction that there is not, or a model whose encoder has no linear part.
    """
    encoder = model.networks.residual_encoder
    if not isinstance(encoder, ResidualEncoder):
        raise StudioError(f"The encoder of {model.card.title} can't be changed so.", "Choose another model.")
    part = fit_dataset(dataset.part("train"), model.card.attributes)
    codes = np.concatenate(_codes(model, part)).astype(np.float64)
    labels = part.label_array()
    whiten, colour = _whitening(np.cov(codes.T))
    found = []
    for name, number in chosen:
        directions = _directions(codes, labels[:, model.card.attributes.index(name)], whiten)
        if not 1 <= number <= directions.shape[1]:
            raise StudioError(
                f"{name} is told in {directions.shape[1]} directions, there is no number {number}.",
                "Choose another.",
            )
        found.append(directions[:, number - 1])
    basis = np.linalg.qr(np.stack(found, 1))[0]
    taken = colour @ basis @ basis.T @ whiten
    kept = torch.from_numpy(np.eye(len(taken)) - taken).to(model.device)
    middle = torch.from_numpy(taken @ codes.mean(0)).to(model.device)
    with torch.no_grad():
        for layer in (encoder.head, encoder.base):
            layer.weight.copy_(kept @ layer.weight.double())
            layer.bias.copy_(kept @ layer.bias.double())
        encoder.base.bias.add_(middle)


@torch.no_grad()
def refit(model: Model, dataset: Dataset, noise: float) -> None:
    """Add to the generator's linear part what residual codes, with `noise`, explain of pictures' errors."""
    generator = model.networks.generator
    if not isinstance(generator, StyleGenerator) or generator.base is None:
        return
    part = dataset.part("train")
    places = np.linspace(0, len(part) - 1, min(REFITTED, len(part))).astype(np.int64)
    codes, errors = [], []
    for start in range(0, len(places), BATCH):
        images, mask = part.batch(places[start : start + BATCH], model.card.image_size)
        images, mask = images.to(model.device), mask.to(model.device)
        shares = [logits.softmax(1) for logits in model.networks.classifier(images)]
        attributes = model.networks.embeddings.assign(shares).flatten(1)
        code = torch.cat([attributes, model.networks.residual_encoder(images)], 1)
        error = (images - generator(code)) * mask
        codes.append(code.cpu())
        errors.append(F.adaptive_avg_pool2d(error, generator.base_side).flatten(1).cpu())
    x, residuals = torch.cat(codes), model.card.network.residual_dim
    spread = torch.zeros(x.shape[1], dtype=torch.float64)
    spread[-residuals:] = noise**2
    weight, bias = ridge(x, torch.cat(errors), spread, last=residuals)
    generator.base.weight.add_(weight.to(model.device))
    generator.base.bias.add_(bias.to(model.device))


def _codes(model: Model, part: Dataset) -> list[np.ndarray]:
    found = []
    for start in range(0, len(part), BATCH):
        few = part.take(np.arange(start, min(start + BATCH, len(part))))
        found.append(encode_all(model, pixels_of(few, model.card.image_size)[0]).residual.cpu().numpy())
    return found


def _whitening(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Roots (R, R) of the inverse and of the covariance, where there is any variance."""
    variances, axes = np.linalg.eigh(covariance)
    there = variances > TINY * variances.max()
    axes, deviations = axes[:, there], np.sqrt(variances[there])
    return axes / deviations @ axes.T, axes * deviations @ axes.T


def _directions(codes: np.ndarray, labels: np.ndarray, whiten: np.ndarray) -> np.ndarray:
    """(R, values - 1) unit directions of whitened codes that tell the labels (N,), the strongest first."""
    known = labels >= 0
    centred = codes[known] - codes[known].mean(0)
    columns = []
    for value in np.unique(labels[known]):
        here = (labels[known] == value).astype(np.float64)
        if 0 < here.sum() < len(here):
            columns.append(centred.T @ (here - here.mean()) / len(here) / here.std())
    if not columns:
        return np.zeros((len(whiten), 0))
    directions, sizes, _ = np.linalg.svd(whiten @ np.stack(columns, 1), full_matrices=False)
    return directions[:, sizes > 1e-3 * sizes.max()]
