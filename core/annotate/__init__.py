"""From scores of prompts to labels: rules, what people's corrections teach, and how good the labels are."""

from core.annotate.rules import (
    Assignment,
    BalancedTopK,
    Margin,
    Preview,
    Rule,
    Threshold,
    TopK,
    assign,
    default_k,
    describe,
    preview,
)
from core.annotate.scores import TEMPERATURE, Scorer, Scores, score

__all__ = [
    "TEMPERATURE",
    "Assignment",
    "BalancedTopK",
    "Margin",
    "Preview",
    "Rule",
    "Scorer",
    "Scores",
    "Threshold",
    "TopK",
    "assign",
    "default_k",
    "describe",
    "preview",
    "score",
]
