"""The network to TorchScript by tracing."""

from __future__ import annotations

import json
import warnings

import torch

from edgeseg.files import replacing, sha256_of
from edgeseg.foreign import peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.graph import ExportGraph
from edgeseg.model.reference import load_network
from edgeseg.model.weights import Weights
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import decoded_output_specs, input_spec, raw_output_specs

from .options import TorchScriptOptions
from .runner import METADATA_FILE, PEER_FILE

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.torchscript``."""
    options = request.options
    if not isinstance(options, TorchScriptOptions):
        raise TypeError(f"options of type {type(options).__name__}, expected TorchScriptOptions")
    network, weights = load_network(request.weights)
    metadata = _metadata(request, options, weights)
    graph = ExportGraph(network, options.outputs, DTYPES[request.precision]).eval()
    extra = {METADATA_FILE: metadata.to_json()}
    if options.outputs == "decoded":
        extra[PEER_FILE] = json.dumps(peer_keys(metadata))
    path = request.output_dir / f"{request.stem}.torchscript"
    with replacing(path) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        module = torch.jit.trace(graph, torch.zeros(1, 3, *request.image_size), check_trace=False)
        if options.freeze:
            module = torch.jit.freeze(module)
        torch.jit.save(module, str(temporary), _extra_files=extra)
    return Artifact(path, metadata)


def _metadata(request: ExportRequest, options: TorchScriptOptions, weights: Weights) -> ArtifactMetadata:
    specs = raw_output_specs if options.outputs == "raw" else decoded_output_specs
    size = ("height", "width")
    return ArtifactMetadata(
        format="torchscript",
        precision=request.precision,
        head=options.outputs,
        names=weights.metadata.names,
        image_size=request.image_size,
        dynamic=("batch", "size"),
        inputs=(input_spec(size, "batch"),),
        outputs=specs(weights.config.num_classes, size, "batch"),
        name=request.stem,
        scale=weights.metadata.scale,
        license=weights.metadata.license,
        weights_sha256=sha256_of(request.weights),
        card_sha256=request.card_sha256,
        options=options.model_dump(),
        tool_versions={"torch": torch.__version__},
    )
