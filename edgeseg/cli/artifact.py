"""The artifact that a command is about, with its target."""

from __future__ import annotations

from pathlib import Path

from edgeseg.target import Artifact, Target


def given_artifact(path: Path) -> tuple[Target, Artifact]:
    """What `path` holds, told from its bytes.

    Raises:
        UsageError: it holds weights.
        ArtifactError: no such file, or of no known kind.
        EnvironmentMissingError: a package that reading it needs is not here; it names the target.
    """
    from edgeseg import registry
    from edgeseg.errors import EnvironmentMissingError, UsageError
    from edgeseg.predict import is_weights

    if is_weights(path):
        raise UsageError(f"{path} holds weights, no artifact", hint=f"edgeseg weights show {path}")
    target = registry.recognize(path)
    try:
        return target, Artifact(path, target.read_metadata(path))
    except EnvironmentMissingError as error:
        error.target = target.name
        raise
