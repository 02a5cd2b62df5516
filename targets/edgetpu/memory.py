"""What a network keeps in memory: its parameters, its largest tensor, and all that is alive at once."""

from __future__ import annotations

from dataclasses import dataclass

from .nodes import Graph, Tensor

ON_CHIP_BYTES = 8 << 20
"""Memory of the Edge TPU, "roughly 8 MB": https://coral.ai/docs/edgetpu/compiler/, parameter data caching."""

PROGRAM_BYTES = 1 << 20
"""What the compiled program takes of it. Users' logs of networks with 229 to 264 operations show 6.7 to 7.1 MiB for
parameters, used and left over: yolov7 pull request 1672 and ultralytics 4754 (YOLOv8n) 7.1, yolov5 pull request 3630
7.0, openvino2tensorflow issue 21 6.7. What was alive in these networks is within that, so this is rather too much."""

USABLE_BYTES = ON_CHIP_BYTES - PROGRAM_BYTES
"""Left for parameters and for what is alive."""


@dataclass(frozen=True)
class Memory:
    """Sizes in bytes.

    Attributes:
        parameters: of all constants that operations read.
        largest: the largest computed tensor.
        peak: most bytes of computed tensors that are alive at once: from the operation that writes one to the last one
            that reads it. No compiler's plan, which may fuse operations or work by tiles.
        peak_at: name of the operation during which that is.
    """

    parameters: int
    largest: Tensor
    peak: int
    peak_at: str


def memory_of(graph: Graph) -> Memory:
    """Sizes, in the order in which the operations stand in the file.

    Raises:
        ValueError: the file has no operations.
    """
    if not graph.nodes:
        raise ValueError("no operation in it")
    constants = {
        tensor.number: tensor.bytes
        for node in graph.nodes
        for tensor in node.inputs
        if tensor is not None and tensor.is_constant
    }
    last = {
        tensor.number: node.number
        for node in graph.nodes
        for tensor in (*node.outputs, *node.inputs)
        if tensor is not None and not tensor.is_constant
    }
    alive = {tensor.number: tensor.bytes for tensor in graph.inputs}
    largest = max((tensor for node in graph.nodes for tensor in node.outputs), key=lambda tensor: tensor.bytes)
    peak, peak_at = 0, ""
    for node in graph.nodes:
        alive |= {tensor.number: tensor.bytes for tensor in node.outputs}
        total = sum(alive.values())
        if total > peak:
            peak, peak_at = total, f"{node.kind} {node.number}"
        alive = {number: size for number, size in alive.items() if last.get(number, -1) > node.number}
    return Memory(sum(constants.values()), largest, peak, peak_at)
