"""How photos are shown to the annotator that knows aligned faces only.

The face is found and aligned as everywhere in the program; of several, the largest. Photos that show a face
and little else (crops) hide the head from the detector: where it finds nothing, the border is repeated
around the photo and it looks once more, less strictly, for a face in the middle. Without a face the centre
square is shown, and the caller learns of it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.faces.frame import Frame, align

if TYPE_CHECKING:
    from core.faces.finder import FaceFinder

SIZE = 128  # pixels of the aligned face, as `prepare` makes them
READ = 768  # shorter side at which photos are read: the finder needs more than the annotator
PADDING = 0.3  # of the longer side
STRICT, LOOSE = 0.2, -0.2  # the detector's thresholds
OFF_CENTRE = 0.25  # of the shorter side: a loose find further off is none
QUICK = 210  # longer side of a first, coarse look, which finds faces of a fifth of the photo and more


@cache
def _finder() -> FaceFinder:
    from core.faces.finder import FaceFinder

    return FaceFinder()


def portrait(srgb: np.ndarray) -> tuple[np.ndarray, bool]:
    """(SIZE, SIZE, 3) uint8 aligned face of an (H, W, 3) uint8 photo, and whether there is one."""
    frame = find_frame(srgb)
    if frame is not None:
        return align(srgb, frame, SIZE)[0], True
    height, width = srgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(np.ascontiguousarray(srgb[top : top + side, left : left + side]))
    return np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC, reducing_gap=2.0)), False


def find_frame(srgb: np.ndarray) -> Frame | None:
    """The frame of the largest face, or None."""
    finder = _finder()
    longest = max(srgb.shape[:2])
    if longest > 2 * QUICK:
        # most photos of faces show them large: a small copy is searched in a fraction of the time
        factor = QUICK / longest
        size = (max(1, round(srgb.shape[1] * factor)), max(1, round(srgb.shape[0] * factor)))
        small = np.asarray(Image.fromarray(srgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        faces = finder.find(small, STRICT)
        if faces:
            return Frame.from_points(finder.landmarks(srgb, faces[0].frame.scaled(1 / factor)))
    faces = finder.find(srgb, STRICT)
    if faces:
        return faces[0].frame
    pad = round(PADDING * longest)
    padded = np.pad(srgb, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    middle = np.array(padded.shape[1::-1]) / 2

    def distance(frame: Frame) -> float:
        return float(np.hypot(frame.center_x - middle[0], frame.center_y - middle[1]))

    near = [f.frame for f in finder.find(padded, LOOSE)]
    near = [f for f in near if distance(f) <= OFF_CENTRE * min(padded.shape[:2])]
    if not near:
        return None
    frame = min(near, key=distance)
    return Frame(frame.center_x - pad, frame.center_y - pad, frame.side, frame.angle)
