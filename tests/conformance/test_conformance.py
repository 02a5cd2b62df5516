"""Every registered target passes the suite that third parties use."""

from __future__ import annotations

from edgeseg import registry
from edgeseg.testing import TargetConformance
from tests.conformance.plain_target import PlainTarget

REGISTERED = [entry for entry in registry.entries().values() if entry.target is not None]


def test_targets_are_registered() -> None:
    assert {"onnx", "torchscript"} <= {entry.name for entry in REGISTERED}


for _entry in REGISTERED:
    _name = f"Test_{_entry.name}"
    globals()[_name] = type(_name, (TargetConformance,), {"target": _entry.name, "__doc__": _entry.summary})


class TestPlainTarget(TargetConformance):
    """The example of docs/targets.md, given as an object since nobody registers it."""

    target = PlainTarget()
