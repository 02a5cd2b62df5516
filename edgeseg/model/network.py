"""YOLOv8-seg: backbone, path-aggregation neck, head. One forward, which knows no exporter.

Written from facts.md, section 1. Channel counts come from `NetworkConfig`; nothing depends on the input
size except that it must be a multiple of 32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from edgeseg.model.blocks import SPPF, C2f, ConvBlock
from edgeseg.model.config import NetworkConfig
from edgeseg.model.head import SegmentationHead


class Backbone(nn.Module):
    """The picture to features at strides 8, 16 and 32."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = config.channels
        outer, inner = config.outer_repeats, config.inner_repeats
        self.stem = ConvBlock(3, c1, 3, stride=2)
        self.down2 = ConvBlock(c1, c2, 3, stride=2)
        self.stage2 = C2f(c2, c2, outer, shortcut=True)
        self.down3 = ConvBlock(c2, c3, 3, stride=2)
        self.stage3 = C2f(c3, c3, inner, shortcut=True)
        self.down4 = ConvBlock(c3, c4, 3, stride=2)
        self.stage4 = C2f(c4, c4, inner, shortcut=True)
        self.down5 = ConvBlock(c4, c5, 3, stride=2)
        self.stage5 = C2f(c5, c5, outer, shortcut=True)
        self.sppf = SPPF(c5)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to (B, C3, H/8, W/8), (B, C4, H/16, W/16), (B, C5, H/32, W/32)."""
        p3 = self.stage3(self.down3(self.stage2(self.down2(self.stem(images)))))
        p4 = self.stage4(self.down4(p3))
        p5 = self.sppf(self.stage5(self.down5(p4)))
        return p3, p4, p5


class Neck(nn.Module):
    """Path aggregation: coarse to fine, then fine to coarse (PANet, arXiv 1803.01534)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        _, _, c3, c4, c5 = config.channels
        repeats = config.outer_repeats
        self.fine4 = C2f(c5 + c4, c4, repeats, shortcut=False)
        self.fine3 = C2f(c4 + c3, c3, repeats, shortcut=False)
        self.down3 = ConvBlock(c3, c3, 3, stride=2)
        self.coarse4 = C2f(c3 + c4, c4, repeats, shortcut=False)
        self.down4 = ConvBlock(c4, c4, 3, stride=2)
        self.coarse5 = C2f(c4 + c5, c5, repeats, shortcut=False)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Three levels in, three levels of the same shapes out."""
        p3, p4, p5 = features
        fine4 = self.fine4(torch.cat([_twice(p5), p4], dim=1))
        fine3 = self.fine3(torch.cat([_twice(fine4), p3], dim=1))
        coarse4 = self.coarse4(torch.cat([self.down3(fine3), fine4], dim=1))
        coarse5 = self.coarse5(torch.cat([self.down4(coarse4), p5], dim=1))
        return fine3, coarse4, coarse5


class SegmentationNetwork(nn.Module):
    """The whole network.

    Args:
        config: sizes, from `edgeseg.model.config.network_config`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.neck = Neck(config)
        self.head = SegmentationHead(config)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of every point and mask prototypes.

        Args:
            images: (B, 3, H, W) float, RGB in 0..1; H and W multiples of 32.

        Returns:
            Ten float tensors in the order of `edgeseg.tensors.RAW_OUTPUT_NAMES`.
        """
        outputs: tuple[Tensor, ...] = self.head(self.neck(self.backbone(images)))
        return outputs


def _twice(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")
