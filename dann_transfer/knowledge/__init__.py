"""What people know besides labels: lexicons, rules and knowledge graphs, as evidence for classes.

People without target labels nearly always have something: a list of words, twenty regular
expressions, a graph of related concepts. Each kind turns texts into evidence, shape (n, classes),
and says why. ``DomainAdapter.fit(..., knowledge=...)`` weighs it against the model.
"""

from __future__ import annotations

from dann_transfer.knowledge.base import (
    Evidence,
    Knowledge,
    KnowledgeWarning,
    Reason,
)
from dann_transfer.knowledge.graph import Graph
from dann_transfer.knowledge.lexicon import Lexicon
from dann_transfer.knowledge.rules import Rules

__all__ = [
    "Evidence",
    "Graph",
    "Knowledge",
    "KnowledgeWarning",
    "Lexicon",
    "Reason",
    "Rules",
]
