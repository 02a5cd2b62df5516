"""What a target tells about the inside of an artifact: its operations, and any tensor between them.

`verify --bisect` and `verify --blame` read it. Core knows no names of operations: a target says in six words what
each of its own does (`Kind`).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from edgeseg.tensors import Array

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = Literal["convolution", "swish", "sigmoid", "multiply", "pass", "other"]
"""``convolution`` is also a transposed one. ``pass`` gives what it takes in another type or rounded to a grid (casts,
quantisation, the addition of a convolution's bias where the file has it apart)."""


@dataclass(frozen=True)
class Operation:
    """One operation of an artifact's graph.

    Attributes:
        kind: what it does.
        takes: names of the tensors that go in, the convolution's own input first; constants may be among them.
        gives: names of the tensors that come out.
        layer: of a convolution, the module path of the network that the file keeps for it, such as
            ``backbone.stem.conv``; empty where it keeps none.
    """

    kind: Kind
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    layer: str = ""


class Probe(abc.ABC):
    """An artifact whose inner tensors can be read. A context manager.

    Args:
        operations: in an order in which they can be executed; where it names no layers, the order of the convolutions
            is that of the network's own execution.
        execution: how it runs, for reports.
    """

    def __init__(self, operations: Sequence[Operation], execution: Mapping[str, str]) -> None:
        self.operations = tuple(operations)
        self.execution = execution

    @abc.abstractmethod
    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """Run once, with some inner tensors given out too.

        Args:
            images: the network's input, (B, 3, H, W) float32, of the artifact's batch and size.
            tensors: names among what the operations give.

        Returns:
            Each of them, (B, channels, height, width) float32, whatever the artifact holds inside; owned by the caller.
        """

    def close(self) -> None:  # noqa: B027 - most probes free everything with their last reference
        """Free what was taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
