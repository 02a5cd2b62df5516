"""The network's layers inside an artifact: which of its tensors each layer gives, and which layers it reads.

A layer is a convolution, or the activation behind one. They are found by structure, and told apart by the module paths
that the file keeps, or where it keeps none by their order; either way every layer must read what the network's does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeseg.errors import UsageError
from edgeseg.probe import Operation

Consumers = Mapping[str, Sequence[Operation]]


@dataclass(frozen=True)
class Convolution:
    """A convolution of some graph, with the activation behind it.

    Attributes:
        path: module path of the network; empty where the graph keeps none.
        input: the tensor that it reads.
        output: the tensor that it gives, rounded as the next operation reads it.
        activated: the same of the activation behind it; empty where there is none.
        parents: indices of the convolutions that it reads from, without another one between.
    """

    path: str
    input: str
    output: str
    activated: str
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A layer of the network whose tensor an artifact shows.

    Attributes:
        path: module path, such as ``backbone.stage2.m.0.cv1.conv``, or ``.act`` for the activation behind it.
        tensor: the artifact's name for what the layer gives.
        input: the same for what it reads; empty for an activation.
        parents: paths of the layers that it reads.
        module: of the network, which gives the same: `path`, or the activation behind it.
    """

    path: str
    tensor: str
    input: str
    parents: tuple[str, ...]
    module: str


def convolutions_of(operations: Sequence[Operation]) -> list[Convolution]:
    """The convolutions that read the picture, in the graph's order."""
    consumers: dict[str, list[Operation]] = {}
    for operation in operations:
        for name in operation.takes:
            consumers.setdefault(name, []).append(operation)
    found: list[Convolution] = []
    sources: dict[str, frozenset[int]] = {}
    for operation in operations:
        reached = frozenset().union(*(sources.get(name, frozenset()) for name in operation.takes))
        if operation.kind == "convolution":
            output = _passed_on(operation.gives[0], consumers)
            activated = _activated(output, consumers)
            found.append(Convolution(operation.layer, operation.takes[0], output, activated, tuple(sorted(reached))))
            reached = frozenset((len(found) - 1,))
        sources.update(dict.fromkeys(operation.gives, reached))
    return found


def _passed_on(tensor: str, consumers: Consumers) -> str:
    """Behind all that only casts or rounds it."""
    while (readers := consumers.get(tensor)) and all(reader.kind == "pass" for reader in readers):
        tensor = readers[0].gives[0]
    return tensor


def _activated(tensor: str, consumers: Consumers) -> str:
    """What SiLU makes of it: one operation, or a sigmoid and a product; empty where it is not activated so."""
    readers = consumers.get(tensor, ())
    for reader in readers:
        if reader.kind == "swish":
            return _passed_on(reader.gives[0], consumers)
        if reader.kind == "sigmoid":
            gate = _passed_on(reader.gives[0], consumers)
            products = [other for other in readers if other.kind == "multiply" and gate in other.takes]
            if products:
                return _passed_on(products[0].gives[0], consumers)
    return ""


def matched(network: Sequence[Convolution], operations: Sequence[Operation], where: str) -> list[Layer]:
    """The layers of an artifact by the network's own names.

    Args:
        network: the reference's convolutions, with paths, in its order of execution.
        operations: the artifact's.
        where: the artifact, for errors.

    Returns:
        Layers in the network's order of execution.

    Raises:
        UsageError: the artifact's graph is not the network's.
    """
    found = convolutions_of(operations)
    order = _by_name(network, found) or list(range(len(found)))
    places = {old: new for new, old in enumerate(order)}
    found = [replace(found[i], parents=tuple(sorted(places.get(p, -1) for p in found[i].parents))) for i in order]
    # Behind the network's own there may be one that decodes boxes.
    problem = _difference(network, found)
    if problem:
        raise UsageError(
            f"{where}: its layers are not told apart: {problem}",
            hint="layers are found in what edgeseg exported from the weights named by --against",
        )
    layers = []
    for want, have in zip(network, found, strict=False):
        parents = tuple(_last(network[index]) for index in have.parents)
        layers.append(Layer(want.path, have.output, have.input, parents, want.path))
        if want.activated and have.activated:
            act = activation_of(want.path)
            layers.append(Layer(act, have.activated, "", (want.path,), act))
    return _existing(layers)


def with_activations(layers: Sequence[Layer]) -> list[Layer]:
    """Convolutions only, each compared behind its activation.

    What lies between the two is not equal in a quantised artifact: its range leaves out what SiLU makes nothing of.
    """
    behind = {layer.parents[0]: layer for layer in layers if not layer.input}
    names = {layer.path: path for path, layer in behind.items()}
    return [
        replace(
            layer,
            tensor=behind[layer.path].tensor if layer.path in behind else layer.tensor,
            module=behind[layer.path].path if layer.path in behind else layer.module,
            parents=tuple(names.get(path, path) for path in layer.parents),
        )
        for layer in layers
        if layer.input
    ]


def _by_name(network: Sequence[Convolution], found: Sequence[Convolution]) -> list[int]:
    """For each convolution of the network its place among those found; empty where the file keeps no names.

    Converters rename an operation that they merge with a cast: one without a name is told by what it reads.
    """
    names = [one.path for one in network]
    taken = {one.path: index for index, one in enumerate(found) if one.path in names}
    if not taken:
        return []
    paths = {index: path for path, index in taken.items()}
    for index, one in enumerate(found):
        reads = {paths.get(parent) for parent in one.parents}
        same = [n for n in network if n.path not in taken and {names[p] for p in n.parents} == reads]
        if index not in paths and len(same) == 1:
            paths[index], taken[same[0].path] = same[0].path, index
    return [taken[name] for name in names if name in taken]


def activation_of(path: str) -> str:
    """Path of the activation behind a convolution of a block."""
    return f"{path.rpartition('.')[0]}.act"


def _last(convolution: Convolution) -> str:
    return activation_of(convolution.path) if convolution.activated else convolution.path


def _existing(layers: list[Layer]) -> list[Layer]:
    """Where the artifact does not show an activation, what reads it reads the convolution before."""
    known = {layer.path for layer in layers}
    return [
        replace(
            layer,
            parents=tuple(path if path in known else f"{path.rpartition('.')[0]}.conv" for path in layer.parents),
        )
        for layer in layers
    ]


def _difference(network: Sequence[Convolution], found: Sequence[Convolution]) -> str:
    """How two graphs of convolutions differ, in words; empty where they do not."""
    if len(found) < len(network):
        return f"{len(found)} convolutions, the network has {len(network)}"
    for want, have in zip(network, found, strict=False):
        if have.parents != want.parents:
            reads, should = (
                ", ".join(network[i].path if i < len(network) else f"number {i}" for i in parents) or "the picture"
                for parents in (have.parents, want.parents)
            )
            return f"{want.path} reads {reads}, expected {should}"
    return ""
