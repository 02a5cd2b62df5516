"""The segmentation head: box, class and coefficient branches on three levels, prototypes on the finest."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.model.blocks import ConvBlock
from edgeseg.model.config import NetworkConfig
from edgeseg.tensors import NUM_COEFFICIENTS, REG_MAX


class Prototypes(nn.Module):
    """P3 features to 32 mask prototypes at twice their resolution."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.cv1 = ConvBlock(in_channels, hidden, 3)
        self.upsample = nn.ConvTranspose2d(hidden, hidden, 2, stride=2)
        self.cv2 = ConvBlock(hidden, hidden, 3)
        self.cv3 = ConvBlock(hidden, NUM_COEFFICIENTS)

    def forward(self, p3: Tensor) -> Tensor:
        """(B, C3, H/8, W/8) to (B, 32, H/4, W/4)."""
        out: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(p3))))
        return out


class SegmentationHead(nn.Module):
    """Ten tensors of logits; decoding happens outside the network (edgeseg/tensors.py)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        levels = config.channels[2:]
        self.box = nn.ModuleList(_branch(c, config.box_hidden, 4 * REG_MAX) for c in levels)
        self.cls = nn.ModuleList(_branch(c, config.cls_hidden, config.num_classes) for c in levels)
        self.coef = nn.ModuleList(_branch(c, config.coef_hidden, NUM_COEFFICIENTS) for c in levels)
        self.proto = Prototypes(levels[0], config.proto_hidden)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        """P3, P4, P5 to the tensors of `RAW_OUTPUT_NAMES`, in that order."""
        outputs: list[Tensor] = []
        for feature, box, cls, coef in zip(features, self.box, self.cls, self.coef, strict=True):
            outputs += [box(feature), cls(feature), coef(feature)]
        return (*outputs, self.proto(features[0]))


def _branch(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvBlock(in_channels, hidden, 3), ConvBlock(hidden, hidden, 3), nn.Conv2d(hidden, out_channels, 1)
    )
