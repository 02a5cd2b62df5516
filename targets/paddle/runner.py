"""Paddle Inference behind the runner contract; also reads folders exported by the peer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError
from edgeseg.folder_metadata import METADATA_FILE
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array

from .contents import checked_program
from .options import PaddleRunOptions
from .program import PARAMS_FILE, PROGRAM_FILE, Program, network_folder
from .sdk import import_inference

LIBRARIES: Mapping[str, str] = {"onednn_op": "oneDNN", "pd_op": "Paddle"}
"""First part of the name of an operator that ran, to whose it is."""

PASSES, NO_PASSES = 2, 0
"""Levels of optimisation: 2 is Paddle's default. Below it, oneDNN is left out without a word."""


class PaddleRunner(Runner):
    """One predictor."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        self._options = PaddleRunOptions.of(options)
        program = checked_program(artifact.path)
        self._names = _names(artifact, program)
        self._config, self._predictor = _predictor(artifact.path, self._options)
        self._operators: Counter[str] = Counter()

    @property
    def execution(self) -> Mapping[str, str]:
        """Device, threads and options, and of the operators that one run goes through, how many are whose."""
        if not self._operators:
            self._operators = self._observed()
        by_library = Counter[str]()
        for name, count in self._operators.items():
            by_library[LIBRARIES.get(name.partition(".")[0], name)] += count
        return {
            "device": "cpu",
            "threads": str(self._config.cpu_math_library_num_threads()),
            "operators": ", ".join(f"{name} {count}" for name, count in by_library.most_common()),
            "ir_passes": str(self._options.ir_passes).lower(),
            "memory_optim": str(self._options.memory_optim).lower(),
        }

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._run_on(self._predictor, arrays[INPUT_NAME])

    def _run_on(self, predictor: Any, images: Array) -> dict[str, Array]:
        handle = predictor.get_input_handle(self._names[INPUT_NAME])
        handle.reshape(images.shape)
        handle.copy_from_cpu(np.ascontiguousarray(images))
        predictor.run()
        return {spec.name: predictor.get_output_handle(self._names[spec.name]).copy_to_cpu() for spec in self.outputs}

    def _observed(self) -> Counter[str]:
        """Names of the operators of one run, such as ``onednn_op.fused_conv2d``, and how often each ran.

        On a predictor beside the one that runs, with the same weights: being watched costs time.
        """
        seen: Counter[str] = Counter()
        watched = self._predictor.clone()
        watched.register_output_hook(lambda operator, name, tensor: seen.update([operator.partition(":")[0]]))
        batch = self.metadata.batch
        self._run_on(watched, np.zeros((batch, 3, *self.metadata.image_size), np.float32))
        return seen

    def _close(self) -> None:
        self._predictor = None


def _names(artifact: Artifact, program: Program) -> dict[str, str]:
    """Name of each declared tensor to that in the program. Foreign names say nothing: there the order tells."""
    declared, found = (
        [spec.name for spec in (*owner.inputs, *owner.outputs)] for owner in (artifact.metadata, program)
    )
    is_ours = (artifact.path / METADATA_FILE).is_file()
    if len(declared) != len(found) or (is_ours and declared != found):
        raise ArtifactError(f"{artifact.path}: has the tensors {found}, expected {declared}", hint="export it again")
    return dict(zip(declared, found, strict=True))


def _predictor(path: Path, options: PaddleRunOptions) -> tuple[Any, Any]:
    """A configuration and what was made from it."""
    inference = import_inference(f"running {path.name}")
    folder = network_folder(path)
    config = inference.Config(str(folder / PROGRAM_FILE), str(folder / PARAMS_FILE))
    # Else it reports every step of loading on stderr; errors reach us as exceptions.
    config.disable_glog_info()
    config.disable_gpu()
    # What runs files of the current format; reusing memory fails without both.
    config.enable_new_executor()
    config.enable_new_ir()
    config.enable_memory_optim(options.memory_optim)
    config.set_optimization_level(PASSES if options.ir_passes else NO_PASSES)
    # Paddle by itself takes one.
    config.set_cpu_math_library_num_threads(options.threads or os.cpu_count() or 1)
    _choose_onednn(config, options)
    try:
        return config, inference.create_predictor(config)
    except Exception as error:
        raise ArtifactError(
            f"{path}: Paddle Inference cannot load it: {_last(error)}", hint="export it again, with paddlepaddle 3.2"
        ) from error


def _choose_onednn(config: Any, options: PaddleRunOptions) -> None:
    if options.onednn is False or not options.ir_passes:
        if options.onednn:
            raise UsageError(
                "onednn=true with ir_passes=false: the passes put oneDNN's operators into the program",
                hint="leave one of them out",
            )
        config.disable_onednn()
        return
    config.enable_onednn()
    if options.onednn and not config.onednn_enabled():
        raise EnvironmentMissingError(
            "this build of Paddle has no oneDNN", hint="run without --option onednn=true, or install another build"
        )


def _last(error: Exception) -> str:
    """The SDK's own sentence; its other lines are places in its source and empty."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else repr(error)
