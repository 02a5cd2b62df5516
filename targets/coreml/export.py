"""The network to Core ML: traced by torch, converted by coremltools, compressed where asked, written as one folder."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import StageError, UsageError
from edgeseg.foreign import peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph, traced
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import INPUT_NAME

from .blobs import check_blobs
from .options import OLDEST, CoreMLOptions
from .package import MOST_PLAIN, WEIGHTS, WEIGHTS_FILE, Package
from .sdk import import_coremltools, quiet

CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"


def export(request: ExportRequest) -> Artifact:
    """Write the folder ``output_dir/stem.mlpackage``.

    Raises:
        UsageError: options that do not go together.
        StageError: coremltools fails.
        OutputError: it cannot be written.
    """
    options = CoreMLOptions.of(request.options)
    check_combination(request.precision, options)
    import_coremltools("exporting coreml")
    network, weights = load_network(request.weights)
    metadata = describe(
        request, weights, file_format="coreml", head=options.outputs, tools=("torch", "coremltools", "numpy")
    )
    path = request.output_dir / f"{request.stem}.mlpackage"
    graph = ExportGraph(network, options.outputs).eval()
    try:
        with quiet():
            package = _package_of(_compressed(_converted(graph, metadata, options), metadata, options), metadata)
            # Its temporary folders are in reference cycles, and complain when they go.
            gc.collect()
    except Exception as error:
        raise StageError(
            "export_failed",
            f"{path}: coremltools cannot make it: {error!r}",
            hint="`edgeseg doctor` names known traps; is there space in the folder for temporary files?",
        ) from error
    package.write(path)
    return Artifact(path, metadata)


def check_combination(precision: str, options: CoreMLOptions) -> None:
    """Refuse what one package cannot be.

    Raises:
        UsageError: palettes with another precision than fp16, or compressed weights for a system without them.
    """
    if options.palette_bits is not None and precision != "fp16":
        raise UsageError(
            f"palette_bits {options.palette_bits} with {precision}: palettes hold fp16 weights",
            hint="supported: palette_bits 4, 6 or 8 with fp16; no palette_bits with fp16, fp32 or int8",
        )
    wanted = options.minimum_deployment_target
    if wanted in OLDEST and (precision == "int8" or options.palette_bits is not None):
        raise UsageError(
            f"compressed weights with minimum_deployment_target {wanted}, which reads plain ones only",
            hint="supported: iOS16, iOS17, iOS18, macOS13, macOS14, macOS15; or plain fp16 or fp32",
        )


def _converted(graph: ExportGraph, metadata: ArtifactMetadata, options: CoreMLOptions) -> Any:
    import coremltools

    shape = (metadata.batch, 3, *metadata.image_size)
    trace = traced(graph, metadata.image_size, metadata.batch)
    if options.image_input:
        picture = coremltools.ImageType(
            INPUT_NAME,
            shape=shape,
            scale=metadata.preprocessing.scale,
            color_layout=coremltools.colorlayout.RGB,
        )
    else:
        picture = coremltools.TensorType(INPUT_NAME, shape=shape, dtype=np.float32)
    half = coremltools.transform.FP16ComputePrecision(op_selector=lambda operation: not _decodes(operation))
    return coremltools.convert(
        trace,
        inputs=[picture],
        outputs=[coremltools.TensorType(spec.name, dtype=np.float32) for spec in metadata.outputs],
        convert_to="mlprogram",
        minimum_deployment_target=getattr(coremltools.target, options.minimum_deployment_target),
        compute_precision=coremltools.precision.FLOAT32 if metadata.precision == "fp32" else half,
        skip_model_load=True,
    )


def _decodes(operation: Any) -> bool:
    """Whether an operation of the converter's program decodes boxes: those stay in float32.

    In half precision a box of 640 pixels has steps of half a pixel. All of decoding comes after a reshape or a
    sigmoid, and nothing else does: the network itself has neither.
    """
    waiting, seen = [operation], set()
    while waiting:
        current = waiting.pop()
        if current.op_type in ("reshape", "sigmoid"):
            return True
        for value in current.inputs.values():
            for var in value if isinstance(value, list | tuple) else (value,):
                if var.op is not None and var.op not in seen:
                    seen.add(var.op)
                    waiting.append(var.op)
    return False


def _compressed(model: Any, metadata: ArtifactMetadata, options: CoreMLOptions) -> Any:
    """Weights as 8-bit numbers with a scale for each output channel, or as indices into a palette for each tensor."""
    from coremltools.optimize import coreml as optimize

    if metadata.precision == "int8":
        compress: Any = optimize.linear_quantize_weights
        config = optimize.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=MOST_PLAIN
        )
    elif options.palette_bits is not None:
        compress = optimize.palettize_weights
        config = optimize.OpPalettizerConfig(mode="kmeans", nbits=options.palette_bits, weight_threshold=MOST_PLAIN)
    else:
        return model
    result = compress(model, optimize.OptimizationConfig(global_config=config))
    shutil.rmtree(model.package_path, ignore_errors=True)
    return result


def _package_of(model: Any, metadata: ArtifactMetadata) -> Package:
    """What goes into the folder; coremltools' own temporary one is removed."""
    spec = model.get_spec()
    keys = spec.description.metadata.userDefined
    # The date would give another file every day.
    keys.pop(CONVERSION_DATE, None)
    keys[METADATA_KEY] = metadata.to_json()
    spec.description.metadata.license = metadata.license
    if metadata.head == "decoded":
        keys.update(peer_keys(metadata))
    written = Path(model.package_path)
    weights = (written / "Data" / WEIGHTS / WEIGHTS_FILE).read_bytes()
    shutil.rmtree(written, ignore_errors=True)
    check_blobs(spec, weights)
    return Package(spec.SerializeToString(deterministic=True), weights)
