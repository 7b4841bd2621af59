"""Collections: a folder of images with attributes, labels, embeddings and a journal."""

from core.collection.collection import Collection, home_of
from core.collection.edits import (
    AddAttribute,
    AddValue,
    DeleteAttribute,
    DeleteValue,
    Edit,
    MergeAttributes,
    MergeValues,
    MoveAttribute,
    MoveValue,
    RenameAttribute,
    RenameValue,
    ReplaceSet,
    SetPrompts,
)
from core.collection.embeddings import EmbeddingStore
from core.collection.exports import KINDS, ExportReport
from core.collection.imports import Conflict, ImportPreview
from core.collection.journal import Action, Change, LabelEdit
from core.collection.scan import ScanReport
from core.collection.tables import CLIP, IMPORT, NONE, PERSON, PROBE, SOURCES, ImageTable, LabelTable

__all__ = [
    "CLIP",
    "IMPORT",
    "KINDS",
    "NONE",
    "PERSON",
    "PROBE",
    "SOURCES",
    "Action",
    "AddAttribute",
    "AddValue",
    "Change",
    "Collection",
    "Conflict",
    "DeleteAttribute",
    "DeleteValue",
    "Edit",
    "EmbeddingStore",
    "ExportReport",
    "ImageTable",
    "ImportPreview",
    "LabelEdit",
    "LabelTable",
    "MergeAttributes",
    "MergeValues",
    "MoveAttribute",
    "MoveValue",
    "RenameAttribute",
    "RenameValue",
    "ReplaceSet",
    "ScanReport",
    "SetPrompts",
    "home_of",
]
