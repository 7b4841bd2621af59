"""Where residual codes start: principal components of the images with the attributes regressed out.

Not in the paper, whose codes start at random and need hundreds of visits each. The components of small
versions of the images hold pose, light and layout; what the attributes can predict of them linearly is
removed, so that the codes start without (linear) leakage, and latent optimisation goes on from there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from core.training.config import TrainConfig
from core.training.dataset import Dataset
from core.training.state import TrainState

THUMBNAIL = 16
BATCH = 256
# The first components are worth more than the noise, the last ones less: standard deviations fall from
# this many noise sigmas with the square root of the component's own.
LARGEST = 4.0


@torch.no_grad()
def component_start(config: TrainConfig, dataset: Dataset, state: TrainState) -> None:
    """Fill the residual codes of `dataset`'s images, in order; in a team each process its own."""
    size = config.network.image_size
    device = state.residuals.weight.device
    thumbnails, assignments = [], []
    for start in range(0, len(dataset), BATCH):
        positions = np.arange(start, min(start + BATCH, len(dataset)))
        images, mask = dataset.batch(positions, size)
        thumbnails.append((F.adaptive_avg_pool2d(images * mask, THUMBNAIL)).flatten(1))
        logits = state.networks.classifier(images.to(device))
        labels = dataset.label_array()[positions]
        rows = []
        for k, values in enumerate(logits):
            p = values.softmax(1).cpu()
            known = torch.from_numpy(labels[:, k])
            hot = F.one_hot(known.clamp(min=0), values.shape[1]).float()
            rows.append(torch.where((known >= 0)[:, None], hot, p))
        assignments.append(torch.cat(rows, 1))
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
    codes = u[:, :wanted] * len(x) ** 0.5 * spread
    state.residuals.weight.zero_()
    codes = state.team.leaders(codes.float().to(device))
    state.residuals.weight[:, :wanted] = codes[state.team.part]
