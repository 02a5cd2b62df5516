"""What the build that an artifact belongs to says about it: its target's id, and the gates to judge."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from edgeseg.gates import Gates

MANIFEST = "build.json"


def of_build(artifact: Path) -> tuple[str, Gates]:
    """Id and gates of an artifact's target; empty where no build beside it names the artifact.

    Args:
        artifact: a file or folder, in its target's folder of a build.
    """
    folder = artifact.resolve().parent.parent
    try:
        targets = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["targets"]
        for target in targets:
            named = target["artifact"]
            if named and (folder / named["path"]).resolve() == artifact.resolve():
                return str(target["id"]), Gates(**target["gates"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        # No build, or one of another version: the artifact speaks for itself.
        pass
    return "", Gates()
