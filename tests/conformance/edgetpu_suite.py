"""The conformance suite with a wider limit for the Edge TPU's file on the tiny network, run by reference kernels."""

from __future__ import annotations

from edgeseg.gates import Gates
from edgeseg.testing import TargetConformance


class EdgeTpuConformance(TargetConformance):
    """All tests."""

    def gates(self, precision: str) -> Gates:
        """Which of the many near-equal instances of random weights pass the threshold is a matter of rounding: of one
        file the reference kernels match 0.38, XNNPACK 0.41 and the optimised kernels 0.51 of them, while the median
        mask IoU is 0.93, 0.91 and 0.94. Trained weights at 320 match 0.92: targets/edgetpu/README.md."""
        return Gates(matched_fraction_min=0.3)
