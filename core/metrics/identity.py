"""Is it still the same person? dlib's face embedding of a photo and of its edit.

The network (King 2017) gives 128 numbers for a face; below a distance of 0.6 two pictures show one person,
which is true of 99.4 % of the pairs of Labeled Faces in the Wild. Its weights are no part of this program and
never fetched: they are read from the Python package `face_recognition_models` where that is installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from core.errors import StudioError
from core.faces.finder import BOX_TO_FRAME

SAME_PERSON = 0.6
PACKAGE = "face_recognition_models"


class Identity:
    """Embeds faces in the canonical frame. StudioError where the package is not installed."""

    def __init__(self) -> None:
        spec = find_spec(PACKAGE)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        folder = Path(folders[0]) / "models" if folders else Path()
        files = ("shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat")
        if not folders or not all((folder / name).is_file() for name in files):
            raise StudioError(
                "Whether an edited face is still the same person can't be measured: dlib's face embedding is "
                "not installed.",
                f"Install the Python package {PACKAGE}, or leave this number out.",
            )
        import dlib

        self._rectangle = dlib.rectangle
        self._shape = dlib.shape_predictor(str(folder / files[0]))
        self._network = dlib.face_recognition_model_v1(str(folder / files[1]))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """(N, 128) float64 of (N, S, S, 3) uint8 images in the canonical frame."""
        size = images.shape[1]
        _, down, side = BOX_TO_FRAME
        box = size / side
        middle = size / 2 - down * box  # the frame is centred above the detector's box
        edges = (size / 2 - box / 2, middle - box / 2, size / 2 + box / 2, middle + box / 2)
        rectangle = self._rectangle(*(round(edge) for edge in edges))
        rows = [
            self._network.compute_face_descriptor(image, self._shape(image, rectangle))
            for image in map(np.ascontiguousarray, images)
        ]
        return np.array(rows, np.float64).reshape(len(images), -1)

    def same(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """(N,) bool: whether two arrays of images show one person each, by embeddings or images."""
        a, b = (x if x.ndim == 2 else self.embed(x) for x in (before, after))
        return np.linalg.norm(a - b, axis=1) < SAME_PERSON
