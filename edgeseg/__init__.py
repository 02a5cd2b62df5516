"""edgeseg: instance segmentation on edge devices, with masks proven equal to the reference.

    import edgeseg
    model = edgeseg.load("n.onnx")
    for result in model.predict("street/"):
        print(result.source, result.instances.scores)

Importing this imports neither torch, nor a runtime, nor OpenCV: every public name is loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.errors import (
        ArtifactError,
        CardError,
        ContractError,
        EdgesegError,
        EnvironmentMissingError,
        GateError,
        OutputError,
        SourceError,
        StageError,
        UsageError,
        WeightsError,
    )
    from edgeseg.instances import CroppedMask, Instances
    from edgeseg.predict import Model, Result, load

__version__ = "0.1.0"

_HOMES = {
    "load": "edgeseg.predict",
    "Model": "edgeseg.predict",
    "Result": "edgeseg.predict",
    "Instances": "edgeseg.instances",
    "CroppedMask": "edgeseg.instances",
    "EdgesegError": "edgeseg.errors",
    "UsageError": "edgeseg.errors",
    "CardError": "edgeseg.errors",
    "WeightsError": "edgeseg.errors",
    "ArtifactError": "edgeseg.errors",
    "SourceError": "edgeseg.errors",
    "OutputError": "edgeseg.errors",
    "ContractError": "edgeseg.errors",
    "EnvironmentMissingError": "edgeseg.errors",
    "StageError": "edgeseg.errors",
    "GateError": "edgeseg.errors",
}
"""Public name to the module that defines it."""

__all__ = [
    "ArtifactError",
    "CardError",
    "ContractError",
    "CroppedMask",
    "EdgesegError",
    "EnvironmentMissingError",
    "GateError",
    "Instances",
    "Model",
    "OutputError",
    "Result",
    "SourceError",
    "StageError",
    "UsageError",
    "WeightsError",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
