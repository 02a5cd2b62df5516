"""The network as it is run and exported: normalisation folded into convolutions, and no slice behind one."""

from __future__ import annotations

import copy

import torch
from torch import nn

from edgeseg.model.blocks import C2f, ConvBlock, Halves
from edgeseg.model.network import SegmentationNetwork


def fused(network: SegmentationNetwork, *, halves: bool = True) -> SegmentationNetwork:
    """A copy in evaluation mode whose convolutions carry their normalisation; outputs agree to about 1e-5.

    Args:
        network: stays as it is.
        halves: whether the first convolution of each `C2f` becomes two, ``cv1.first`` and ``cv1.second``, which
            gives the same numbers; else its output is sliced.
    """
    result = copy.deepcopy(network)
    for module in result.modules():
        if isinstance(module, ConvBlock) and isinstance(module.bn, nn.BatchNorm2d):
            module.conv = _fold(module.conv, module.bn)
            module.bn = nn.Identity()
    for module in list(result.modules()):
        if halves and isinstance(module, C2f) and isinstance(module.cv1, ConvBlock):
            module.cv1 = Halves(*(_half(module.cv1, index) for index in (0, 1)))
    return result.eval()


@torch.no_grad()
def _fold(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    # y = gamma * (W x - mean) / sqrt(var + eps) + beta, in float64 so that the fold itself costs nothing.
    mean, var = bn.running_mean, bn.running_var
    if mean is None or var is None:
        raise ValueError("a normalisation without running statistics cannot be folded")
    gain = bn.weight.double() / torch.sqrt(var.double() + bn.eps)
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        padding=(int(conv.padding[0]), int(conv.padding[1])),
        bias=True,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    folded.weight.copy_((conv.weight.double() * gain[:, None, None, None]).to(conv.weight.dtype))
    if folded.bias is not None:
        folded.bias.copy_((bn.bias.double() - mean.double() * gain).to(conv.weight.dtype))
    return folded.requires_grad_(False)


def _half(block: ConvBlock, index: int) -> ConvBlock:
    """A folded block with one half of its channels."""
    half = copy.deepcopy(block)
    conv = half.conv
    conv.out_channels //= 2
    conv.weight = nn.Parameter(conv.weight.detach().chunk(2)[index].clone(), requires_grad=False)
    if conv.bias is not None:
        conv.bias = nn.Parameter(conv.bias.detach().chunk(2)[index].clone(), requires_grad=False)
    return half
