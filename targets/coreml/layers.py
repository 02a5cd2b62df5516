"""The inside of a Core ML package: the saved program's operations, any of whose values the evaluator gives.

Apple's runtime shows none, so on a Mac too it is the evaluator that is asked: what it finds is in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeseg.errors import needs_extra
from edgeseg.probe import Kind, Operation, Probe
from edgeseg.target import Artifact, Options
from edgeseg.tensors import INPUT_NAME, Array

from .options import CoreMLRunOptions
from .package import load_program
from .runner import EVALUATED, eight_bits, takes_pictures

KINDS: Mapping[str, Kind] = {
    "conv": "convolution",
    "conv_transpose": "convolution",
    "silu": "swish",
    "sigmoid": "sigmoid",
    "mul": "multiply",
    "cast": "pass",
}


class CoreMLProbe(Probe):
    """The program of a package, executed by torch."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        chosen = CoreMLRunOptions.of(options)
        try:
            import torch
        except ImportError as error:
            raise needs_extra("torch", "coreml", f"evaluating {artifact.path.name}") from error
        from .evaluator.program import Program

        if chosen.threads is not None:
            torch.set_num_threads(chosen.threads)
        self._program = Program(load_program(artifact.path), str(artifact.path))
        self._pictures = takes_pictures(artifact.metadata.options)
        operations = [
            Operation(KINDS.get(step.kind, "other"), (step.taken_names("x") + step.taken_names()), step.given)
            for step in self._program.steps
        ]
        super().__init__(operations, {"runtime": EVALUATED, "threads": str(torch.get_num_threads())})

    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """One evaluation."""
        import torch

        given = eight_bits(images).astype(np.float32) if self._pictures else images
        found = self._program.run({INPUT_NAME: torch.tensor(given)}, tensors)
        return {name: np.array(found[name].numpy(), np.float32) for name in tensors}
