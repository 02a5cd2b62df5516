"""A frozen TensorFlow graph behind the runner contract, and what its file says about itself; also reads the peer's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError
from edgeseg.foreign import from_peer_keys, read_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Options
from edgeseg.tensors import INPUT_NAME, TensorSpec

from ..saved_model.runner import (
    PEER_FILE,
    TensorFlowRunner,
    as_contract,
    by_rank,
    first_line,
)
from ..saved_model.sdk import import_tensorflow, prepare
from .options import GraphDefRunOptions
from .record import read_record

NOT_OUTPUTS = ("Const", "NoOp", "Placeholder")


class GraphDefRunner(TensorFlowRunner):
    """One imported graph."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        options = GraphDefRunOptions.of(options)
        message = read_graph(artifact.path)
        tensorflow = import_tensorflow(f"running {artifact.path.name}")
        prepare(tensorflow, options.threads)
        graph = imported(message, artifact.path)
        given, found = ends_of(message)
        wanted = [spec.name for spec in artifact.metadata.outputs]
        if artifact.metadata.weights_sha256:
            if (given, sorted(found)) != ([INPUT_NAME], sorted(wanted)):
                raise ArtifactError(
                    f"{artifact.path}: takes {given} and gives {found}, expected {INPUT_NAME} and {wanted}",
                    hint="export it again",
                )
        else:
            wanted = [spec.name for spec in by_rank(_specs(graph, found))]
        feeds = [graph.graph.get_tensor_by_name(f"{name}:0") for name in given]
        fetches = [graph.graph.get_tensor_by_name(f"{name}:0") for name in wanted]
        super().__init__(artifact, graph.prune(feeds, fetches), tensorflow)


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the graph; for a foreign one what its tensors and the peer's `metadata.yaml` beside it tell."""
    metadata = read_record(_bytes(path), path)
    if metadata is not None:
        return metadata
    message = read_graph(path)
    graph = imported(message, path)
    inputs, outputs = (as_contract(_specs(graph, names)) for names in ends_of(message))
    return from_peer_keys(_peer_keys(path), inputs, by_rank(outputs), "graphdef", str(path))


def read_graph(path: Path) -> Any:
    """The file's GraphDef, a file of ours checked against its hash.

    Raises:
        ArtifactError: it is no whole graph, or not the one that was written there.
        EnvironmentMissingError: TensorFlow is not installed here.
    """
    data = _bytes(path)
    read_record(data, path)
    import_tensorflow(f"running {path.name}")
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import graph_pb2

    try:
        return graph_pb2.GraphDef.FromString(data)
    except DecodeError as error:
        raise ArtifactError(f"{path}: is not readable: {first_line(error)}", hint="export it again") from error


def imported(message: Any, path: Path) -> Any:
    """A graph, ready to be cut to a function.

    Raises:
        ArtifactError: TensorFlow refuses it.
    """
    tensorflow = import_tensorflow(f"running {path.name}")
    try:
        return tensorflow.compat.v1.wrap_function(lambda: tensorflow.import_graph_def(message, name=""), [])
    except (ValueError, TypeError, tensorflow.errors.OpError) as error:
        raise ArtifactError(
            f"{path}: TensorFlow cannot import it: {first_line(error)}", hint="export it again"
        ) from error


def ends_of(message: Any) -> tuple[list[str], list[str]]:
    """Names of the nodes that a graph takes, and of those that nothing in it reads."""
    read = {name.removeprefix("^").partition(":")[0] for node in message.node for name in node.input}
    given = [node.name for node in message.node if node.op == "Placeholder"]
    return given, [node.name for node in message.node if node.name not in read and node.op not in NOT_OUTPUTS]


def _specs(graph: Any, names: list[str]) -> tuple[TensorSpec, ...]:
    specs = []
    for name in names:
        tensor = graph.graph.get_tensor_by_name(f"{name}:0")
        sizes = tensor.shape.as_list() if tensor.shape.rank is not None else []
        shape = tuple(size if size is not None else f"axis{index}" for index, size in enumerate(sizes))
        specs.append(TensorSpec(name, shape, tensor.dtype.name))
    return tuple(specs)


def _peer_keys(path: Path) -> dict[str, Any]:
    """The peer writes them into the SavedModel that it makes the file from, which lies beside it."""
    for file in (path.with_name(f"{path.stem}_saved_model") / PEER_FILE, path.with_name(PEER_FILE)):
        if file.is_file():
            return read_peer_keys(file)
    return {}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: is not readable: {error.strerror}", hint="export it again") from error
