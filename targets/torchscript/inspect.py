"""Static findings about a TorchScript file."""

from __future__ import annotations

import warnings
from collections import Counter

import torch

from edgeseg.target import Artifact, Findings

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def inspect(artifact: Artifact) -> Findings:
    """Operator counts, and whether convolutions' weights have the precision asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(  # type: ignore[no-untyped-call]
            str(artifact.path), map_location="cpu"
        )
        graph = module.inlined_graph
    nodes = Counter(node.kind() for node in graph.nodes())
    wanted = DTYPES[artifact.metadata.precision]
    constants = [node.t("value") for node in graph.findAllNodes("prim::Constant") if _is_tensor(node)]
    # The bins of a decoded head are (1, 1, 16, 1) and stay float32; every kernel has several output channels.
    kernels = [t for t in (*constants, *module.parameters()) if t.dim() == 4 and t.shape[0] > 1]
    wrong = sum(tensor.dtype != wanted for tensor in kernels)
    problems = [f"{wrong} of {len(kernels)} kernels are not {wanted}"] if wrong else []
    facts: dict[str, str | int | float] = {
        "nodes": sum(nodes.values()),
        "operators": ", ".join(f"{op} {count}" for op, count in nodes.most_common(12)),
        "kernels": len(kernels),
        "megabytes": round(artifact.path.stat().st_size / 1e6, 2),
    }
    return Findings(facts, tuple(problems))


def _is_tensor(node: torch._C.Node) -> bool:
    return node.hasAttribute("value") and node.kindOf("value") == "t"
