"""Static findings about an ncnn folder."""

from __future__ import annotations

from collections import Counter

from edgeseg.target import Artifact, Findings

from .network import BIN_FILE, PARAM_FILE, stored_types
from .runner import checked_layers


def inspect(artifact: Artifact) -> Findings:
    """Layer counts, and whether every convolution's weights have the precision asked; of int8, whether any has: ncnn
    keeps some kinds of layers in float."""
    layers = checked_layers(artifact.path)
    kinds = Counter(layer.kind for layer in layers)
    types = stored_types(artifact.path, layers)
    wanted = artifact.metadata.precision
    problems = tuple(
        f"{name}: weights are {found}, expected {wanted}"
        for name, found in types.items()
        if found != wanted and not (wanted == "int8" and wanted in types.values())
    )
    size = sum((artifact.path / name).stat().st_size for name in (PARAM_FILE, BIN_FILE))
    facts: dict[str, str | int | float] = {
        "layers": len(layers),
        "operators": ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()),
        "convolutions": len(types),
        "of_the_precision": list(types.values()).count(wanted),
        "megabytes": round(size / 1e6, 2),
    }
    return Findings(facts, problems)
