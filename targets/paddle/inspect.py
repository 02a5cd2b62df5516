"""Static findings about a Paddle folder."""

from __future__ import annotations

from collections import Counter

from edgeseg.files import bytes_of
from edgeseg.folder_metadata import METADATA_FILE
from edgeseg.target import Artifact, Findings

from .contents import checked_program
from .program import network_folder, stored_parameters

STORED_TYPES = {"fp32": "float32", "fp16": "float16"}
"""Precision to the type of the stored parameters; a foreign folder may be fp16."""

CONVOLUTIONS = ("conv2d", "conv2d_transpose", "depthwise_conv2d")
TABLE_TYPES = ("int32", "int64")
"""Of stored parameters that are no weights, such as sizes and indices."""


def inspect(artifact: Artifact) -> Findings:
    """Operator counts, whether the stored parameters have the precision asked, and whether names are kept."""
    program = checked_program(artifact.path)
    stored = stored_parameters(network_folder(artifact.path), program)
    types = Counter(parameter.type for parameter in stored.values())
    wanted = STORED_TYPES[artifact.metadata.precision]
    problems = [
        f"{name}: parameters are {parameter.type}, expected {wanted}"
        for name, parameter in stored.items()
        if parameter.type not in (wanted, *TABLE_TYPES)
    ]
    if (artifact.path / METADATA_FILE).is_file():
        for what in ("inputs", "outputs"):
            declared, found = ([spec.name for spec in getattr(owner, what)] for owner in (artifact.metadata, program))
            if declared != found:
                problems.append(f"{what} {found}, expected {declared}")
    kinds = Counter(program.operators)
    facts: dict[str, str | int | float] = {
        "operators": ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()),
        "convolutions": sum(kinds[kind] for kind in CONVOLUTIONS),
        "parameters": ", ".join(f"{kind} {count}" for kind, count in types.most_common()),
        "megabytes": round(bytes_of(artifact.path) / 1e6, 2),
    }
    return Findings(facts, tuple(problems))
