"""Concepts and the edges between them, along which the source's labels reach the target's words."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from dann_transfer.ground.checks import check_number
from dann_transfer.knowledge.base import Knowledge, Reason, State, check_state, reason_of
from dann_transfer.knowledge.phrases import Phrases, plain
from dann_transfer.knowledge.spreading import RESTART, returning, spread, transitions

DOUBT = 0.3
"""The usual class shares count like so many source texts in those of a concept."""
LEAST = 1e-3
"""Shares and counts below this are nothing."""
HOPS = 5
"""At most this many edges are named as the way to a concept of the source."""
COLUMNS = ("head", "relation", "tail")


class Graph(Knowledge):
    """A knowledge graph: the labels of the source's texts reach concepts that only the target has.

    The concepts of a text are its longest phrases that are nodes. The labels of the source's texts
    give their concepts shares of the classes, and these spread along edges, in both directions, by
    personalised PageRank. How far the shares that reach a concept from others are from the usual
    ones is its evidence; that of a text is the sum over its concepts, divided by the root of their
    number. What the source's texts say about a concept itself is left out, since a model learns it
    from the same texts: what remains is what only the graph knows.

    Parameters
    ----------
    edges : iterable of (head, relation, tail)
        Strings. Case does not matter in heads and tails, and ``_`` and ``-`` count as spaces.
    restart : float
        What of a concept's result is its own, between 0 and 1; the rest comes from neighbours.
    opposite : collection of str
        Relations that join opposites: what speaks for a class at one end speaks against it at the
        other. Case, ``_`` and ``-`` make no difference.

    Raises
    ------
    TypeError, ValueError
        If there is no edge between two nodes, or one is no triple of strings.

    References
    ----------
    Ghosal et al., KinGDOM: Knowledge-Guided DOMain Adaptation for Sentiment Analysis, ACL 2020,
    which carries labels along a graph with an autoencoder; Gasteiger et al., Predict then
    Propagate, ICLR 2019, for the spreading.

    Examples
    --------
    >>> graph = Graph([("glorious", "similar to", "stellar"), ("dire", "similar to", "grim")])
    >>> graph = graph.fit(["a glorious film", "a dire film"], ["good", "bad"])
    >>> graph.evidence(["stellar phone", "grim phone", "a phone"]).values.round(2).tolist()
    [[-1.53, 1.53], [1.53, -1.53], [0.0, 0.0]]
    >>> print(*graph.explain("stellar phone"))
    good: +1.53 by 'stellar' (stellar -similar to- glorious, in source texts of 'good')

    """

    def __init__(
        self,
        edges: Iterable[tuple[str, str, str]],
        *,
        restart: float = RESTART,
        opposite: Collection[str] = ("antonym",),
    ) -> None:
        check_number(f"restart={restart!r}", restart, 0, 1, above=True, below=True)
        if isinstance(opposite, str):
            raise TypeError(f"opposite is a single str; pass opposite=[{opposite!r}].")
        if isinstance(edges, str | bytes):
            raise TypeError("edges is a single string; pass triples, or a file to Graph.from_csv.")
        self.restart, self.opposite = float(restart), sorted({plain(name) for name in opposite})
        nodes: dict[str, int] = {}
        relations: dict[str, int] = {}
        heads, kinds, tails = array("i"), array("i"), array("i")
        for i, edge in enumerate(edges):
            head, relation, tail = _checked(edge, i)
            heads.append(nodes.setdefault(head, len(nodes)))
            kinds.append(relations.setdefault(relation, len(relations)))
            tails.append(nodes.setdefault(tail, len(nodes)))
        self._set(list(nodes), list(relations), *map(np.asarray, (heads, kinds, tails)))

    def _set(
        self,
        nodes: list[str],
        relations: list[str],
        heads: np.ndarray,
        kinds: np.ndarray,
        tails: np.ndarray,
    ) -> None:
        if not (heads != tails).any():
            raise ValueError(
                f"the graph has {len(heads)} edges, none of which joins two nodes, so nothing "
                "spreads; pass (head, relation, tail) of related words."
            )
        self.nodes, self.relations = nodes, relations
        self.heads, self.kinds, self.tails = heads, kinds, tails

    @classmethod
    def from_csv(cls, path: str | PathLike[str], separator: str = ",", **settings: Any) -> Graph:
        """Read a file with head, relation and tail in each line.

        A first line ``head,relation,tail`` is left out.

        Raises
        ------
        ValueError
            If a line has other columns, by its number.

        """

        def rows() -> Iterator[tuple[str, str, str]]:
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                for row in (reader := csv.reader(file, delimiter=separator)):
                    if not row or (reader.line_num == 1 and tuple(row) == COLUMNS):
                        continue
                    if len(row) != len(COLUMNS):
                        raise ValueError(
                            f"{str(path)!r}, line {reader.line_num} has {len(row)} columns; it "
                            f"needs {', '.join(COLUMNS)}, separated by {separator!r}."
                        )
                    yield row[0], row[1], row[2]

        return cls(rows(), **settings)

    @classmethod
    def from_networkx(cls, graph: Any, **settings: Any) -> Graph:
        """Take the edges of a networkx graph, whose nodes are strings.

        An edge's relation is its attribute ``relation``, and otherwise "related to".
        """
        edges = graph.edges(data=True)
        return cls(
            ((a, str(data.get("relation", "related to")), b) for a, b, data in edges), **settings
        )

    def __len__(self) -> int:
        return len(self.heads)

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes):,} nodes, {len(self):,} edges)"

    def unsaved(self) -> str:
        """Say nothing: it can be saved."""
        return ""

    @cached_property
    def _phrases(self) -> Phrases:
        return Phrases(self.nodes)

    def _opposed(self) -> np.ndarray:
        """Return which edges join opposites, shape (edges,)."""
        signs = np.array([plain(name) in self.opposite for name in self.relations])
        return signs[self.kinds]

    def learn(self, texts: Sequence[str], codes: np.ndarray, target: Sequence[str]) -> None:
        """Give the source's concepts shares of the classes, and spread them."""
        classes = len(self.classes_)
        truth = np.eye(classes)[codes]
        usual = truth.mean(0)
        presence = self._phrases.presence(texts)
        # How many texts of each class a concept has beyond what is usual, and how many in all.
        self._surplus = np.asarray(presence.T @ (truth - usual), dtype=np.float32)
        counts = np.asarray(presence.sum(0), dtype=np.float32)[:, None]
        edges = self.heads, self.tails, self._opposed(), len(self.nodes)
        signed = transitions(*edges, signed=True)
        unsigned = transitions(*edges, signed=False) if self._opposed().any() else signed
        # Divided by the share that is a concept's own, so that a concept without edges keeps all.
        self._spread = spread(signed, self._surplus, self.restart) / self.restart
        total = spread(unsigned, counts, self.restart) / self.restart
        # Without what comes from a concept itself: the model learns that from the same texts.
        itself = returning(signed, self.restart)[:, None]
        total = (total - itself * counts).clip(0)
        shares = usual + (self._spread - itself * self._surplus) / (total + DOUBT)
        evidence = np.log(shares.clip(LEAST) / usual.clip(LEAST))
        evidence[total[:, 0] < LEAST * DOUBT] = 0
        self._scores = (evidence - evidence.mean(1, keepdims=True)).astype(np.float32)

    def values(self, texts: Sequence[str]) -> np.ndarray:
        """Return the sum of the concepts' evidence in each text over the root of their number."""
        presence = self._phrases.presence(texts)
        number = np.asarray(presence.sum(1)).clip(1)
        return np.asarray(presence @ self._scores) / np.sqrt(number)[:, None]

    def reasons(self, text: str) -> list[Reason]:
        """Return the concepts of a text, and the edges along which their evidence came."""
        places = np.unique([match.phrase for match in self._phrases.find(text)]).astype(int)
        return [
            reason_of(
                self.classes_,
                self._scores[place] / np.sqrt(len(places)),
                self.nodes[place],
                self._way(place),
            )
            for place in places
            if self._scores[place].any()
        ]

    def _way(self, place: int) -> str:
        """Say along which edges most of a concept's evidence came."""
        label = int(self._scores[place].argmax())
        said, sign, seen = self.nodes[place], 1.0, {place}
        # What the source's texts say about a concept itself comes from nowhere else.
        while sign * self._surplus[place, label] <= 0 and len(seen) <= HOPS:
            edges, others, signs = self._edges_of(place)
            gains = sign * signs * self._spread[others, label]
            gains[np.isin(others, list(seen))] = 0
            if gains.max(initial=0) <= 0:
                break
            best = int(gains.argmax())
            place, sign = int(others[best]), sign * signs[best]
            seen.add(place)
            said += f" -{self.relations[self.kinds[edges[best]]]}- {self.nodes[place]}"
        if not self._surplus[place].any():
            return said
        top = self.classes_[int((sign * self._surplus[place]).argmax())].item()
        against = "" if sign > 0 else "not "
        return f"{said}, in source texts {against}of {top!r}"

    def _edges_of(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the edges of a node, the nodes at their other ends, and -1 for opposites."""
        edges = np.flatnonzero((self.heads == place) | (self.tails == place))
        others = np.where(self.heads[edges] == place, self.tails[edges], self.heads[edges])
        kept = others != place
        return edges[kept], others[kept], np.where(self._opposed()[edges], -1.0, 1.0)[kept]

    def state(self) -> State:
        """Return what saves it."""
        values = {
            "nodes": self.nodes,
            "relations": self.relations,
            "restart": self.restart,
            "opposite": self.opposite,
        }
        arrays = {name: getattr(self, name) for name in ("heads", "kinds", "tails")}
        arrays |= {"surplus": self._surplus, "spread": self._spread, "scores": self._scores}
        return values, arrays

    @classmethod
    def from_state(
        cls, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray], classes: np.ndarray
    ) -> Graph:
        """Return the object that `state` was taken of."""
        graph = cls.__new__(cls)
        graph.restart, graph.opposite = values["restart"], values["opposite"]
        ends = (arrays[name] for name in ("heads", "kinds", "tails"))
        graph._set(values["nodes"], values["relations"], *ends)
        graph.classes_ = classes
        graph._surplus, graph._spread = arrays["surplus"], arrays["spread"]
        graph._scores = arrays["scores"]
        table = (len(graph.nodes), len(classes))
        check_state({name: (arrays[name], table) for name in ("surplus", "spread", "scores")})
        check_state({name: (arrays[name], graph.heads.shape) for name in ("kinds", "tails")})
        for name, size in (
            ("heads", table[0]),
            ("tails", table[0]),
            ("kinds", len(graph.relations)),
        ):
            if not ((arrays[name] >= 0) & (arrays[name] < size)).all():
                raise ValueError(f"{name} has places beyond {size - 1}")
        return graph


def _checked(edge: Any, i: int) -> tuple[str, str, str]:
    """Return an edge whose ends are as they are looked up."""
    if not isinstance(edge, tuple | list) or len(edge) != 3:
        raise TypeError(f"edge {i} is {edge!r:.80}; pass (head, relation, tail).")
    if not all(isinstance(part, str) for part in edge):
        raise TypeError(f"edge {i} is {edge!r:.80}; head, relation and tail must be strings.")
    head, tail = plain(edge[0]), plain(edge[2])
    if not head or not tail:
        raise ValueError(f"edge {i} is {tuple(edge)!r:.80}, whose head or tail is empty.")
    return head, edge[1], tail
