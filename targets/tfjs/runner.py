"""A graph model behind the runner contract: TensorFlow.js runs it in Node, or in a browser without a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edgeseg.errors import UsageError
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array

from .chromium import ChromiumHost
from .model_json import check_files
from .node import NodeProcess
from .options import TfjsRunOptions

BACKENDS: Mapping[str, tuple[str, ...]] = {"node": ("wasm", "cpu"), "chromium": ("wasm", "webgl", "webgpu")}
"""Runtime to the backends that it is run with."""


class Host(Protocol):
    """What runs the JavaScript."""

    execution: Mapping[str, str]

    def run(self, images: Array) -> dict[str, Array]:
        """(1, H, W, 3) float32 to (1, h, w, C) outputs by name."""

    def close(self) -> None:
        """End it."""


class TfjsRunner(Runner):
    """One loaded model in a process of its own."""

    channels_last = True

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        options = TfjsRunOptions.of(options)
        if options.backend not in BACKENDS[options.runtime]:
            raise UsageError(
                f"{options.runtime} has no backend {options.backend!r}",
                hint="supported: " + "; ".join(f"{name}: {', '.join(known)}" for name, known in BACKENDS.items()),
            )
        # TensorFlow.js computes with any weights that have the right number of bytes.
        check_files(artifact.path)
        host = NodeProcess if options.runtime == "node" else ChromiumHost
        self._host: Host = host(artifact.path, options.backend)

    @property
    def execution(self) -> Mapping[str, str]:
        """Runtime, backend and version."""
        return self._host.execution

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        found = self._host.run(np.ascontiguousarray(arrays[INPUT_NAME].transpose(0, 2, 3, 1)))
        # Copied as they lie: what came through the pipe cannot be written to.
        return {spec.name: np.array(found[spec.name]).transpose(0, 3, 1, 2) for spec in self.outputs}

    def _close(self) -> None:
        self._host.close()
