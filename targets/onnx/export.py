"""The network to ONNX: traced by torch's graph exporter, simplified, checked, written atomically."""

from __future__ import annotations

from typing import Any

import onnx
import torch

from edgeseg.data.calibration import require_pictures
from edgeseg.errors import StageError
from edgeseg.files import replacing
from edgeseg.foreign import peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import OUTPUT_NAMES, ExportGraph, quiet_tracing
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import INPUT_NAME

from .options import OnnxOptions
from .quantise import quantised

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.float32}
"""What is traced; int8 is made from the float32 graph."""

TOOLS = ("torch", "onnx", "onnxsim", "onnxslim")
QUANTISER = "onnxruntime"


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.onnx``.

    Raises:
        StageError: the simplifier's result is not equal or not valid.
        UsageError: an option of int8 with another precision; int8 with too few calibration pictures.
    """
    options = OnnxOptions.of(request.options)
    options.require_fitting(request.precision)
    is_int8 = request.precision == "int8"
    if is_int8:
        require_pictures(request.calibration, "onnx int8")
    network, weights = load_network(request.weights)
    metadata = describe(
        request,
        weights,
        file_format="onnx",
        head=options.outputs,
        tools=(*TOOLS, QUANTISER) if is_int8 else TOOLS,
        dynamic=("batch",) * options.dynamic_batch + ("size",) * options.dynamic_size,
        batch=options.batch,
    )
    path = request.output_dir / f"{request.stem}.onnx"
    graph = ExportGraph(network, options.outputs, DTYPES[request.precision]).eval()
    with replacing(path) as temporary:
        _trace(graph, str(temporary), metadata, options)
        model = _simplified(onnx.load(temporary), options.simplify)
        if is_int8:
            model = quantised(model, request.calibration, request.image_size, options)
        _declare_outputs(model, metadata)
        keys = {METADATA_KEY: metadata.to_json()}
        if options.outputs == "decoded":
            keys |= peer_keys(metadata)
        onnx.helper.set_model_props(model, keys)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)
    return Artifact(path, metadata)


def _declare_outputs(model: Any, metadata: ArtifactMetadata) -> None:
    """Write the contract's shapes: where one axis is open, the exporter leaves others without a number too."""
    shapes = {spec.name: spec.shape for spec in metadata.outputs}
    for output in model.graph.output:
        for axis, size in zip(output.type.tensor_type.shape.dim, shapes[output.name], strict=True):
            if isinstance(size, int):
                axis.dim_value = size
            else:
                axis.dim_param = _axis_name(size)


def _axis_name(size: str) -> str:
    return size.replace("/", "_")


def _trace(graph: ExportGraph, path: str, metadata: ArtifactMetadata, options: OnnxOptions) -> None:
    names = OUTPUT_NAMES[metadata.head]
    axes: dict[str, dict[int, str]] = {}
    for spec in (*metadata.inputs, *metadata.outputs):
        open_axes = {i: _axis_name(name) for i, name in enumerate(spec.shape) if isinstance(name, str)}
        if open_axes:
            axes[spec.name] = open_axes
    example = torch.zeros(metadata.batch, 3, *metadata.image_size)
    # The newer exporter of torch writes invalid files below opset 18; this one is proven from 13 to 20.
    with quiet_tracing():
        torch.onnx.export(
            graph,
            (example,),
            path,
            input_names=[INPUT_NAME],
            output_names=list(names),
            opset_version=options.opset,
            dynamic_axes=axes,
            dynamo=False,
        )


def _simplified(model: Any, simplifier: str) -> Any:
    if simplifier == "onnxslim":
        import onnxslim

        return onnxslim.slim(model)
    if simplifier == "onnxsim":
        import onnxsim

        result, equal = onnxsim.simplify(model)
        if not equal:
            raise StageError(
                "export_failed",
                "onnxsim's graph does not equal the one it was given",
                hint="set options.simplify to onnxslim or off",
            )
        return result
    return model
