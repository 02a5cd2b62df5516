"""What a card may say under `options` of a tfjs target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class TfjsOptions(Options):
    """Export options. Batch and size are fixed; outputs are the ten raw tensors, which the page decodes."""

    page: bool = Field(
        True, description="with the web page that runs it, and TensorFlow.js itself; false: the graph model alone"
    )


class TfjsRunOptions(Options):
    """Run options."""

    runtime: Literal["node", "chromium"] = Field("node", description="what runs the JavaScript")
    backend: Literal["wasm", "cpu", "webgl", "webgpu"] = Field(
        "wasm", description="TensorFlow.js backend: wasm or cpu in Node, wasm, webgl or webgpu in the browser"
    )
