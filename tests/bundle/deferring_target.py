"""A target whose export is finished on its device, as a package of its own: `plain` is the graph, `late` the result.

What is lacking, and how finishing goes wrong, is told by the environment variable LATE.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from third_plain import PlainTarget  # type: ignore[import-not-found]

from edgeseg.errors import StageError
from edgeseg.target import Artifact


class LateTarget(PlainTarget):  # type: ignore[misc]
    name = "late"

    def recognizes(self, path: Path) -> bool:
        return path.name.endswith(".engine") and super().recognizes(path)

    def deferral(self) -> str:
        return "late artifacts run on a Late board only, which this is not" if os.environ.get("LATE") == "no" else ""

    def finish(self, artifact: Artifact, output_dir: Path) -> Artifact:
        if os.environ.get("LATE") == "stage":
            raise StageError("compile_failed", "the compiler refuses the graph", hint="update it")
        if os.environ.get("LATE") == "crash":
            raise OSError("the driver is gone")
        calibration = artifact.path.parent.parent / "calibration"
        assert len(list(calibration.glob("*.png"))) == 1
        finished = output_dir / f"{artifact.path.stem}.engine"
        shutil.copyfile(artifact.path, finished)
        return Artifact(finished, artifact.metadata)


target = LateTarget()
