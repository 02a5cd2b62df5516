"""Everything at once, in the order in which it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.doctor.disk import check_cache, check_output
from edgeseg.doctor.engine import check_engine
from edgeseg.doctor.finding import Finding
from edgeseg.doctor.formats import check_formats
from edgeseg.doctor.gpu import check_gpu, check_torch
from edgeseg.doctor.hardware import check_memory, check_processor
from edgeseg.doctor.interpreter import check_packages, check_python
from edgeseg.doctor.traps import check_traps
from edgeseg.doctor.variables import check_variables


def examine(output: Path, *, deep: bool = False) -> list[Finding]:
    """Look at this machine.

    Args:
        output: folder that results go to.
        deep: import PyTorch, to see what it sees.
    """
    engine = check_engine()
    return [
        check_python(),
        *check_packages(),
        check_processor(),
        check_memory(),
        check_output(output),
        check_cache(),
        *check_gpu(),
        *([check_torch()] if deep else []),
        engine,
        *check_formats(images=engine.level == "ok"),
        *check_variables(),
        *check_traps(),
    ]


def findings_json(findings: list[Finding]) -> dict[str, Any]:
    """Plain values; `healthy` where nothing that the core needs is broken."""
    return {
        "schema": 1,
        "kind": "edgeseg-doctor",
        "edgeseg": __version__,
        "healthy": not any(finding.breaks_core for finding in findings),
        "findings": [finding.to_json() for finding in findings],
    }
