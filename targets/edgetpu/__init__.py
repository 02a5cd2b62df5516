"""Coral Edge TPU: a full-integer TensorFlow Lite file, compiled for the chip where its compiler is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from ..tflite import target as tflite
from .options import EdgeTpuOptions, EdgeTpuRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.target import Runner


class EdgeTpuTarget(Target):
    """One `.tflite` file; `finish` makes the one for the chip of it, where the compiler is on PATH."""

    name = "edgetpu"
    summary = "TensorFlow Lite file compiled for Coral Edge TPU"
    capabilities = Capabilities(
        precisions=("int8",),
        suffix=".tflite",
        calibrated=("int8",),
        compile_hardware="edgetpu_compiler, a program for 64-bit x86 Linux",
        run_hardware="a Coral Edge TPU",
        portable=True,
        environment="tflite",
    )
    options_type = EdgeTpuOptions
    run_options_type = EdgeTpuRunOptions

    def check_env(self) -> EnvReport:
        """The tools of the tflite target; the compiler and the device are told by `deferral`."""
        return tflite.check_env()

    def recognizes(self, path: Path) -> bool:
        """A `.tflite` file that is compiled for an Edge TPU, or says that it is made to be."""
        from ..tflite.container import looks_like_tflite
        from .compiled import is_for_edge_tpu

        return looks_like_tflite(path) and is_for_edge_tpu(path.read_bytes())

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, convert, quantise, bring to the compiler's time, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the file's own metadata, or from the zip behind a compiled file."""
        from ..tflite.container import read_content
        from .compiled import metadata_in

        return metadata_in(read_content(path))

    def deferral(self) -> str:
        """What is lacking of the device, and of the compiler where the device is lacking."""
        from .compiler import PROGRAM, find_compiler
        from .devices import lacking

        device = lacking()
        if not device:
            return ""
        if find_compiler():
            return device
        where = "compile on an x86-64 machine that has it, before a board of another kind runs it"
        return f"{device}, and {PROGRAM} is not on PATH: {where}"

    def finish(self, artifact: Artifact, output_dir: Path) -> Artifact:
        """Compile."""
        from .finish import finish

        return finish(artifact, output_dir)

    def inspect(self, artifact: Artifact) -> Findings:
        """What the compiler's log says, or a prediction from Coral's table."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """On the Edge TPU; a file that is not compiled by the reference kernels."""
        from .runner import open_file

        return open_file(artifact, options)


target = EdgeTpuTarget()
