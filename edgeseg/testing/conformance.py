"""The conformance suite: what every target must do, whoever wrote it."""

from __future__ import annotations

from edgeseg.testing.artifacts import ArtifactTests
from edgeseg.testing.declarations import DeclarationTests
from edgeseg.testing.running import RunnerTests


class TargetConformance(DeclarationTests, ArtifactTests, RunnerTests):
    """Subclass it in a test file with `target`, a registered name or a `Target`; pytest does the rest.

    Tests skip, with the sentence of `check_env`, where the target's SDK is absent, and where the hardware
    that its capabilities name is. What a target may have beyond the contract is found by the names of its
    options: `batch`, `dynamic_batch`, `dynamic_size` and `outputs` are tested where they exist.
    """
