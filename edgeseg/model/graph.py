"""The module that exporters trace: the fused network with its boundary (precision, head layout) around it.

The network itself knows no exporter; what a file should speak at its edges is added here.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from edgeseg.metadata import Head
from edgeseg.model.network import SegmentationNetwork
from edgeseg.tensors import DECODED_OUTPUT_NAMES, LEVELS, RAW_OUTPUT_NAMES, REG_MAX

OUTPUT_NAMES: dict[Head, tuple[str, ...]] = {"raw": RAW_OUTPUT_NAMES, "decoded": DECODED_OUTPUT_NAMES}


class ExportGraph(nn.Module):
    """A network that takes and gives float32 and computes in `dtype`.

    Args:
        network: fused, in evaluation mode; it is converted in place.
        head: ``raw`` gives the ten logit tensors, ``decoded`` the peer's two.
        dtype: of weights and activations.
    """

    def __init__(self, network: SegmentationNetwork, head: Head, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype
        self.decode: nn.Module = DecodedOutputs() if head == "decoded" else nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) float32 RGB in 0..1 to float32 outputs."""
        outputs = self.network(images.to(self.dtype))
        # Decoding in half precision would round boxes to half a pixel at 640: it stays in float32.
        decoded: tuple[Tensor, ...] = self.decode(tuple(output.float() for output in outputs))
        return decoded


@contextlib.contextmanager
def quiet_tracing() -> Iterator[None]:
    """Without gradients, and without the remarks that tracing this graph is known to cause.

    Torch deprecates TorchScript and the exporter built on it, which devices still run; the tracer points at
    sizes that become constants, which is what a fixed size means.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", TracerWarning)
        yield


def traced(graph: ExportGraph, image_size: tuple[int, int], batch: int = 1) -> torch.jit.ScriptModule:
    """The graph as TorchScript, for converters that start from it.

    Args:
        graph: in evaluation mode.
        image_size: (height, width) in pixels.
        batch: pictures at once.
    """
    with quiet_tracing():
        module: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            graph, torch.zeros(batch, 3, *image_size), check_trace=False
        )
    return module


class DecodedOutputs(nn.Module):
    """The ten raw tensors to the peer's layout."""

    def forward(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Decode every point.

        Args:
            raw: the tensors of `RAW_OUTPUT_NAMES`.

        Returns:
            (B, 4 + nc + 32, N) of cx, cy, width, height in input pixels, class probabilities, coefficients;
            and the prototypes (B, 32, H/4, W/4).
        """
        levels = []
        for i, (_, stride) in enumerate(LEVELS):
            box, cls, coef = raw[3 * i : 3 * i + 3]
            levels.append(torch.cat([_boxes(box, stride), cls.flatten(2).sigmoid(), coef.flatten(2)], dim=1))
        return torch.cat(levels, dim=2), raw[-1]


def _boxes(box: Tensor, stride: int) -> Tensor:
    """(B, 64, h, w) logits to (B, 4, h * w) cxcywh in input pixels."""
    batch, _, rows, columns = box.shape
    bins = torch.arange(REG_MAX, dtype=box.dtype, device=box.device).view(1, 1, REG_MAX, 1)
    distances = (box.view(batch, 4, REG_MAX, rows * columns).softmax(dim=2) * bins).sum(dim=2)
    x = torch.arange(columns, dtype=box.dtype, device=box.device) + 0.5
    y = torch.arange(rows, dtype=box.dtype, device=box.device) + 0.5
    centres = torch.stack([x.repeat(rows), y.view(-1, 1).repeat(1, columns).flatten()])
    top_left, bottom_right = distances.chunk(2, dim=1)
    centre = centres + (bottom_right - top_left) / 2
    return torch.cat([centre, top_left + bottom_right], dim=1) * stride
