"""Image and prompt embeddings through open_clip. Nothing is imported from torch before a model is loaded."""

from core.clip.choices import ClipChoice, available, choices, find_choice
from core.clip.hub import download, look_up
from core.clip.model import ClipModel

__all__ = ["ClipChoice", "ClipModel", "available", "choices", "download", "find_choice", "look_up"]
