"""A package behind the runner contract: by Apple's runtime on a Mac, by the evaluator elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeseg.errors import ArtifactError, UsageError, needs_extra
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array

from .options import CoreMLRunOptions
from .package import AGAIN, load_program, read_package
from .sdk import import_coremltools, quiet

EVALUATED = "evaluated, not Apple's runtime"


def open_package(artifact: Artifact, options: Options) -> Runner:
    """The runner of this system.

    Raises:
        UsageError: a run option of the other system.
    """
    chosen = CoreMLRunOptions.of(options)
    return AppleRunner(artifact, chosen) if sys.platform == "darwin" else EvaluatedRunner(artifact, chosen)


class EvaluatedRunner(Runner):
    """The saved program, executed by torch operation by operation."""

    def __init__(self, artifact: Artifact, options: CoreMLRunOptions) -> None:
        super().__init__(artifact.metadata)
        if options.compute_units is not None:
            raise UsageError(
                f"compute_units {options.compute_units}: Core ML runs on a Mac only, here its program is evaluated",
                hint="leave it out, or give --option threads=N",
            )
        try:
            import torch
        except ImportError as error:
            raise needs_extra("torch", "coreml", f"evaluating {artifact.path.name}") from error
        from .evaluator.program import Program

        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._program: Program | None = Program(load_program(artifact.path), str(artifact.path))
        self._arithmetic = "fp16, rounded after each operation" if self._program.halves else "fp32"
        wanted = [spec.name for spec in self.outputs]
        if list(self._program.inputs) != [INPUT_NAME] or set(self._program.outputs) != set(wanted):
            raise ArtifactError(
                f"{artifact.path}: takes {list(self._program.inputs)} and gives {list(self._program.outputs)}, "
                f"expected {[INPUT_NAME]} and {wanted}",
                hint=AGAIN,
            )

    @property
    def execution(self) -> Mapping[str, str]:
        """That this is no run on a device, the arithmetic, and threads."""
        import torch

        return {"runtime": EVALUATED, "arithmetic": self._arithmetic, "threads": str(torch.get_num_threads())}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        import torch

        if self._program is None:
            raise ArtifactError("this runner is closed")
        images = arrays[INPUT_NAME]
        if takes_pictures(self.metadata.options):
            images = eight_bits(images).astype(np.float32)
        # A copy: the caller's array may be read-only, which torch cannot take.
        found = self._program.run({INPUT_NAME: torch.tensor(images)})
        return {spec.name: np.array(found[spec.name].numpy(), np.float32) for spec in self.outputs}

    def _close(self) -> None:
        self._program = None


class AppleRunner(Runner):
    """coremltools' `predict`, which compiles the package for this Mac."""

    def __init__(self, artifact: Artifact, options: CoreMLRunOptions) -> None:
        super().__init__(artifact.metadata)
        if options.threads is not None:
            raise UsageError(
                f"threads {options.threads}: Core ML chooses them on a Mac",
                hint="leave it out, or give --option compute_units=cpu_only",
            )
        coremltools = import_coremltools(f"running {artifact.path.name}")
        read_package(artifact.path)
        self._units = options.compute_units or "all"
        try:
            with quiet():
                self._model: Any = coremltools.models.MLModel(
                    str(artifact.path), compute_units=coremltools.ComputeUnit[self._units.upper()]
                )
        except Exception as error:
            raise ArtifactError(f"{artifact.path}: Core ML cannot load it: {error}", hint=AGAIN) from error

    @property
    def execution(self) -> Mapping[str, str]:
        """Apple's runtime, and where it may run."""
        return {"runtime": "Core ML", "compute_units": self._units}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        images: Any = arrays[INPUT_NAME]
        if takes_pictures(self.metadata.options):
            images = _picture(images)
        try:
            found = self._model.predict({INPUT_NAME: images})
        except Exception as error:
            raise ArtifactError(f"Core ML cannot run {self.metadata.name}: {error}") from error
        return {
            spec.name: np.array(found[spec.name], np.float32).reshape([int(side) for side in spec.shape])
            for spec in self.outputs
        }

    def _close(self) -> None:
        self._model = None


def takes_pictures(options: Mapping[str, Any]) -> bool:
    """Whether a package with these export options takes 8-bit RGB."""
    return bool(options.get("image_input", False))


def eight_bits(images: Array) -> Array:
    """(B, 3, H, W) float32 in 0..1 as the 8-bit values that a pixel buffer holds."""
    return np.clip(np.rint(images * np.float32(255)), 0, 255).astype(np.uint8)


def _picture(images: Array) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise needs_extra("pillow", "coreml", "giving Core ML a picture") from error
    return Image.fromarray(np.ascontiguousarray(eight_bits(images)[0].transpose(1, 2, 0)))
