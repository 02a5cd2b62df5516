"""What a target is tested with, ours and third parties': a conformance suite, a tiny model, a tiny card.

    from edgeseg.testing import TargetConformance

    class TestMyTarget(TargetConformance):
        target = "myformat"

Needs pytest, and what exporting needs (`pip install 'edgeseg[build]' pytest`).
"""

import pytest

# Before their import: pytest then shows both sides of a failed assertion, as it does in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("suite", "declarations", "artifacts", "running")))

from edgeseg.testing.conformance import TargetConformance  # noqa: E402
from edgeseg.testing.tiny import tiny_frames, tiny_picture, write_tiny_card, write_tiny_weights  # noqa: E402

__all__ = ["TargetConformance", "tiny_frames", "tiny_picture", "write_tiny_card", "write_tiny_weights"]
