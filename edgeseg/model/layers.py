"""The reference's own layers: the graph of its convolutions, and what any of them gives for a picture."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from edgeseg.layers import Convolution, convolutions_of
from edgeseg.model.graph import ExportGraph, traced
from edgeseg.model.network import SegmentationNetwork
from edgeseg.probe import Kind, Operation
from edgeseg.tensors import Array

TRACED_SIZE = (64, 64)
"""Structure does not depend on the size; two cells at the coarsest level are quick to trace."""

KINDS: Mapping[str, Kind] = {
    "aten::_convolution": "convolution",
    "aten::silu": "swish",
    "aten::sigmoid": "sigmoid",
    "aten::mul": "multiply",
    "aten::to": "pass",
}
"""TorchScript's operations."""

INPUT = ":input"
"""Behind a path: what the layer reads, in place of what it gives."""


class NetworkLayers:
    """A network whose inner tensors can be read.

    Args:
        network: fused, in evaluation mode.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        self._network = network
        found = convolutions_of(operations_of(traced(ExportGraph(network, "raw").eval(), TRACED_SIZE).inlined_graph))
        self.convolutions: list[Convolution] = [
            replace(one, path=path) for one, path in zip(found, self._executed(), strict=True)
        ]
        self._modules = dict(network.named_modules())

    def _executed(self) -> list[str]:
        """Paths of the convolutions in the order in which they run."""
        paths: list[str] = []
        convolutions = [
            (name, module)
            for name, module in self._network.named_modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        ]
        hooks = [
            module.register_forward_hook(lambda *_, name=name: paths.append(name)) for name, module in convolutions
        ]
        try:
            with torch.inference_mode():
                self._network(torch.zeros(1, 3, *TRACED_SIZE))
        finally:
            for hook in hooks:
                hook.remove()
        return paths

    def outputs(self, images: Array, wanted: Collection[str]) -> dict[str, Array]:
        """Run once.

        Args:
            images: (B, 3, H, W) float32, RGB in 0..1.
            wanted: paths of layers; with `INPUT` behind, what a layer reads.

        Returns:
            Each of them, (B, channels, height, width) float32.
        """
        values: dict[str, Array] = {}
        hooks = [self._modules[name.removesuffix(INPUT)].register_forward_hook(_keep(name, values)) for name in wanted]
        try:
            with torch.inference_mode():
                self._network(torch.from_numpy(images))
        finally:
            for hook in hooks:
                hook.remove()
        return values

    def made(self, given: Array, layers: Iterable[str]) -> Array:
        """What layers, one behind the other, make of a tensor.

        Args:
            given: (B, channels, height, width) float32.
            layers: paths, such as of a convolution and of the activation behind it.
        """
        with torch.inference_mode():
            tensor = torch.tensor(given)
            for path in layers:
                tensor = self._modules[path](tensor)
        return tensor.numpy()


def operations_of(graph: Any) -> list[Operation]:
    """The operations of a TorchScript graph without calls, `inlined_graph` or a frozen one."""
    flat = graph.copy()
    # Each level of the pyramid its own: packed in a tuple, every reader would read all three.
    torch._C._jit_pass_lower_all_tuples(flat)
    return [
        Operation(
            KINDS.get(node.kind(), "other"),
            tuple(value.debugName() for value in node.inputs()),
            tuple(value.debugName() for value in node.outputs()),
        )
        for node in flat.nodes()
    ]


def _keep(name: str, values: dict[str, Array]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        # A copy: what follows may write into it.
        values[name] = (given[0] if name.endswith(INPUT) else output).cpu().numpy().copy()

    return hook
