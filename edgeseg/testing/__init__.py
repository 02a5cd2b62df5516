"""What a target is tested with, ours and third parties': a conformance suite, a tiny model, a tiny card.

    from edgeseg.testing import TargetConformance

    class TestMyTarget(TargetConformance):
        target = "myformat"

The suite needs pytest, and what exporting needs (`pip install 'edgeseg[build]' pytest`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.testing.tiny import tiny_frames, tiny_picture, write_tiny_card, write_tiny_weights

if TYPE_CHECKING:
    from edgeseg.testing.conformance import TargetConformance

__all__ = ["TargetConformance", "tiny_frames", "tiny_picture", "write_tiny_card", "write_tiny_weights"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: the tiny model and the probe do without pytest.
    if name != "TargetConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    # Before their import: pytest then shows both sides of a failed assertion, as it does in a test file.
    pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("declarations", "artifacts", "running")))
    from edgeseg.testing.conformance import TargetConformance

    return TargetConformance
