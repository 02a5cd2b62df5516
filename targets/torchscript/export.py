"""The network to TorchScript by tracing."""

from __future__ import annotations

import io
import json
from typing import Any

import torch

from edgeseg.files import write_atomically
from edgeseg.foreign import peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph, quiet_tracing
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import STRIDES

from .options import TorchScriptOptions
from .runner import METADATA_FILE, PEER_FILE

WRITTEN_BY_TORCH = ("version", ".data/serialization_id")
"""Records that torch's writer makes itself (caffe2/serialize/inline_container.cc)."""

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
        extra[PEER_FILE] = json.dumps(_typed_peer_keys(metadata))
    with quiet_tracing():
        module = torch.jit.trace(  # type: ignore[no-untyped-call]
            graph, torch.zeros(1, 3, *request.image_size), check_trace=False
        )
        if options.freeze:
            module = torch.jit.freeze(module)
        # Through memory: written to a path, a full disk aborts the interpreter (torch 2.13, the destructor of
        # PyTorchStreamWriter throws), and the path's name would go into the file.
        buffer = io.BytesIO()
        torch.jit.save(module, buffer, _extra_files=extra)
    path = request.output_dir / f"{request.stem}.torchscript"
    write_atomically(path, _without_debug_records(buffer))
    return Artifact(path, metadata)


def _without_debug_records(archive: io.BytesIO) -> bytes:
    """The archive less its source positions.

    They name the files and lines of everything that called the exporter, so that the same network gave another file
    on every machine, with that machine's paths in it.
    """
    archive.seek(0)
    reader, stripped = torch._C.PyTorchFileReader(archive), io.BytesIO()
    writer = torch._C.PyTorchFileWriter(stripped)
    for name in reader.get_all_records():
        # The writer adds its own version and identity.
        if not name.endswith(".debug_pkl") and name not in WRITTEN_BY_TORCH:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return stripped.getvalue()


def _typed_peer_keys(metadata: ArtifactMetadata) -> dict[str, Any]:
    """The peer's keys as it writes them into this format: JSON values, not the texts of an ONNX file."""
    return {
        **peer_keys(metadata),
        "stride": STRIDES[-1],
        "batch": metadata.batch,
        "imgsz": list(metadata.image_size),
        "names": dict(enumerate(metadata.names)),
        "channels": 3,
    }
