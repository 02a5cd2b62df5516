"""The JSON of a verification and of a build: plain values only, NaN and infinity as null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.files import write_atomically
from edgeseg.gates import GateResult
from edgeseg.report.pictures import comparison
from edgeseg.verify import VerifyReport
from edgeseg.writers import encode_picture


def verify_json(report: VerifyReport, pictures: Path | None = None) -> dict[str, Any]:
    """A verification as JSON.

    Args:
        report: what `verify` found.
        pictures: folder for the worst instances' pictures; None writes none.
    """
    return {
        "artifact": report.artifact,
        "reference": report.reference,
        "passed": report.passed,
        "problems": report.problems,
        "diagnosis": report.diagnosis,
        "tensors": plain(report.tensors),
        "points": plain(report.points),
        "masks": plain(report.masks),
        "gates": [gate_json(gate) for gate in report.gates],
        "not_judged": report.not_judged,
        "worst": _worst(report, pictures),
        "facts": plain(report.facts),
    }


def gate_json(gate: GateResult) -> dict[str, Any]:
    """One gate with its limit, value and margin."""
    row = {"name": gate.name, "limit": gate.limit, "value": gate.value, "margin": gate.margin, "met": gate.met}
    return {key: plain(value) for key, value in row.items()}


def plain(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null, everything else stays."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _worst(report: VerifyReport, pictures: Path | None) -> list[dict[str, Any]]:
    rows = []
    for number, worst in enumerate(report.worst, start=1):
        row = {"source": worst.source, "mask_iou": worst.mask_iou, "what": worst.what, "picture": ""}
        if pictures is not None:
            path = pictures / f"worst-{number}.png"
            write_atomically(path, encode_picture(comparison(worst), ".png"))
            row["picture"] = str(path)
        rows.append(row)
    return rows
