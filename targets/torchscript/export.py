"""The network to TorchScript by tracing."""

from __future__ import annotations

import json

import torch

from edgeseg.files import replacing
from edgeseg.foreign import peer_keys
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph, quiet_tracing
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest

from .options import TorchScriptOptions
from .runner import METADATA_FILE, PEER_FILE

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.torchscript``."""
    options = TorchScriptOptions.of(request.options)
    network, weights = load_network(request.weights)
    metadata = describe(
        request,
        weights,
        file_format="torchscript",
        head=options.outputs,
        tools=("torch",),
        dynamic=("batch", "size"),
    )
    graph = ExportGraph(network, options.outputs, DTYPES[request.precision]).eval()
    extra = {METADATA_FILE: metadata.to_json()}
    if options.outputs == "decoded":
        extra[PEER_FILE] = json.dumps(peer_keys(metadata))
    path = request.output_dir / f"{request.stem}.torchscript"
    with replacing(path) as temporary, quiet_tracing():
        module = torch.jit.trace(  # type: ignore[no-untyped-call]
            graph, torch.zeros(1, 3, *request.image_size), check_trace=False
        )
        if options.freeze:
            module = torch.jit.freeze(module)
        torch.jit.save(module, str(temporary), _extra_files=extra)
    return Artifact(path, metadata)
