"""The network to a frozen graph in one file."""

from __future__ import annotations

from edgeseg.files import write_atomically
from edgeseg.metadata import METADATA_KEY
from edgeseg.target import Artifact, ExportRequest

from ..saved_model.export import converted
from .record import record_text


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.pb``.

    Raises:
        StageError: the network has an operator without a TensorFlow form.
        OutputError: it cannot be written whole.
    """
    graph, metadata = converted(request, "graphdef")
    network = graph.SerializeToString(deterministic=True)
    path = request.output_dir / f"{request.stem}.pb"
    # Two messages behind each other are one message with the nodes of both (protobuf, "Last One Wins").
    write_atomically(path, network + _constant(record_text(metadata, network)))
    return Artifact(path, metadata)


def _constant(text: str) -> bytes:
    """A graph of one string constant."""
    from tensorflow.core.framework import graph_pb2, types_pb2

    graph = graph_pb2.GraphDef()
    node = graph.node.add(name=METADATA_KEY, op="Const")
    node.attr["dtype"].type = types_pb2.DT_STRING
    node.attr["value"].tensor.dtype = types_pb2.DT_STRING
    node.attr["value"].tensor.tensor_shape.SetInParent()
    node.attr["value"].tensor.string_val.append(text.encode())
    return bytes(graph.SerializeToString(deterministic=True))
