"""Building blocks of the network. Shapes are (B, C, H, W) throughout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.03
"""Both from the published recipe (facts.md, section 1)."""


class ConvBlock(nn.Module):
    """Convolution without bias, batch normalisation, SiLU; `fuse` folds the normalisation into the convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H/stride, W/stride)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, with a residual where asked."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = ConvBlock(channels, channels, 3)
        self.cv2 = ConvBlock(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.shortcut else out


class Halves(nn.Module):
    """Two blocks in place of one that is cut in half behind: runtimes copy, or lay out anew, what they slice."""

    def __init__(self, first: ConvBlock, second: ConvBlock) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in, H, W) to the two halves of the block's channels, (B, out/2, H/stride, W/stride) each."""
        return self.first(x), self.second(x)


class C2f(nn.Module):
    """Split in two halves, a chain of bottlenecks on the second, all parts concatenated, 1x1."""

    def __init__(self, in_channels: int, out_channels: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = out_channels // 2
        self.cv1: ConvBlock | Halves = ConvBlock(in_channels, 2 * half)
        self.cv2 = ConvBlock((2 + repeats) * half, out_channels)
        self.m = nn.ModuleList(Bottleneck(half, shortcut) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        found = self.cv1(x)
        parts = list(found if isinstance(self.cv1, Halves) else found.chunk(2, dim=1))
        for block in self.m:
            parts.append(block(parts[-1]))
        out: Tensor = self.cv2(torch.cat(parts, dim=1))
        return out


class SPPF(nn.Module):
    """Fast spatial pyramid pooling: three chained 5x5 max-pools see 5, 9 and 13 cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = ConvBlock(channels, channels // 2)
        self.cv2 = ConvBlock(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        out: Tensor = self.cv2(torch.cat(parts, dim=1))
        return out
