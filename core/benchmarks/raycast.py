"""Where rays meet a sphere, a box, an upright cylinder and an upright capsule; all arrays, no loops.

Every function takes `origin` and `direction` (n, 3), directions of length 1, and returns the distance to
the first point in front (n,), inf where there is none, and the outward normal there (n, 3), undefined
where there is none. y is up; solids stand on y = 0 at x = z = 0.
"""

from __future__ import annotations

import numpy as np

_NEAR = 1e-4  # a ray that starts on a surface doesn't meet it again


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) inner products."""
    return np.einsum("...i,...i->...", a, b)


def sphere(
    origin: np.ndarray, direction: np.ndarray, radius: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """A sphere whose centre is at `height`."""
    centre = np.array([0.0, height, 0.0])
    half, rest = dot(origin - centre, direction), dot(origin - centre, origin - centre) - radius**2
    distance = _first_root(half, rest, np.ones_like(half))
    return distance, (_at(origin, direction, distance) - centre) / radius


def box(
    origin: np.ndarray, direction: np.ndarray, half: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """An upright box, 2 * `half` wide and deep."""
    low, high = np.array([-half, 0.0, -half]), np.array([half, height, half])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - origin) / direction, (high - origin) / direction
    entry, leave = np.fmin(a, b), np.fmax(a, b)
    axis = entry.argmax(axis=1)
    near, far = entry.max(axis=1), leave.min(axis=1)
    distance = np.where((near < far) & (near > _NEAR), near, np.inf)
    normal = np.zeros_like(direction)
    rows = np.arange(len(direction))
    normal[rows, axis] = -np.sign(direction[rows, axis])
    return distance, normal


def cylinder(
    origin: np.ndarray, direction: np.ndarray, radius: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """An upright cylinder from y = 0 to `height`, closed at the top."""
    side, normal = _tube(origin, direction, radius, 0.0, height)
    with np.errstate(divide="ignore", invalid="ignore"):
        top = (height - origin[:, 1]) / direction[:, 1]
    point = _at(origin, direction, top)
    on_top = (top > _NEAR) & (point[:, 0] ** 2 + point[:, 2] ** 2 <= radius**2) & (top < side)
    normal[on_top] = (0.0, 1.0, 0.0)
    return np.where(on_top, top, side), normal


def capsule(
    origin: np.ndarray, direction: np.ndarray, radius: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """An upright cylinder with a half ball on each end, `height` from tip to tip."""
    distance, normal = _tube(origin, direction, radius, radius, height - radius)
    for centre in (radius, height - radius):
        other, other_normal = sphere(origin, direction, radius, centre)
        nearer = other < distance
        distance = np.where(nearer, other, distance)
        normal = np.where(nearer[:, None], other_normal, normal)
    return distance, normal


def _tube(
    origin: np.ndarray, direction: np.ndarray, radius: float, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    flat_origin, flat = origin[:, [0, 2]], direction[:, [0, 2]]
    distance = _first_root(dot(flat_origin, flat), dot(flat_origin, flat_origin) - radius**2, dot(flat, flat))
    point = _at(origin, direction, distance)
    distance = np.where((point[:, 1] >= low) & (point[:, 1] <= high), distance, np.inf)
    return distance, point * np.array([1.0, 0.0, 1.0]) / radius


def _first_root(half: np.ndarray, rest: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Smaller root of square t² + 2 half t + rest where it is in front, else inf."""
    inside = half**2 - square * rest
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (-half - np.sqrt(np.maximum(inside, 0.0))) / square
    return np.where((inside > 0) & (root > _NEAR), root, np.inf)


def _at(origin: np.ndarray, direction: np.ndarray, distance: np.ndarray) -> np.ndarray:
    # a miss is at the origin of its ray, which saves every caller from infinities
    return origin + np.where(np.isfinite(distance), distance, 0.0)[:, None] * direction
