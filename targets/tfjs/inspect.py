"""Static findings about a graph model."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from edgeseg.target import Artifact, Findings

from .graph import KERNEL_AXES, LEAST_ELEMENTS, owner
from .model_json import STORED, Weight, check_files, manifest_of, read_model
from .static_page import INDEX, LIBRARY


def inspect(artifact: Artifact) -> Findings:
    """Operators, and whether every kernel is stored as the precision says."""
    check_files(artifact.path)
    nodes = read_model(artifact.path)["modelTopology"]["node"]
    weights, shards = manifest_of(artifact.path)
    wanted = STORED[artifact.metadata.precision]
    types = {weight.name: _kept(weight, wanted) for weight in weights}
    # Of uint8 the kernel is a product, whose first factor is stored.
    products = {node["name"]: owner(node["input"][0]) for node in nodes if node["op"] == "Mul"}
    kernels = [owner(node["input"][1]) for node in nodes if node["op"] in KERNEL_AXES]
    found = {name: types.get(products.get(name, name), "computed") for name in kernels}
    problems = tuple(f"{name}: kernel is {kind}, expected {wanted}" for name, kind in found.items() if kind != wanted)
    facts: dict[str, str | int | float] = {
        "nodes": len(nodes),
        "operators": ", ".join(f"{op} {count}" for op, count in Counter(node["op"] for node in nodes).most_common()),
        "convolutions": len(kernels),
        "weights_megabytes": round(sum(weight.size_bytes for weight in weights) / 1e6, 2),
        "shards": len(shards),
        "page": _page(artifact.path),
    }
    return Findings(facts, problems)


def _kept(weight: Weight, wanted: str) -> str:
    """The type in which a weight is stored; the one that is wanted where it is too small to be stored so."""
    exempt = wanted == "uint8" and weight.stored == "float32" and math.prod(weight.shape) < LEAST_ELEMENTS
    return wanted if exempt else weight.stored


def _page(folder: Path) -> str:
    if not (folder / INDEX).is_file():
        return "none"
    size = sum(path.stat().st_size for path in (folder / LIBRARY).iterdir())
    return f"with TensorFlow.js, {size / 1e6:.1f} MB, of which a browser loads core, converter and one backend"
