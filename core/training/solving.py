"""Linear layers that are solved for: ridge regressions."""

from __future__ import annotations

import torch

RIDGE = 1e-3  # of the mean variance of what is known


def ridge(
    x: torch.Tensor, y: torch.Tensor, noise: torch.Tensor, last: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (O, I) and bias (O,), float32, that predict y (n, O) of x (n, I).

    `noise` of a variance (I,) is added to x. Or what the `last` entries of x explain, the others being known.
    """
    x, y = x.double(), y.double()
    centre_x, centre_y = x.mean(0), y.mean(0)
    gram = (x - centre_x).T @ (x - centre_x) / len(x)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + noise)
    weight = torch.linalg.solve(gram, (x - centre_x).T @ (y - centre_y) / len(x))
    if last:
        weight[:-last] = 0.0
    return weight.T.float(), (centre_y - centre_x @ weight).float()
