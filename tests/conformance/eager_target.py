"""A target that imports its SDK with its module, which every target must not."""

from __future__ import annotations

import torch

from tests.conformance.plain_target import PlainTarget


class EagerTarget(PlainTarget):
    kernel = torch.nn.Conv2d
