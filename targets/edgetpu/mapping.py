"""Which operations the compiler would map: a prediction from Coral's table, made without the compiler."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .nodes import Graph, Node
from .table import TABLE, Objection, objections

BEHIND = "behind an operation on the processor: the compiler maps one part of the graph, up to there"


@dataclass(frozen=True)
class Mapping:
    """What would become of a file's operations.

    Attributes:
        nodes: all operations.
        objections: number of an operation to what speaks against it.
        behind: numbers of operations that nothing speaks against, but that read from one that stays on the processor.
        cautions: numbers of mapped operations that may stay there all the same, by their sizes.
    """

    nodes: tuple[Node, ...]
    objections: dict[int, Objection]
    behind: frozenset[int]
    cautions: frozenset[int]

    @property
    def refused(self) -> bool:
        """Whether the compiler would not read the file at all."""
        return any(found.fatal for found in self.objections.values())

    @property
    def mapped(self) -> int:
        """How many operations would run on the Edge TPU."""
        return 0 if self.refused else len(self.nodes) - len(self.objections) - len(self.behind)

    @property
    def share(self) -> float:
        """The same as a share of all, 0..1."""
        return self.mapped / max(len(self.nodes), 1)

    @property
    def prefix(self) -> int:
        """How many operations stand before the first that nothing maps."""
        return min(self.objections, default=len(self.nodes))

    @property
    def first(self) -> str:
        """The first operation that stays on the processor, and why; empty where none does."""
        return f"operation {self.prefix}: {self.objections[self.prefix].reason}" if self.objections else ""

    def reasons(self) -> list[tuple[str, int, str]]:
        """Reason, how many operations it holds for, and the key of its source; the most frequent first."""
        counts = Counter((found.reason, found.source) for found in self.objections.values())
        rows = [(reason, count, source) for (reason, source), count in counts.most_common()]
        return [*rows, (BEHIND, len(self.behind), "subgraphs")] if self.behind else rows


def predict(graph: Graph) -> Mapping:
    """Judge each operation, and what follows for those that read from it."""
    against = {node.number: found for node in graph.nodes if (found := next(objections(node), None)) is not None}
    processor: set[int] = set()
    behind = set()
    for node in graph.nodes:
        follows = any(tensor is not None and tensor.number in processor for tensor in node.inputs)
        if follows and node.number not in against:
            behind.add(node.number)
        if follows or node.number in against:
            processor |= {tensor.number for tensor in node.outputs}
    mapped = [node for node in graph.nodes if node.number not in against and node.number not in behind]
    cautions = frozenset(node.number for node in mapped if TABLE[node.kind].caution)
    return Mapping(graph.nodes, against, frozenset(behind), cautions)
