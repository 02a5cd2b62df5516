"""What must be seen from a fresh interpreter: which modules a target imports, what it does without its SDK.

`run_probe` starts this file as a program; `python -m edgeseg.testing.probe JSON` is what it runs.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from edgeseg.target import Artifact, ExportRequest, Target

VENDOR_MODULES = frozenset(
    {
        *("ai_edge_litert", "ai_edge_quantizer", "litert_torch", "tensorflow", "tensorflowjs", "tflite_runtime"),
        *("onnx", "onnx2tf", "onnxruntime", "onnxscript", "onnxsim", "onnxslim"),
        *("coremltools", "ncnn", "nncf", "openvino", "paddle", "pnnx", "tensorrt", "tensorrt_rtx", "x2paddle"),
        *("jax", "safetensors", "torch", "torchvision"),
    }
)
"""Import names of the SDKs that a target may need, and of torch; more are added from the target's versions."""

TIMEOUT_S = 300


@dataclass(frozen=True)
class ProbeResult:
    """What a fresh interpreter saw.

    Attributes:
        modules: top-level modules that were imported.
        problems: of `check_env`.
        seconds: that `check_env` took.
        error: class name of what the action raised, empty for nothing.
        is_ours: whether that is an error of edgeseg/errors.py.
        message: of the error.
    """

    modules: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float
    error: str = ""
    is_ours: bool = False
    message: str = ""


def run_probe(target: Target, action: str = "", **request: Any) -> ProbeResult:
    """Run one action with `target` in a fresh interpreter.

    Args:
        target: its class is imported there and constructed without arguments.
        action: a function of `ACTIONS`; empty for `check_env` alone.
        **request: `hidden`, names of modules that are to look absent; what the action reads.

    Raises:
        AssertionError: the interpreter died.
    """
    kind = type(target)
    content = {"module": kind.__module__, "kind": kind.__qualname__, "action": action, **request}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "edgeseg.testing.probe", json.dumps(content, default=str)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"the interpreter ended with {done.returncode}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return ProbeResult(**{**result, "modules": tuple(result["modules"]), "problems": tuple(result["problems"])})


def modules_of(packages: set[str]) -> set[str]:
    """Import names of installed packages: opencv-python-headless is imported as cv2."""
    wanted = {_normalised(name) for name in packages}
    return {
        module for module, owners in packages_distributions().items() if wanted & {_normalised(name) for name in owners}
    }


def _normalised(name: str) -> str:
    """tensorflow-cpu calls itself tensorflow_cpu, which pip takes for the same name."""
    return re.sub(r"[-_.]+", "-", name).lower()


class _Hiding:
    """A finder that finds nothing of some modules, and what another one finds of the rest."""

    def __init__(self, finder: Any, hidden: frozenset[str]) -> None:
        self._finder, self._hidden = finder, hidden

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self._hidden:
            return None
        spec: ModuleSpec | None = self._finder.find_spec(name, path, target)
        return spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def _open(target: Target, request: dict[str, Any]) -> None:
    path = Path(request["path"])
    target.open(Artifact(path, target.read_metadata(path)), target.run_options_type()).close()


def _export(target: Target, request: dict[str, Any]) -> None:
    """Export where no file may grow beyond a limit, as on a disk that becomes full."""
    import resource

    options = target.options_type()
    weights, folder, size = Path(request["weights"]), Path(request["folder"]), request["image_size"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit_bytes"], resource.RLIM_INFINITY))
    calibration = tuple(Path(picture) for picture in request["calibration"])
    target.export(
        ExportRequest(
            weights, folder, request["stem"], request["precision"], tuple(size), options, calibration=calibration
        )
    )


ACTIONS = {"open": _open, "export": _export}


def _main(request: dict[str, Any]) -> dict[str, Any]:
    import time

    from edgeseg.errors import EdgesegError

    hidden = frozenset(request.get("hidden", ()))
    sys.meta_path[:] = [_Hiding(finder, hidden) for finder in sys.meta_path]
    kind: Any = importlib.import_module(request["module"])
    for name in request["kind"].split("."):
        kind = getattr(kind, name)
    target: Target = kind()
    start = time.perf_counter()
    problems = target.check_env().problems
    result: dict[str, Any] = {"problems": problems, "seconds": time.perf_counter() - start}
    target.recognizes(Path(__file__))
    result["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    if request["action"]:
        try:
            ACTIONS[request["action"]](target, request)
        except Exception as error:  # noqa: BLE001 - the caller judges which errors are allowed
            result |= {
                "error": type(error).__name__,
                "is_ours": isinstance(error, EdgesegError),
                "message": str(error),
            }
    return result


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_main(json.loads(sys.argv[1]))) + "\n")
