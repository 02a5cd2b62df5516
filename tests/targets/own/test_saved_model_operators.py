"""Every operator of the converter's table against torch, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import torch
from edgeseg_targets.saved_model.convert import graph_of
from edgeseg_targets.saved_model.operators import OPERATORS
from torch import Tensor, nn

from edgeseg.errors import StageError
from edgeseg.model.graph import quiet_tracing
from edgeseg.tensors import Array

SHAPE = (2, 8, 12, 20)
"""(B, C, H, W), all different, so that an axis taken for another is found out."""

TRACED = (1, 8, 6, 10)
"""What is traced where sizes stay open: others than those of the run."""

TOLERANCE = 1e-5


class Forward(nn.Module):
    """A module that computes a function."""

    def __init__(self, function: Callable[[Tensor], Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return self.function(x)


def _plain(x: Tensor) -> Tensor:
    """Another order of axes than the picture's, as decoding makes it."""
    return x.view(x.shape[0], 2, 4, x.shape[2] * x.shape[3])


MODULES: dict[str, nn.Module] = {
    "conv 1x1": nn.Conv2d(8, 5, 1),
    "conv 3x3": nn.Conv2d(8, 5, 3, padding=1),
    "conv 3x3 without padding": nn.Conv2d(8, 5, 3),
    "conv 3x3 stride 2": nn.Conv2d(8, 5, 3, stride=2, padding=1),
    "conv 2x2 padded": nn.Conv2d(8, 5, 2, padding=1),
    "conv 3x5 strides 2 and 1": nn.Conv2d(8, 5, (3, 5), stride=(2, 1), padding=(1, 2)),
    "conv without bias": nn.Conv2d(8, 5, 3, padding=1, bias=False),
    "transposed conv": nn.ConvTranspose2d(8, 5, 2, stride=2),
    "max pool 5x5": nn.MaxPool2d(5, stride=1, padding=2),
    "silu": nn.SiLU(),
    "sigmoid": nn.Sigmoid(),
    "upsample": nn.Upsample(scale_factor=2, mode="nearest"),
    "upsample thrice": nn.Upsample(scale_factor=3, mode="nearest"),
    "cat": Forward(lambda x: torch.cat([x, x.sigmoid()], 1)),
    "cat of rows": Forward(lambda x: torch.cat([x, x.sigmoid()], -2)),
    "chunk": Forward(lambda x: x.chunk(2, 1)[1]),
    "add": Forward(lambda x: x + x.sigmoid()),
    "add of a picture's row": Forward(lambda x: x + torch.arange(x.shape[3], dtype=x.dtype)),
    "mul by channels": Forward(lambda x: x * torch.arange(8.0).view(8, 1, 1)),
    "view": Forward(_plain),
    "flatten": Forward(lambda x: x.flatten(2)),
    "flatten from the front": Forward(lambda x: x.flatten(0, 1)),
    "softmax": Forward(lambda x: _plain(x).softmax(2)),
    "softmax of channels": Forward(lambda x: x.softmax(1).flatten(2)),
    "sum": Forward(lambda x: _plain(x).sum(2)),
    "sum of a channel": Forward(lambda x: x.sum(1, keepdim=True).flatten(2)),
    "chunk of another order": Forward(lambda x: _plain(x).chunk(2, 1)[1]),
    "cat of another order": Forward(lambda x: torch.cat([x.flatten(2), x.sigmoid().flatten(2)], 1)),
    "stack": Forward(lambda x: torch.stack([x.flatten(2), x.sigmoid().flatten(2)])),
    "sub and div": Forward(lambda x: (x.flatten(2) - x.sigmoid().flatten(2)) / 2),
    "picture and plain": Forward(lambda x: (x * torch.arange(8.0).view(1, 8, 1, 1)).flatten(2)),
    "arange": Forward(lambda x: torch.arange(x.shape[3], dtype=x.dtype) + 0.5 + x.flatten(3)),
    "repeat": Forward(lambda x: torch.arange(x.shape[3], dtype=x.dtype).repeat(x.shape[2]) + x.flatten(2)),
    "repeat of rows": Forward(
        lambda x: torch.arange(x.shape[2], dtype=x.dtype).view(-1, 1).repeat(1, x.shape[3]).flatten() + x.flatten(2)
    ),
}

REFUSED: dict[str, tuple[nn.Module, str]] = {
    "an operator": (nn.GELU(), "aten::gelu"),
    "groups": (nn.Conv2d(8, 8, 3, groups=8), "groups 8"),
    "dilation": (nn.Conv2d(8, 8, 3, dilation=2), r"dilation \[2, 2\]"),
    "overlapping transposed conv": (nn.ConvTranspose2d(8, 8, 3, stride=2), "transposed convolution"),
    "padded transposed conv": (nn.ConvTranspose2d(8, 8, 2, stride=2, padding=1), "transposed convolution"),
    "max pool with a stride": (nn.MaxPool2d(2), "aten::max_pool2d"),
    "max pool that rounds up": (nn.MaxPool2d(5, 1, 2, ceil_mode=True), "aten::max_pool2d"),
    "max pool with holes": (nn.MaxPool2d(5, 1, 2, dilation=2), "aten::max_pool2d"),
    "upsample to a size": (nn.Upsample(size=(24, 40)), "aten::upsample_nearest2d"),
    "upsample by a fraction": (nn.Upsample(scale_factor=1.5), "aten::upsample_nearest2d"),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), "aten::upsample_bilinear2d"),
    "uneven chunks": (Forward(lambda x: x.chunk(3, 1)[0]), "3 parts of 8"),
    "another factor": (Forward(lambda x: torch.add(x, x, alpha=2)), "alpha 2"),
    "another dtype": (Forward(lambda x: x.to(torch.float16)), "expected float32"),
    "sum over rows": (Forward(lambda x: x.sum(2)), "aten::sum"),
    "repeat that adds axes": (Forward(lambda x: x.flatten(2).repeat(2, 1, 1, 1)), "aten::repeat"),
    "conv on another order": (
        Forward(torch.sigmoid, Forward(_plain), nn.Conv2d(2, 2, 1)),
        "order of axes",
    ),
}


@pytest.mark.parametrize("is_open", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize("name", MODULES)
def test_operator_equals_torch(name: str, is_open: bool) -> None:
    found, wanted = _both(MODULES[name], is_open)
    if wanted.ndim == 4:
        found = found.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_every_operator_of_the_table_is_tested() -> None:
    used = {node.kind() for module in MODULES.values() for node in _frozen(module).graph.nodes()}
    # A conversion to float32 is in the traced network alone, which the conformance suite runs.
    assert set(OPERATORS) - used <= {"aten::to", "prim::TupleConstruct"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str) -> None:
    module, message = REFUSED[name]
    with pytest.raises(StageError, match=message) as caught:
        graph_of(_traced(module), SHAPE, ("out",))
    assert caught.value.outcome == "export_failed"


def _traced(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> torch.jit.ScriptModule:
    with quiet_tracing():
        trace: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            module.eval(), torch.zeros(shape), check_trace=False
        )
    return trace


def _frozen(module: nn.Module) -> torch.jit.ScriptModule:
    with quiet_tracing():
        frozen: torch.jit.ScriptModule = torch.jit.freeze(_traced(module))
    return frozen


def _both(module: nn.Module, is_open: bool) -> tuple[Array, Array]:
    """What TensorFlow gives and what torch gives."""
    if is_open:
        graph = graph_of(_traced(module, TRACED), ("batch", SHAPE[1], "height", "width"), ("out",))
    else:
        graph = graph_of(_traced(module), SHAPE, ("out",))
    given = torch.from_numpy(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    with tf.compat.v1.Session(graph=imported) as session, torch.no_grad():
        found: Array = session.run("out:0", {"images:0": given.numpy().transpose(0, 2, 3, 1)})
        return found, module(given).numpy()
