"""The network to ONNX: traced by torch's graph exporter, simplified, checked, written atomically."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import onnx
import torch

from edgeseg.errors import StageError
from edgeseg.files import replacing, sha256_of
from edgeseg.foreign import peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.model.graph import OUTPUT_NAMES, ExportGraph
from edgeseg.model.reference import load_network
from edgeseg.model.weights import Weights
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import INPUT_NAME, Dimension, decoded_output_specs, input_spec, raw_output_specs

from .options import OnnxOptions

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
TOOLS = ("torch", "onnx", "onnxsim", "onnxslim")


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.onnx``.

    Raises:
        StageError: the simplifier's result is not equal or not valid.
    """
    options = request.options
    if not isinstance(options, OnnxOptions):
        raise TypeError(f"options of type {type(options).__name__}, expected OnnxOptions")
    network, weights = load_network(request.weights)
    metadata = _metadata(request, options, weights)
    path = request.output_dir / f"{request.stem}.onnx"
    graph = ExportGraph(network, options.outputs, DTYPES[request.precision]).eval()
    with replacing(path) as temporary:
        _trace(graph, str(temporary), metadata, options)
        model = _simplified(onnx.load(temporary), options.simplify)
        keys = {METADATA_KEY: metadata.to_json()}
        if options.outputs == "decoded":
            keys |= peer_keys(metadata)
        onnx.helper.set_model_props(model, keys)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)
    return Artifact(path, metadata)


def _trace(graph: ExportGraph, path: str, metadata: ArtifactMetadata, options: OnnxOptions) -> None:
    names = OUTPUT_NAMES[metadata.head]
    axes: dict[str, dict[int, str]] = {}
    for spec in (*metadata.inputs, *metadata.outputs):
        open_axes = {i: name.replace("/", "_") for i, name in enumerate(spec.shape) if isinstance(name, str)}
        if open_axes:
            axes[spec.name] = open_axes
    example = torch.zeros(metadata.batch, 3, *metadata.image_size)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter is on torch's list of things to retire, but the newer one writes invalid
        # files below opset 18; the tracer's remarks on sizes that become constants are meant so here.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
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


def _metadata(request: ExportRequest, options: OnnxOptions, weights: Weights) -> ArtifactMetadata:
    batch: Dimension = "batch" if options.dynamic_batch else options.batch
    size: tuple[Dimension, Dimension] = ("height", "width") if options.dynamic_size else request.image_size
    specs = raw_output_specs if options.outputs == "raw" else decoded_output_specs
    dynamic = ("batch",) * options.dynamic_batch + ("size",) * options.dynamic_size
    return ArtifactMetadata(
        format="onnx",
        precision=request.precision,
        head=options.outputs,
        names=weights.metadata.names,
        image_size=request.image_size,
        dynamic=dynamic,
        batch=options.batch,
        inputs=(input_spec(size, batch),),
        outputs=specs(weights.config.num_classes, size, batch),
        name=request.stem,
        scale=weights.metadata.scale,
        license=weights.metadata.license,
        weights_sha256=sha256_of(request.weights),
        card_sha256=request.card_sha256,
        options=options.model_dump(),
        tool_versions={name: version(name) for name in TOOLS},
    )
