"""Every registered target passes the suite that third parties use."""

from __future__ import annotations

import re
from pathlib import Path

from edgeseg import registry
from edgeseg.testing import TargetConformance
from tests.conformance.edgetpu_suite import EdgeTpuConformance
from tests.conformance.openvino_suite import OpenVinoConformance
from tests.conformance.plain_target import PlainTarget

MAKEFILE = Path(__file__).parents[2] / "Makefile"

REGISTERED = [entry for entry in registry.entries().values() if entry.target is not None]
USABLE = [entry for entry in REGISTERED if entry.report.usable]
"""Here. The others are tested where they are: `make own` runs this file once in the environment of each."""


def test_every_registered_target_is_tested_here_or_in_an_environment_of_its_own() -> None:
    listed = re.search(r"^OWN\s*:=(.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert listed is not None
    assert {entry.name for entry in REGISTERED} == {entry.name for entry in USABLE} | set(listed[1].split())


SUITES: dict[str, type[TargetConformance]] = {"edgetpu": EdgeTpuConformance, "openvino": OpenVinoConformance}
"""Where a target has limits of its own."""

for _entry in USABLE:
    _name = f"Test_{_entry.name}"
    _suite = SUITES.get(_entry.name, TargetConformance)
    globals()[_name] = type(_name, (_suite,), {"target": _entry.name, "__doc__": _entry.summary})


class TestPlainTarget(TargetConformance):
    """The example of docs/targets.md, given as an object since nobody registers it."""

    target = PlainTarget()
