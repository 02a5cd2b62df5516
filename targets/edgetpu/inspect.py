"""Findings about a file for the Edge TPU: what the compiler said of it, or a prediction where no compiler was asked."""

from __future__ import annotations

from collections.abc import Mapping

from edgeseg.errors import StageError
from edgeseg.target import Artifact, Findings

from ..tflite import inspect as tflite
from ..tflite.container import read_content
from .compiled import is_compiled, log_in
from .compiler import find_compiler
from .finish import compiled
from .log import CompilerLog
from .mapping import predict
from .memory import memory_of
from .nodes import Graph, graph_of
from .sizes import WHOLE_UP_TO, WORDS, outlook
from .table import SOURCES

Facts = dict[str, str | int | float]


def inspect(artifact: Artifact) -> Findings:
    """Types, names and operators as those of any `.tflite` file, then what becomes of the operations.

    Facts that begin with ``predicted`` come from Coral's table and from sizes; ``mapped_share``, ``subgraphs`` and what
    stands with them come from a compiler's log alone.
    """
    content = read_content(artifact.path)
    graph = graph_of(content.data)
    if is_compiled(graph):
        log = log_in(content)
        return Findings(
            facts_of_log(log) if log else {"compiled": "yes, by another program: its log is not in the file"}
        )
    findings = tflite.inspect(artifact)
    facts: Facts = {**findings.facts, **predicted(graph, artifact.metadata.image_size)}
    problems = findings.problems
    if find_compiler():
        try:
            _, log, _ = compiled(artifact)
            facts |= facts_of_log(log)
        except StageError as error:
            problems += (error.message,)
    return Findings(facts, problems)


def facts_of_log(log: CompilerLog) -> Facts:
    """What a compiler's log tells, without what it does not."""
    rows: Mapping[str, str | int | float | None] = {
        "compiler": log.version,
        "mapped": log.mapped,
        "mapped_share": None if log.share is None else round(log.share, 4),
        "on_processor": log.on_processor() if log.rows else None,
        "subgraphs": log.subgraphs,
        "on_chip_bytes": log.on_chip,
        "on_chip_free_bytes": log.on_chip_free,
        "off_chip_bytes": log.off_chip,
    }
    return {name: value for name, value in rows.items() if value is not None}


def predicted(graph: Graph, image_size: tuple[int, int]) -> Facts:
    """What Coral's table and the sizes in memory let expect.

    Args:
        graph: of a file that is not compiled.
        image_size: (height, width) of its input, pixels.
    """
    mapping, memory = predict(graph), memory_of(graph)
    view = outlook(mapping, memory, image_size)
    by_size = sorted({graph.nodes[number].kind for number in mapping.cautions})
    reasons = [f"{count} x {reason} [{SOURCES[source]}]" for reason, count, source in mapping.reasons()]
    facts: Facts = {
        "predicted": f"{view.word}: {WORDS[view.word]}. {view.reason} [{SOURCES[view.source]}]",
        "predicted_reports": f"{view.report[0]} [{SOURCES[view.report[1]]}]",
        "predicted_mapped": mapping.mapped,
        "predicted_mapped_share": round(mapping.share, 4),
        "predicted_prefix": mapping.prefix,
        "predicted_on_processor": "; ".join(reasons) or "none",
        "predicted_by_size": ", ".join(by_size) or "none",
        "parameter_bytes": memory.parameters,
        "largest_activation": str(memory.largest),
        "largest_activation_bytes": memory.largest.bytes,
        "peak_activation_bytes": memory.peak,
        "reported_size_that_maps": "{} x {}".format(*WHOLE_UP_TO),
    }
    if view.suggested is not None:
        facts["predicted_size_that_fits"] = "{} x {}".format(*view.suggested)
    return facts
