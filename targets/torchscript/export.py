"""The network to TorchScript by tracing."""

from __future__ import annotations

import io
import json

import torch

from edgeseg.files import write_atomically
from edgeseg.foreign import typed_peer_keys
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph, quiet_tracing, traced
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest

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
        extra[PEER_FILE] = json.dumps(typed_peer_keys(metadata))
    module = traced(graph, request.image_size)
    with quiet_tracing():
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
