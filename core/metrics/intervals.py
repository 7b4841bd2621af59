"""How far a measured share can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """`hits` of `count`, and the 95 % interval low..high of the true share; all nan where count is 0."""

    hits: int
    count: int
    share: float
    low: float
    high: float


def wilson(hits: int, count: int, z: float = 1.96) -> Share:
    """Wilson's score interval (JASA 1927), which holds for few samples and for shares near 0 or 1."""
    if not 0 <= hits <= count:
        raise ValueError(f"{hits} hits of {count}.")
    if count == 0:
        return Share(0, 0, math.nan, math.nan, math.nan)
    p = hits / count
    middle = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    return Share(hits, count, p, max(0.0, middle - half), min(1.0, middle + half))
