"""Static findings about a frozen graph in one file."""

from __future__ import annotations

from edgeseg.target import Artifact, Findings

from ..saved_model.inspect import findings
from .runner import ends_of, read_graph


def inspect(artifact: Artifact) -> Findings:
    """Operator counts, types of the convolutions' weights, and whether the outputs have their names."""
    message = read_graph(artifact.path)
    found = findings(message, artifact)
    if not artifact.metadata.weights_sha256:
        # A foreign exporter names its tensors as it likes.
        return found
    lost = [
        f"{side} {sorted(names)}, expected {sorted(wanted)}"
        for side, names, specs in zip(
            ("takes", "gives"), ends_of(message), (artifact.metadata.inputs, artifact.metadata.outputs), strict=True
        )
        if set(names) != (wanted := {spec.name for spec in specs})
    ]
    return Findings(found.facts, (*found.problems, *lost))
