"""Every registered target passes the suite that third parties use."""

from __future__ import annotations

from edgeseg import registry
from edgeseg.testing import TargetConformance
from tests.conformance.openvino_suite import OpenVinoConformance
from tests.conformance.plain_target import PlainTarget

REGISTERED = [entry for entry in registry.entries().values() if entry.target is not None]


def test_targets_are_registered() -> None:
    assert {"coreml", "ncnn", "onnx", "openvino", "torchscript"} <= {entry.name for entry in REGISTERED}


SUITES: dict[str, type[TargetConformance]] = {"openvino": OpenVinoConformance}
"""Where a target has limits of its own."""

for _entry in REGISTERED:
    _name = f"Test_{_entry.name}"
    _suite = SUITES.get(_entry.name, TargetConformance)
    globals()[_name] = type(_name, (_suite,), {"target": _entry.name, "__doc__": _entry.summary})


class TestPlainTarget(TargetConformance):
    """The example of docs/targets.md, given as an object since nobody registers it."""

    target = PlainTarget()
