"""TensorFlow Lite: one file for Android, Raspberry Pi and microcontroller boards, run by LiteRT or tflite-runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import installed_version
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import CALIBRATED, TfliteOptions, TfliteRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.probe import Probe
    from edgeseg.target import Runner

INTERPRETERS = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
"""Packages that run a file, the preferred first, and what each is imported as."""

CONVERTERS = {"torch": "torch", "litert-torch": "litert_torch", "ai-edge-quantizer": "ai_edge_quantizer"}
"""Packages that exporting needs besides ai-edge-litert, and what each is imported as."""


class TfliteTarget(Target):
    """One `.tflite` file."""

    name = "tflite"
    summary = "TensorFlow Lite file for Android, Raspberry Pi and other ARM boards"
    capabilities = Capabilities(
        precisions=("fp32", "fp16", "int8", "w8a16"), suffix=".tflite", calibrated=CALIBRATED, intermediate=True
    )
    options_type = TfliteOptions
    run_options_type = TfliteRunOptions

    def check_env(self) -> EnvReport:
        """Running needs one of two interpreters; the converters have an environment of their own."""
        packages = {**INTERPRETERS, **CONVERTERS}
        versions = {name: found for name, module in packages.items() if (found := installed_version(name, module))}
        problems = [f"{name} is not installed, which exporting needs" for name in CONVERTERS if name not in versions]
        if not INTERPRETERS.keys() & versions.keys():
            problems.insert(0, f"neither {' nor '.join(INTERPRETERS)} is installed, of which running needs one")
        return EnvReport(tuple(problems), "edgeseg targets install tflite" if problems else "", versions)

    def recognizes(self, path: Path) -> bool:
        """The identifier TFL3, in a file that is not for an Edge TPU: those have a target of their own."""
        from ..edgetpu.compiled import is_for_edge_tpu
        from .container import looks_like_tflite

        return looks_like_tflite(path) and not is_for_edge_tpu(path.read_bytes())

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, convert, quantise, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the file's own metadata."""
        from .container import metadata_of, read_content

        return metadata_of(read_content(path))

    def inspect(self, artifact: Artifact) -> Findings:
        """Operator counts, and the type of every tensor."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """An interpreter with the network loaded."""
        from .runner import TfliteRunner

        return TfliteRunner(artifact, options)

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """The tensors between its layers."""
        from .layers import TfliteProbe

        return TfliteProbe(artifact, options)


target = TfliteTarget()
