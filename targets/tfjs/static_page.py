"""The page beside the model: its own files, and the built files of TensorFlow.js that it loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .modules import distribution, require_modules

PAGE = Path(__file__).with_name("page")
INDEX = "index.html"
SCRIPTS = "page"
"""Folder of the page's own files in an artifact, and here."""

LIBRARY = "tfjs"
"""Folder of TensorFlow.js in an artifact."""

BUILT: Mapping[str, tuple[str, ...]] = {
    "tfjs-core": ("tf-core.es2017.min.js",),
    "tfjs-converter": ("tf-converter.es2017.min.js",),
    "tfjs-backend-webgl": ("tf-backend-webgl.es2017.min.js",),
    "tfjs-backend-webgpu": ("tf-backend-webgpu.es2017.min.js",),
    "tfjs-backend-wasm": (
        "tf-backend-wasm.es2017.min.js",
        "tfjs-backend-wasm.wasm",
        "tfjs-backend-wasm-simd.wasm",
        "tfjs-backend-wasm-threaded-simd.wasm",
    ),
}
"""Package to its files that the page loads; of the backends only the one that is chosen."""

NOTICE = """\
TensorFlow.js 4.22.0, as its packages on npm have it: @tensorflow/{packages}.
Copyright Google LLC. Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""


def page_files() -> dict[str, Path]:
    """Name in an artifact of each of the page's own files, to where it lies."""
    own = (path for path in PAGE.iterdir() if path.suffix in (".js", ".css", ".svg"))
    return {INDEX: PAGE / INDEX, **{f"{SCRIPTS}/{path.name}": path for path in sorted(own)}}


def library_files() -> dict[str, Path]:
    """Name in an artifact of each file of TensorFlow.js, to where npm put it."""
    return {f"{LIBRARY}/{name}": distribution(package) / name for package, names in BUILT.items() for name in names}


def write_page(folder: Path) -> None:
    """Copy all that the page consists of.

    Raises:
        EnvironmentMissingError: the npm packages are not installed.
    """
    require_modules("the page needs TensorFlow.js beside it")
    for name, source in {**page_files(), **library_files()}.items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    (folder / LIBRARY / "NOTICE.txt").write_text(NOTICE.format(packages=", @tensorflow/".join(BUILT)))
