"""Paddle: the inference model of PaddlePaddle, run by Paddle Inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import installed_version
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import PaddleOptions, PaddleRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.target import Runner

RUNTIME = {"paddlepaddle": "paddle"}
"""The package that runs a folder, and what it is imported as."""

CONVERTERS = {
    name: name for name in ("torch", "onnx", "onnxruntime", "onnxsim", "onnxslim", "x2paddle", "six", "requests")
}
"""Packages that exporting needs besides. x2paddle imports the last two and does not declare them."""


class PaddleTarget(Target):
    """A folder of `model.json`, `model.pdiparams` and `metadata.json`."""

    name = "paddle"
    summary = "PaddlePaddle inference model for Paddle Inference"
    capabilities = Capabilities(precisions=("fp32",), suffix="", dynamic_shapes=True)
    options_type = PaddleOptions
    run_options_type = PaddleRunOptions

    def check_env(self) -> EnvReport:
        """Running needs paddlepaddle only. Its tools and those of other targets exclude each other's versions."""
        packages = {**RUNTIME, **CONVERTERS}
        versions = {name: found for name, module in packages.items() if (found := installed_version(name, module))}
        problems = tuple(
            f"{name} is not installed, which {'running' if name in RUNTIME else 'exporting'} needs"
            for name in packages
            if name not in versions
        )
        return EnvReport(problems, "edgeseg targets install paddle" if problems else "", versions)

    def recognizes(self, path: Path) -> bool:
        """A folder with a program of the current format, and parameters."""
        from .program import looks_like_paddle

        return looks_like_paddle(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Through ONNX; tensors named by the contract, written with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the folder's `metadata.json`, without the SDK."""
        from .contents import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operator counts, types of the stored parameters, names of the tensors."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """A predictor."""
        from .runner import PaddleRunner

        return PaddleRunner(artifact, options)


target = PaddleTarget()
