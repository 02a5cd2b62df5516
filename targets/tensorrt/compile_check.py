"""A portable graph through TensorRT's own parser and builder where there is no GPU, by TensorRT for RTX.

What it builds is for RTX GPUs and thrown away: the point is that the parser reads the graph and the builder finds
something for every layer, before a board is asked. A Jetson's own TensorRT may still differ.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edgeseg.environment import installed_version
from edgeseg.errors import StageError

from .options import TensorRTOptions
from .sdk import RTX, Parsed, built, parsed

CAPABILITY = "SM86"
"""An Ampere GPU, as near to the Orin's 8.7 as it can build for."""

Facts = dict[str, str | int | float]


def compile_check(path: Path, options: TensorRTOptions, shape: tuple[tuple[int, int], int]) -> tuple[Facts, list[str]]:
    """Facts, and what the parser or the builder says against the graph.

    Args:
        path: the ONNX file.
        options: of the export.
        shape: (height, width) in pixels and the batch that were exported.
    """
    if not installed_version(RTX):
        return {"compile check": f"not made: {RTX} is not installed here (pip install 'edgeseg[tensorrt]')"}, []
    try:
        module = importlib.import_module(RTX)
    except (ImportError, OSError) as error:
        return {"compile check": f"not made: {RTX} does not load here: {error}"}, []
    try:
        return _checked(module, path, options, shape), []
    except StageError as error:
        return {"compile check": f"failed, by TensorRT for RTX {module.__version__}"}, [error.message]


def _checked(module: Any, path: Path, options: TensorRTOptions, shape: tuple[tuple[int, int], int]) -> Facts:
    graph = parsed(module, path.read_bytes(), typed=True, outcome="inspect_failed")
    config = graph.builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(module.ComputeCapability, CAPABILITY), 0)
    add_profile(graph, config, options.profile(*shape))
    engine = built(module, graph, config, "inspect_failed")
    return {
        "compile check": f"parsed and built ahead of time by TensorRT for RTX {module.__version__} for {CAPABILITY}",
        "compile check, layers": int(graph.network.num_layers),
        "compile check, engine megabytes": round(len(engine) / 1e6, 2),
    }


def add_profile(graph: Parsed, config: Any, shapes: tuple[tuple[int, int, int, int], ...]) -> None:
    """Say between which input shapes an engine must run; a fixed graph needs none."""
    least, _, most = shapes
    if least == most:
        return
    profile = graph.builder.create_optimization_profile()
    profile.set_shape(graph.network.get_input(0).name, *shapes)
    config.add_optimization_profile(profile)
