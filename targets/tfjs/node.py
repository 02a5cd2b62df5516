"""Node in a child process that keeps a loaded model: frames of bytes in, frames of JSON and bytes out."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import ArtifactError, EnvironmentMissingError
from edgeseg.tensors import Array

from .modules import INSTALL_NODE, find_node, require_modules

HOST = Path(__file__).with_name("host") / "node.mjs"
LENGTH = struct.Struct("<I")
CLOSE_S = 10


class NodeProcess:
    """One process, one model. `close` ends it.

    Args:
        folder: the graph model.
        backend: wasm or cpu.

    Raises:
        EnvironmentMissingError: Node or a package is missing, or the backend does not start.
    """

    def __init__(self, folder: Path, backend: str) -> None:
        self._folder = folder
        modules, node = require_modules(f"running {folder.name}"), find_node()
        if not node:
            raise EnvironmentMissingError(
                f"running {folder.name} needs Node, which is not installed here",
                hint=f"{INSTALL_NODE}, or run with --option runtime=chromium",
            )
        # A file, and not a pipe: nobody reads it while the process writes.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [node, str(HOST), str(modules), str(folder), backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._given: Any = self._process.stdin
        self._taken: Any = self._process.stdout
        try:
            self.execution: Mapping[str, str] = self._receive()[0]["execution"]
        except BaseException:
            self.close()
            raise

    def run(self, images: Array) -> dict[str, Array]:
        """One picture, (1, H, W, 3) float32, to (1, h, w, C) outputs by name.

        Raises:
            ArtifactError: the process failed.
        """
        data = images.tobytes()
        # Where the process has ended, what it said before tells more.
        with contextlib.suppress(BrokenPipeError):
            self._given.write(LENGTH.pack(len(data)) + data)
            self._given.flush()
        header, body = self._receive()
        return unpacked(header, body)

    def close(self) -> None:
        """End the process; what it still computes is lost."""
        for stream in (self._given, self._taken):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        length = self._taken.read(LENGTH.size)
        if len(length) < LENGTH.size:
            raise ArtifactError(f"{self._folder}: Node ended while it ran it: {self._said()}")
        header: dict[str, Any] = json.loads(self._taken.read(*LENGTH.unpack(length)))
        if "error" in header:
            raise ArtifactError(f"{self._folder}: TensorFlow.js cannot run it: {header['error']}")
        return header, self._taken.read(header["bytes"])

    def _said(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-5:]) or f"exit code {self._process.returncode}"


def unpacked(header: Mapping[str, Any], body: bytes) -> dict[str, Array]:
    """Name to float32 array, of tensors that lie one behind the other in `body`."""
    found, start = {}, 0
    for name, shape in zip(header["names"], header["shapes"], strict=True):
        array = np.frombuffer(body, np.float32, int(np.prod(shape)), start).reshape(shape)
        found[name], start = array, start + array.nbytes
    return found
