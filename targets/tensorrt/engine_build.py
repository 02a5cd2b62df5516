"""The portable graph to an engine, on the GPU that the engine is for."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseg.files import write_atomically
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact

from . import sdk
from .compile_check import add_profile
from .cuda import Device
from .engine_file import Built, write_engine
from .options import TensorRTOptions

TYPED = (10, 0)
"""From here on a graph's own types can decide (NetworkDefinitionCreationFlag.STRONGLY_TYPED)."""


def build_engine(artifact: Artifact, output_dir: Path) -> Artifact:
    """Write ``output_dir/stem.engine``.

    Args:
        artifact: the portable graph.
        output_dir: an existing folder.

    Raises:
        EnvironmentMissingError: there is no GPU or no TensorRT.
        StageError: the parser refuses the graph, or the builder fails.
        OutputError: it cannot be written.
    """
    module = sdk.import_tensorrt(f"building an engine of {artifact.path.name}")
    metadata = artifact.metadata
    options = TensorRTOptions.model_validate(metadata.options)
    started = time.perf_counter()
    device = Device(0)
    try:
        typed = is_typed(module, metadata.precision, options)
        graph = sdk.parsed(module, artifact.path.read_bytes(), typed=typed, outcome="compile_failed")
        config = graph.builder.create_builder_config()
        _configure(module, config, metadata.precision, options, typed=typed)
        add_profile(graph, config, options.profile(metadata.image_size, metadata.batch))
        kept = Path(options.timing_cache).expanduser() if options.timing_cache else None
        cache = _timing_cache(config, kept) if kept else None
        engine = sdk.built(module, graph, config, "compile_failed")
        if kept and cache is not None:
            write_atomically(kept, bytes(cache.serialize()))
        built = Built(
            tensorrt=module.__version__,
            gpu=device.gpu.name,
            compute_capability=device.gpu.compute_capability,
            version_compatible=options.version_compatible,
            float_type="fp32" if metadata.precision == "fp32" or (typed and metadata.precision == "int8") else "fp16",
            seconds=round(time.perf_counter() - started, 1),
        )
    finally:
        device.close()
    return _written(output_dir / f"{artifact.path.stem}.engine", metadata, built, engine)


def _written(path: Path, metadata: ArtifactMetadata, built: Built, engine: bytes) -> Artifact:
    finished = replace(metadata, tool_versions={**metadata.tool_versions, sdk.NAME: built.tensorrt})
    write_engine(path, finished, built, engine)
    return Artifact(path, finished)


def is_typed(module: Any, precision: str, options: TensorRTOptions) -> bool:
    """Whether the graph's own types decide, rather than flags of the builder.

    Flags went with TensorRT 11. Until then they let the float part of an int8 graph, and what a deep learning
    accelerator leaves over, compute in fp16; a graph's types would keep it in fp32.
    """
    if sdk.version_of(module.__version__) < TYPED:
        return False
    wants_flags = precision == "int8" or options.dla_core is not None
    return not (wants_flags and hasattr(module.BuilderFlag, "FP16"))


def _configure(module: Any, config: Any, precision: str, options: TensorRTOptions, *, typed: bool) -> None:
    flag = module.BuilderFlag
    if not typed:
        if precision in ("fp16", "int8"):
            config.set_flag(flag.FP16)
        if precision == "int8":
            config.set_flag(flag.INT8)
    # On by default: it drops 13 of 23 bits of every factor, which is not what fp32 asks for.
    if precision == "fp32" and not options.tf32:
        config.clear_flag(flag.TF32)
    if options.version_compatible:
        config.set_flag(flag.VERSION_COMPATIBLE)
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.dla_core is not None:
        config.default_device_type = module.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(flag.GPU_FALLBACK)


def _timing_cache(config: Any, path: Path) -> Any:
    """Give the builder the cache of an earlier build; a new one where there is none, or one of another GPU.

    Returns:
        The cache, which must live as long as the builder works and takes what it finds.
    """
    held = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(held)
    if held and not config.set_timing_cache(cache, False):
        held, cache = b"", config.create_timing_cache(b"")
    if not held:
        config.set_timing_cache(cache, False)
    return cache
