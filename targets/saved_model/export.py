"""The network to a SavedModel: the frozen graph, and a signature that names its tensors."""

from __future__ import annotations

from typing import Any

import yaml

from edgeseg.files import replacing_folder
from edgeseg.folder_metadata import metadata_text
from edgeseg.foreign import typed_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import TensorSpec

from .convert import frozen_graph
from .options import SavedModelOptions
from .runner import EXTRA_FILE, MODEL_FILE, PEER_FILE, SIGNATURE, TO_LAST
from .sdk import import_tensorflow, installed_tensorflow

SCHEMA_VERSION = 1
"""Of the SavedModel message (saved_model.proto)."""

TAG, METHOD = "serve", "tensorflow/serving/predict"
"""By which loaders find the graph and the kind of its signature (tag_constants.py, signature_constants.py)."""


def export(request: ExportRequest) -> Artifact:
    """Write the folder ``output_dir/stem``.

    Raises:
        StageError: the network has an operator without a TensorFlow form.
        OutputError: it cannot be written whole.
    """
    graph, metadata = converted(request, "saved_model")
    path = request.output_dir / request.stem
    with replacing_folder(path, EXTRA_FILE) as folder:
        (folder / MODEL_FILE).write_bytes(_message(graph, metadata))
        (folder / EXTRA_FILE).parent.mkdir()
        (folder / EXTRA_FILE).write_bytes(metadata_text(metadata, folder, (MODEL_FILE,)).encode())
        if metadata.head == "decoded":
            text = yaml.safe_dump(typed_peer_keys(metadata), sort_keys=False, allow_unicode=True)
            (folder / PEER_FILE).write_bytes(text.encode())
    return Artifact(path, metadata)


def converted(request: ExportRequest, file_format: str) -> tuple[Any, ArtifactMetadata]:
    """The frozen graph that a request asks for, and its metadata."""
    options = SavedModelOptions.of(request.options)
    network, weights = load_network(request.weights)
    metadata = describe(
        request,
        weights,
        file_format=file_format,
        head=options.outputs,
        tools=("torch", *installed_tensorflow()),
        dynamic=("batch",) * options.dynamic_batch + ("size",) * options.dynamic_size,
        batch=options.batch,
    )
    return frozen_graph(ExportGraph(network, options.outputs).eval(), metadata), metadata


def _message(graph: Any, metadata: ArtifactMetadata) -> bytes:
    """The whole file.

    Written as the message itself: TensorFlow's own writer numbers functions by what the process did before, and adds
    a random identity, so that the same network would give another file each time.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel(saved_model_schema_version=SCHEMA_VERSION)
    meta = message.meta_graphs.add()
    meta.meta_info_def.tags.append(TAG)
    meta.meta_info_def.tensorflow_version = import_tensorflow("exporting saved_model").__version__
    meta.graph_def.CopyFrom(graph)
    signature = meta.signature_def[SIGNATURE]
    signature.method_name = METHOD
    for specs, tensors in ((metadata.inputs, signature.inputs), (metadata.outputs, signature.outputs)):
        for spec in specs:
            _declare(spec, tensors[spec.name])
    return bytes(message.SerializeToString(deterministic=True))


def _declare(spec: TensorSpec, info: Any) -> None:
    """Name, dtype and shape of a tensor of the graph; open axes are -1."""
    from tensorflow.core.framework import types_pb2

    info.name, info.dtype = f"{spec.name}:0", types_pb2.DT_FLOAT
    shape = [spec.shape[axis] for axis in TO_LAST] if len(spec.shape) == len(TO_LAST) else spec.shape
    for size in shape:
        info.tensor_shape.dim.add(size=size if isinstance(size, int) else -1)
