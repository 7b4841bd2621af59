"""Find every face in a photo and align it, offline.

dlib's HOG detector gives upright boxes (its weights are inside the library); our landmark network
places five points in each, twice: from the detector's box, then from the frame it found itself,
where the face is upright and well centred.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from core.errors import StudioError
from core.faces.frame import CANONICAL_POINTS, Frame, align
from core.nets.landmarker import INPUT_SIZE, Landmarker
from core.paths import resources

# The detector's smallest face is 80 pixels: photos are searched at a scale where that is 5 % of the longer
# side, and small ones are enlarged twice. Larger costs time in proportion to the area.
SEARCH_SIDE = 1600
SMALLEST_SIDE = 800
# Centre and side of the canonical frame, in widths of the detector's box, measured on the teacher's points.
BOX_TO_FRAME = (0.0, -0.12, 1.63)
# Root-mean-square distance of the points from the best frame's canonical points, in sides, above which the
# network did not see a face there: faces in the shared photos are below 0.05 in 99 of 100 cases.
WORST_SHAPE = 0.09
# The detector finds folds in cloth at scores up to 0.1; faces that look at the camera score 0.3 and more.
THRESHOLD = 0.2


@dataclass(frozen=True)
class Face:
    """A face in photo pixels: its frame, five points (5, 2), the detector's box (left, top, right, bottom).

    `score` is the detector's, about 0 (doubtful) to 3 (certain).
    """

    frame: Frame
    points: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    score: float = 0.0


class FaceFinder:
    """Detector and landmark network. Runs on the CPU; a call is safe from one thread at a time."""

    def __init__(self, weights: Path | None = None) -> None:
        import dlib  # native and slow to load: only when a photo is searched

        path = weights or resources() / "landmarker.safetensors"
        if not path.is_file():
            raise StudioError(f"The landmark network is missing at {path}.", "Install the program again.")
        self._detector = dlib.get_frontal_face_detector()
        self._network = Landmarker().eval()
        self._network.load_state_dict(load_file(path))

    def find(self, srgb: np.ndarray, threshold: float = THRESHOLD) -> tuple[Face, ...]:
        """Every face of an (H, W, 3) uint8 sRGB photo, the largest first; empty if there is none."""
        faces: list[Face] = []
        for box, score in self._boxes(srgb, threshold):
            face = self._place(srgb, box, score)
            if face is not None and not any(_same(face.frame, f.frame) for f in faces):
                faces.append(face)
        return tuple(sorted(faces, key=lambda f: -f.frame.side))

    def landmarks(self, srgb: np.ndarray, frame: Frame) -> np.ndarray:
        """(5, 2) points in photo pixels of the face that fills `frame` roughly."""
        crop, _ = align(srgb, frame, INPUT_SIZE)
        batch = torch.from_numpy(crop).permute(2, 0, 1)[None].float().div_(127.5).sub_(1)
        with torch.inference_mode():
            unit = self._network(batch)[0].double().numpy()
        return frame.to_photo(unit)

    def _boxes(
        self, srgb: np.ndarray, threshold: float
    ) -> list[tuple[tuple[float, float, float, float], float]]:
        """The detector's boxes in photo pixels with their scores, the most certain first."""
        height, width = srgb.shape[:2]
        longest = max(height, width)
        scale = SEARCH_SIDE / longest if longest > SEARCH_SIDE else (2.0 if longest < SMALLEST_SIDE else 1.0)
        image = Image.fromarray(srgb)
        if scale != 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        rectangles, scores, _ = self._detector.run(np.asarray(image), 0, threshold)
        found = [
            (
                tuple((edge + 0.5) / scale - 0.5 for edge in (r.left(), r.top(), r.right(), r.bottom())),
                float(score),
            )
            for r, score in zip(rectangles, scores, strict=True)
        ]
        return sorted(found, key=lambda pair: -pair[1])

    def _place(self, srgb: np.ndarray, box: tuple[float, float, float, float], score: float) -> Face | None:
        left, top, right, bottom = box
        x, y, side = BOX_TO_FRAME
        size = right - left
        frame = Frame((left + right) / 2 + x * size, (top + bottom) / 2 + y * size, side * size)
        points = self.landmarks(srgb, frame)
        frame = Frame.from_points(points)
        points = self.landmarks(srgb, frame)
        frame = Frame.from_points(points)
        error = np.sqrt(((points - frame.to_photo(CANONICAL_POINTS)) ** 2).sum(1).mean()) / frame.side
        inside = frame.side < 3 * side * size and abs(frame.center_x - (left + right) / 2) < size
        return Face(frame, points, box, score) if error < WORST_SHAPE and inside else None


def _same(a: Frame, b: Frame) -> bool:
    """Two finds of one face: centres closer than a third of the smaller side."""
    return float(np.hypot(a.center_x - b.center_x, a.center_y - b.center_y)) < min(a.side, b.side) / 3
