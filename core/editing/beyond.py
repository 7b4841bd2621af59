"""Carry an edit on beyond its frame: along hair and skin, and not into what looks different.

The frame ends where much of the hair still goes on. What changes near its border is spread from there over
the surroundings by a screened Poisson equation whose neighbours hold together as far as they look alike
(Levin, Lischinski and Weiss 2004, “Colorization using Optimization”; the screening: Bhat et al. 2008): in a
stretch of one colour the change goes on, at an edge it stops, and with the distance it fades.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from core.editing.blend import feather_mask, mean_nearby
from core.faces.frame import Frame

# Side of the surroundings in sides of the frame. Cells a side that the equation is solved for, of which the
# frame has 64: enough for a face, a tenth of a second once a face and a hundredth for each change.
GROWTH = 1.75
CELLS = 112
_FRAME_CELLS = round(CELLS / GROWTH)
# Difference of two neighbouring cells, of the range from black to white, at which they hardly hold together.
_ALIKE = 0.05
# How strongly a change is held to nothing: neighbours hold with 1, so it fades over some 18 cells.
_FADING = 0.003
# What still holds neighbours together that do not look alike at all, so that the equation has a solution.
_APART = 1e-5


def surroundings(frame: Frame) -> Frame:
    """The square around a frame that an edit may reach."""
    return Frame(frame.center_x, frame.center_y, frame.side * GROWTH, frame.angle)


class Surroundings:
    """What is around one face, ready to carry changes of the face on."""

    NBYTES = 12_000_000  # of memory, about: the solved equation

    def __init__(self, picture: np.ndarray, inside: np.ndarray) -> None:
        """`picture` (CELLS, CELLS, 3) uint8 sRGB of the `surroundings`; `inside` (CELLS, CELLS): the photo.

        ValueError where shapes don't fit.
        """
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import splu

        if picture.shape != (CELLS, CELLS, 3) or inside.shape != (CELLS, CELLS):
            raise ValueError(f"picture {picture.shape}, inside {inside.shape}: not {CELLS} cells a side")
        # of a cell and its neighbours: single hairs are not where hair ends
        seen = mean_nearby(mean_nearby(picture.astype(np.float64) / 255, 1), 1)
        places = np.arange(CELLS * CELLS).reshape(CELLS, CELLS)
        starts, ends, holds = [], [], []
        for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
            apart = np.square(seen[a] - seen[b]).sum(-1)
            alike = np.exp(-apart / (2 * _ALIKE**2)) * (inside[a] & inside[b])
            starts.append(places[a].ravel())
            ends.append(places[b].ravel())
            holds.append(np.maximum(alike, _APART).ravel())
        i, j, hold = (np.concatenate(parts) for parts in (starts, ends, holds))
        count = CELLS * CELLS
        pairs = coo_matrix((np.r_[hold, hold], (np.r_[i, j], np.r_[j, i])), (count, count)).tocsr()
        known = amid(feather_mask(_FRAME_CELLS)[..., None])[..., 0] * inside
        self._pull = (known / (1 - known + 1e-3)).reshape(count, 1).astype(np.float64)
        # beyond the photo's end a change goes on as it is, so that enlarging mixes in nothing else
        fading = np.where(inside, _FADING, _FADING * _APART).ravel()
        held = np.asarray(pairs.sum(1)).ravel() + self._pull[:, 0] + fading
        system = (diags(held) - pairs).tocsc()
        self._solve = splu(system, "MMD_AT_PLUS_A", 0.0, options={"SymmetricMode": True}).solve
        # the colours, in levels of 255, where the change of each cell comes from
        reached = self._spread(np.ones((count, 1)))
        self._there = np.maximum(self._spread(picture.reshape(count, 3)) / np.maximum(reached, 1e-6), 1)

    def _spread(self, cells: np.ndarray) -> np.ndarray:
        """(cells, C) float32 of what is known within the frame."""
        return cast(np.ndarray, self._solve(self._pull * cells).astype(np.float32))

    def carried_on(self, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is added, (n, n, 3), and what share of the photo goes, (n, n, 1), over the surroundings.

        float32, n = S * GROWTH, of a `change` (S, S, 3) of the frame in levels of 255. What gets darker is
        scaled, as where that comes from, so that lights in black hair do not stay fair; all else is added.
        Both are there within the frame too, where they lead on from its border.
        """
        import torch

        cells = amid(_resized(change, _FRAME_CELLS)).reshape(CELLS * CELLS, 3)
        spread = self._spread(cells)
        darker = -spread.mean(1, keepdims=True) / self._there.mean(1, keepdims=True)
        share = np.clip(darker, 0, 1)
        planes = np.concatenate([spread + share * self._there, share], axis=1).T.reshape(1, 4, CELLS, CELLS)
        size = round(len(change) * GROWTH)
        wide = torch.nn.functional.interpolate(torch.from_numpy(planes), size=(size, size), mode="bilinear")
        both = wide[0].permute(1, 2, 0).numpy()
        return both[..., :3], both[..., 3:]


def amid(picture: np.ndarray) -> np.ndarray:
    """(n, n, C) float32, n = S * GROWTH: a picture (S, S, C) of the frame amid surroundings of nothing."""
    size = round(len(picture) * GROWTH)
    wide = np.zeros((size, size, picture.shape[2]), np.float32)
    start = (size - len(picture)) // 2
    wide[start : start + len(picture), start : start + len(picture)] = picture
    return wide


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    """(S, S, C) float32 to (size, size, C): means where it shrinks."""
    import torch

    planes = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(planes, size=(size, size), mode="bilinear", antialias=True)
    return cast(np.ndarray, small[0].permute(1, 2, 0).numpy())
