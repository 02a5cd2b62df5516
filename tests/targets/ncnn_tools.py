"""Stand-ins for ncnn's `ncnn2table` and `ncnn2int8`, which no package brings along.

They take the documented command lines and do the documented work in the simplest way: symmetric ranges by the largest
value, every Convolution to int8. What they write is loaded and run by ncnn itself. So they prove what edgeseg hands to
such programs and what it does with their files, and nothing about the programs that ncnn's sources build.
"""

from __future__ import annotations

import importlib
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.tensors import Array

read_layers: Callable[[Path], list[Any]] = importlib.import_module("edgeseg_targets.ncnn.network").read_layers

INT8_TAG = b"\x38\x4b\x0d\x00"
QUANTISED = "Convolution"


def install(folder: Path, names: Sequence[str] = ("ncnn2table", "ncnn2int8")) -> Path:
    """Write the programs into a folder for PATH."""
    root = Path(__file__).parents[2]
    for name in names:
        path = folder / name
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
            f"from tests.targets import ncnn_tools\nncnn_tools.{name}(sys.argv[1:])\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return folder


def ncnn2table(words: list[str]) -> None:
    """``ncnn2table PARAM BIN LIST TABLE key=value...``: a scale for what goes into each layer."""
    import cv2
    import ncnn

    param, weights, listed, table, *pairs = words
    asked = dict(pair.split("=", 1) for pair in pairs)
    assert (asked["mean"], asked["pixel"], asked["method"]) == ("[0,0,0]", "RGB", "kl")
    norm = np.float32(asked["norm"].strip("[]").split(",")[0])
    width, height, _ = (int(side) for side in asked["shape"].strip("[]").split(","))
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    # What is in the middle of the network must be there to be asked for.
    net.opt.lightmode = False
    assert net.load_param(param) == net.load_model(weights) == 0
    layers = [layer for layer in read_layers(Path(param).parent) if layer.kind == QUANTISED]
    largest = dict.fromkeys((layer.name for layer in layers), 0.0)
    for name in Path(listed).read_text().split():
        picture = cv2.imread(name)
        assert picture is not None
        assert picture.shape == (height, width, 3)
        image = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1), np.float32) * norm
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image).clone())
            for layer in layers:
                _, mat = extractor.extract(layer.bottoms[0])
                largest[layer.name] = max(largest[layer.name], float(np.abs(np.array(mat)).max()))
    Path(table).write_text("".join(f"{name} {127 / value}\n" for name, value in largest.items()))


def ncnn2int8(words: list[str]) -> None:
    """``ncnn2int8 PARAM BIN OUTPARAM OUTBIN TABLE``."""
    param, weights, out_param, out_weights, table = map(Path, words)
    scales = {name: float(value) for name, value in map(str.split, table.read_text().splitlines())}
    data, written, position, lines = weights.read_bytes(), b"", 0, param.read_text().splitlines()[:2]
    for layer in read_layers(param.parent):
        size, quantised = _bytes_of(layer), layer.name in scales
        own = data[position : position + size]
        written += _int8(layer, own, scales[layer.name]) if quantised else own
        lines.append(layer.line() + (" 8=2" if quantised else ""))
        position += size
    assert position == len(data)
    out_param.write_text("\n".join(lines) + "\n")
    out_weights.write_bytes(written)


def _bytes_of(layer: Any) -> int:
    """Of a float32 layer in the weight file."""
    if layer.kind in (QUANTISED, "Deconvolution"):
        return int(4 + 4 * layer.number(6) + 4 * layer.number(0) * layer.number(5))
    if layer.kind == "MemoryData":
        return 4 * int(np.prod([layer.number(key) or 1 for key in (0, 1, 11, 2)]))
    return 0


def _int8(layer: Any, data: bytes, scale: float) -> bytes:
    kernels: Array = np.frombuffer(data[4:], np.float32, layer.number(6)).reshape(layer.number(0), -1)
    own = 127 / np.abs(kernels).max(axis=1)
    values: bytes = np.clip(np.rint(kernels * own[:, None]), -127, 127).astype(np.int8).tobytes()
    bias: bytes = data[4 + 4 * layer.number(6) :]
    scales: Array = np.array([*own, scale], np.float32)
    return INT8_TAG + values + bytes(-len(values) % 4) + bias + scales.tobytes()
