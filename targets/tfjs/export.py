"""The network to a graph model: converted by the SavedModel target's code, simplified, written with its page."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgeseg.files import replacing_folder
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import RAW_OUTPUT_NAMES

from ..saved_model.convert import frozen_graph
from ..saved_model.sdk import import_tensorflow, installed_tensorflow
from .graph import CONSTANT, Graph, Node, constant, kernels, simplified, with_scaled_kernels
from .model_json import MODEL_FILE, STORED, write_model
from .modules import require_modules
from .options import TfjsOptions
from .static_page import write_page


def export(request: ExportRequest) -> Artifact:
    """Write the folder ``output_dir/stem``.

    Raises:
        EnvironmentMissingError: TensorFlow, or for the page its JavaScript, is not installed here.
        StageError: the network has an operator that cannot be converted.
        OutputError: the folder cannot be written.
    """
    options = TfjsOptions.of(request.options)
    if options.page:
        require_modules("the page needs TensorFlow.js beside it, or --option page=false leaves it out")
    network, weights = load_network(request.weights)
    metadata = describe(
        request, weights, file_format="tfjs", head="raw", tools=("torch", *installed_tensorflow()), dynamic=()
    )
    frozen = frozen_graph(ExportGraph(network, "raw").eval(), metadata)
    graph = simplified(_as_graph(frozen), RAW_OUTPUT_NAMES)
    small: Collection[str] = kernels(graph)
    if request.precision == "int8":
        graph, small = with_scaled_kernels(graph)
    stored = dict.fromkeys(small, STORED[request.precision])
    path = request.output_dir / request.stem
    with replacing_folder(path, MODEL_FILE) as folder:
        if options.page:
            write_page(folder)
        write_model(folder, graph, stored, metadata)
    return Artifact(path, metadata)


def _as_graph(frozen: Any) -> Graph:
    """A ``tensorflow.GraphDef`` in the form that the format keeps."""
    from google.protobuf.json_format import MessageToDict

    tensorflow = import_tensorflow("exporting a graph model")
    values = {
        node.name: tensorflow.make_ndarray(node.attr["value"].tensor) for node in frozen.node if node.op == CONSTANT
    }
    nodes = [
        # Without its value, which the shards hold.
        constant(node.name, values[node.name])
        if node.name in values
        else Node(node.name, node.op, tuple(node.input), MessageToDict(node).get("attr", {}))
        for node in frozen.node
    ]
    return Graph(tuple(nodes), values)
