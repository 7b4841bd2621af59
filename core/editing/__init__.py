"""From a recipe to pixels. Importing it loads no torch: that is for the engine's first call."""

from core.editing.blend import Decoded, blend_face, feather_mask
from core.editing.engine import EditEngine
from core.editing.requests import FaceView, OpenedPhoto, Patch, RenderRequest, RenderResult

__all__ = [
    "Decoded",
    "EditEngine",
    "FaceView",
    "OpenedPhoto",
    "Patch",
    "RenderRequest",
    "RenderResult",
    "blend_face",
    "feather_mask",
]
