"""Collections: a folder of images with attributes, labels, embeddings and a journal."""

from core.collection.collection import Collection, home_of
from core.collection.embeddings import EmbeddingStore
from core.collection.journal import Action, Change, LabelEdit
from core.collection.scan import ScanReport
from core.collection.tables import CLIP, IMPORT, NONE, PERSON, PROBE, SOURCES, ImageTable, LabelTable

__all__ = [
    "CLIP",
    "IMPORT",
    "NONE",
    "PERSON",
    "PROBE",
    "SOURCES",
    "Action",
    "Change",
    "Collection",
    "EmbeddingStore",
    "ImageTable",
    "LabelEdit",
    "LabelTable",
    "ScanReport",
    "home_of",
]
