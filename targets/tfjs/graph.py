"""A TensorFlow graph as the format keeps it: nodes in JSON form, and the values of the constants apart from them.

Three rewrites, each to an operator that TensorFlow.js executes as one: nothing is computed here.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgeseg.errors import StageError
from edgeseg.tensors import Array

CONSTANT = "Const"
KERNEL_AXES: Mapping[str, int] = {"Conv2D": 3, "_FusedConv2D": 3, "Conv2DBackpropInput": 2}
"""Operators with a kernel as their second input, to its axis of output channels."""

LEAST_ELEMENTS = 2048
"""Smaller kernels stay as they are where others become uint8: they are a fiftieth of the weights, and the first
convolution, on which all depends, is one of them."""


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: unique in the graph.
        op: TensorFlow's name of the operator.
        inputs: names of nodes, with ``:1`` and so on for another output than the first.
        attrs: attributes as protobuf's JSON form of a NodeDef has them.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A graph without loops.

    Attributes:
        nodes: in any order.
        values: name of each constant to its value.
    """

    nodes: tuple[Node, ...]
    values: Mapping[str, Array]


def owner(reference: str) -> str:
    """The node that an input names."""
    return reference.removeprefix("^").partition(":")[0]


def constant(name: str, value: Array) -> Node:
    """The node of a constant, whose value lies elsewhere."""
    kind = _data_type(value, name)
    shape = {"dim": [{"size": str(size)} for size in value.shape]} if value.ndim else {}
    return Node(
        name, CONSTANT, (), {"dtype": {"type": kind}, "value": {"tensor": {"dtype": kind, "tensorShape": shape}}}
    )


def _data_type(value: Array, name: str) -> str:
    kinds = {"float32": "DT_FLOAT", "int32": "DT_INT32"}
    if value.dtype.name not in kinds:
        raise StageError("export_failed", f"constant {name} is {value.dtype}, expected one of {sorted(kinds)}")
    return kinds[value.dtype.name]


def simplified(graph: Graph, outputs: Sequence[str]) -> Graph:
    """The same function in fewer nodes, in the order of execution.

    Args:
        graph: with an Identity named as each output.
        outputs: their names, which stay.

    Raises:
        StageError: an output is not in the graph.
    """
    missing = set(outputs) - {node.name for node in graph.nodes}
    if missing:
        raise StageError("export_failed", f"the graph lacks {sorted(missing)}")
    for rewrite in (_without_identities, _with_explicit_padding, _with_fused_bias):
        graph = _pruned(rewrite(graph, outputs), outputs)
    return graph


def _without_identities(graph: Graph, outputs: Sequence[str]) -> Graph:
    """Each output's Identity gives its name to the node that it repeats."""
    by_name = {node.name: node for node in graph.nodes}
    names = {owner(by_name[name].inputs[0]): name for name in outputs if by_name[name].op == "Identity"}
    if len(names) != len(outputs):
        return graph
    nodes = tuple(_renamed(node, names) for node in graph.nodes if node.name not in outputs)
    return replace(graph, nodes=nodes)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    inputs = tuple(names.get(owner(name), name) for name in node.inputs)
    return replace(node, name=names.get(node.name, node.name), inputs=inputs)


def _with_explicit_padding(graph: Graph, outputs: Sequence[str]) -> Graph:
    """A Pad of zeros before a convolution becomes the convolution's own padding."""

    def merged(pad: Node, convolution: Node) -> Node | None:
        if convolution.op != "Conv2D" or _text(convolution, "padding") != "VALID":
            return None
        sides = [str(side) for side in graph.values[owner(pad.inputs[1])].ravel().tolist()]
        attrs = {**convolution.attrs, "padding": _bytes("EXPLICIT"), "explicit_paddings": {"list": {"i": sides}}}
        return replace(convolution, inputs=(pad.inputs[0], *convolution.inputs[1:]), attrs=attrs)

    return _merged_pairs(graph, "Pad", merged, outputs)


def _with_fused_bias(graph: Graph, outputs: Sequence[str]) -> Graph:
    """A convolution and the BiasAdd behind it become one _FusedConv2D."""

    def merged(convolution: Node, bias: Node) -> Node | None:
        if bias.op != "BiasAdd" or owner(bias.inputs[0]) != convolution.name:
            return None
        fused = {"fused_ops": {"list": {"s": [_bytes("BiasAdd")["s"]]}}, "num_args": {"i": "1"}}
        return Node(bias.name, "_FusedConv2D", (*convolution.inputs, bias.inputs[1]), {**convolution.attrs, **fused})

    return _merged_pairs(graph, "Conv2D", merged, outputs)


def _merged_pairs(graph: Graph, op: str, merge: Callable[[Node, Node], Node | None], outputs: Sequence[str]) -> Graph:
    """Replace pairs of an `op` and its only reader by what `merge` makes of them, where it makes something."""
    readers = Counter(owner(name) for node in graph.nodes for name in node.inputs)
    by_name = {node.name: node for node in graph.nodes}
    nodes: list[Node] = []
    for node in graph.nodes:
        first = by_name.get(owner(node.inputs[0])) if node.inputs else None
        alone = first is not None and first.op == op and readers[first.name] == 1 and first.name not in outputs
        nodes.append((merge(first, node) if alone and first is not None else None) or node)
    return replace(graph, nodes=tuple(nodes))


def _pruned(graph: Graph, outputs: Iterable[str]) -> Graph:
    """What the outputs need, each node after those that it reads."""
    by_name = {node.name: node for node in graph.nodes}
    order: dict[str, Node] = {}
    # Depth first without recursion: the network is deeper than Python's stack likes.
    waiting = [(name, False) for name in reversed(list(outputs))]
    while waiting:
        name, read = waiting.pop()
        if name in order:
            continue
        if read:
            order[name] = by_name[name]
            continue
        waiting.append((name, True))
        waiting += [(owner(given), False) for given in reversed(by_name[name].inputs)]
    values = {name: value for name, value in graph.values.items() if name in order}
    return Graph(tuple(order.values()), values)


def kernels(graph: Graph) -> dict[str, int]:
    """Name of each constant kernel to its axis of output channels."""
    found = {}
    for node in graph.nodes:
        if node.op in KERNEL_AXES and owner(node.inputs[1]) in graph.values:
            found[owner(node.inputs[1])] = KERNEL_AXES[node.op]
    return found


def with_scaled_kernels(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Each kernel of `LEAST_ELEMENTS` becomes the product of one in -1..1 and a factor for each output channel.

    The format keeps one range for a whole tensor. Kernels of one layer differ from channel to channel by a factor of
    ten and more, and would lose their small channels in it.

    Returns:
        The graph, and the names of the kernels in -1..1.
    """
    axes = {name: axis for name, axis in kernels(graph).items() if graph.values[name].size >= LEAST_ELEMENTS}
    values, products = dict(graph.values), {}
    for name, axis in axes.items():
        kernel = graph.values[name]
        others = tuple(other for other in range(kernel.ndim) if other != axis)
        factors = np.abs(kernel).max(axis=others, keepdims=True)
        factors[factors == 0] = 1
        values[name] = (kernel / factors).astype(np.float32)
        values[f"{name}/factors"] = factors.reshape(factors.shape[axis:]).astype(np.float32)
        products[name] = Node(f"{name}/scaled", "Mul", (name, f"{name}/factors"), {"T": {"type": "DT_FLOAT"}})
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(products[name].name if name in products else name for name in node.inputs)
        nodes.append(replace(node, inputs=inputs))
        if node.name in products:
            nodes += [constant(f"{node.name}/factors", values[f"{node.name}/factors"]), products[node.name]]
    return Graph(tuple(nodes), values), tuple(axes)


def _bytes(text: str) -> dict[str, str]:
    """A string attribute: protobuf's JSON form keeps bytes in base64."""
    return {"s": base64.b64encode(text.encode()).decode()}


def _text(node: Node, attr: str) -> str:
    return base64.b64decode(node.attrs[attr]["s"]).decode()
