"""The two files of an ncnn network, read without ncnn: what its layers are, and whether the weights fit them.

ncnn itself says on stderr that a weight file ends too early, and computes with any other that is wrong.
Both formats are described in its documentation, developer-guide/param-and-model-file-structure.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from edgeseg.errors import ArtifactError

PARAM_FILE = "model.ncnn.param"
BIN_FILE = "model.ncnn.bin"
MAGIC = b"7767517\n"

CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise")
WEIGHTLESS = frozenset(
    {
        *("BinaryOp", "Concat", "Crop", "Dropout", "ExpandDims", "Flatten", "HardSigmoid", "HardSwish", "Input"),
        *("Interp", "Noop", "Padding", "Permute", "Pooling", "ReLU", "Reduction", "Reshape", "Sigmoid", "Slice"),
        *("Softmax", "Split", "Squeeze", "Swish", "UnaryOp"),
    }
)
"""Layer types that keep nothing in the weight file."""

STORED_TYPES: Mapping[int, tuple[str, int]] = {0: ("fp32", 4), 0x01306B47: ("fp16", 2), 0x000D4B38: ("int8", 1)}
"""First word of a tensor in the weight file, to the type of the numbers behind it and their bytes."""

_FLAG = struct.Struct("<I")


@dataclass(frozen=True)
class Layer:
    """One line of the description.

    Attributes:
        kind: such as Convolution.
        name: of the layer.
        bottoms: names of the tensors that go in.
        tops: names of the tensors that come out.
        params: ``id=value``, as written.
    """

    kind: str
    name: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    params: tuple[str, ...]

    def number(self, key: int, default: int = 0) -> int:
        """One of `params` that is a whole number."""
        values = dict(param.split("=", 1) for param in self.params)
        return int(values.get(str(key), default))

    def renamed(self, names: Mapping[str, str]) -> Layer:
        """The same layer between tensors of other names; those that `names` lacks stay."""
        bottoms, tops = (tuple(names.get(name, name) for name in side) for side in (self.bottoms, self.tops))
        return replace(self, bottoms=bottoms, tops=tops)

    def line(self) -> str:
        """As ncnn writes it."""
        counts = (str(len(self.bottoms)), str(len(self.tops)))
        return f"{self.kind:<24} {self.name:<24} {' '.join((*counts, *self.bottoms, *self.tops, *self.params))}"


def looks_like_ncnn(path: Path) -> bool:
    """A folder with a description that starts with ncnn's magic number, and a weight file."""
    try:
        if not (path / BIN_FILE).is_file():
            return False
        with (path / PARAM_FILE).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_layers(folder: Path) -> list[Layer]:
    """The layers of a description.

    Raises:
        ArtifactError: it is absent or damaged.
    """
    try:
        lines = (folder / PARAM_FILE).read_bytes().decode().splitlines()
        if f"{lines[0]}\n".encode() != MAGIC:
            raise ValueError(f"starts with {lines[0][:20]!r}, expected {MAGIC.decode().strip()}")
        layers = [_layer(line) for line in lines[2:]]
        counts = [len(layers), len({name for layer in layers for name in layer.tops})]
        if counts != [int(count) for count in lines[1].split()]:
            raise ValueError(f"{counts[0]} layers and {counts[1]} tensors, expected {lines[1]}")
        _check_order(layers)
    except (OSError, ValueError, IndexError) as error:
        raise ArtifactError(f"{folder}: {PARAM_FILE} is not readable: {error}", hint="export it again") from error
    return layers


def _layer(line: str) -> Layer:
    kind, name, bottoms, tops, *rest = line.split()
    first, last = int(bottoms), int(bottoms) + int(tops)
    if not 0 <= first <= last <= len(rest) or not all("=" in param for param in rest[last:]):
        raise ValueError(f"layer {name} is cut off")
    return Layer(kind, name, tuple(rest[:first]), tuple(rest[first:last]), tuple(rest[last:]))


def _check_order(layers: list[Layer]) -> None:
    made: set[str] = set()
    for layer in layers:
        if not made.issuperset(layer.bottoms):
            raise ValueError(f"layer {layer.name} takes {sorted(set(layer.bottoms) - made)}, which nothing gives")
        made.update(layer.tops)


def ends_of(layers: list[Layer]) -> tuple[list[str], list[str]]:
    """Names of the tensors that go into a network, and of those that come out, sorted."""
    read = {name for layer in layers for name in layer.bottoms}
    given = sorted(name for layer in layers for name in layer.tops if name not in read)
    return [name for layer in layers if layer.kind == "Input" for name in layer.tops], given


def stored_types(folder: Path, layers: list[Layer]) -> dict[str, str]:
    """Walk the weight file by the description.

    Returns:
        Name of each convolution to the type of its weights: fp32, fp16 or int8.

    Raises:
        ArtifactError: the file is absent, shorter or longer than the layers say, or keeps another type.
    """
    path, types = folder / BIN_FILE, {}
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for layer in layers:
                stored = _skip(file, layer)
                if layer.kind in CONVOLUTIONS:
                    types[layer.name] = stored
            wanted = file.tell()
        if wanted != size:
            raise ValueError(f"{size} bytes, expected {wanted}")
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder}: {BIN_FILE} does not fit {PARAM_FILE}: {error}", hint="export it again"
        ) from error
    return types


def _skip(file: BinaryIO, layer: Layer) -> str:
    """Move behind a layer's weights; returns the type that they are stored in."""
    if layer.kind in CONVOLUTIONS:
        # ncnn's ids: 0 outputs, 5 whether there is a bias, 6 weights.
        stored = _skip_tensor(file, layer.number(6), layer.name)
        file.seek(4 * layer.number(0) if layer.number(5) else 0, 1)
        return _skip_scales(file, layer, stored)
    if layer.kind == "InnerProduct":
        stored = _skip_tensor(file, layer.number(2), layer.name)
        file.seek(4 * layer.number(0) if layer.number(1) else 0, 1)
        return stored
    if layer.kind == "MemoryData":
        count = math.prod(layer.number(key) or 1 for key in (0, 1, 11, 2))
        # Id 21: 1, the default, is numbers without a word in front.
        if layer.number(21, 1) != 1:
            return _skip_tensor(file, count, layer.name)
        file.seek(4 * count, 1)
        return "fp32"
    if layer.kind not in WEIGHTLESS:
        known = ", ".join(sorted({*WEIGHTLESS, *CONVOLUTIONS, "InnerProduct", "MemoryData"}))
        raise ValueError(f"layer {layer.name} is a {layer.kind}, expected one of {known}")
    return ""


def _skip_scales(file: BinaryIO, layer: Layer, stored: str) -> str:
    """Move behind the scales of an int8 layer: of its weights, of what goes in and, above 100, of what comes out."""
    kind = layer.number(8)
    if (stored == "int8") != bool(kind):
        raise ValueError(f"layer {layer.name} has weights of {stored} and scales of kind {kind}")
    if kind:
        # Depthwise layers have one for each group (id 7), or with an even kind one for all.
        grouped = layer.kind == "ConvolutionDepthWise"
        weights = layer.number(0) if not grouped else layer.number(7, 1) if kind % 100 == 1 else 1
        file.seek(4 * (weights + 1 + (kind > 100)), 1)
    return stored


def _skip_tensor(file: BinaryIO, count: int, name: str) -> str:
    head = file.read(_FLAG.size)
    if len(head) < _FLAG.size:
        raise ValueError(f"it ends before the weights of layer {name}")
    (flag,) = _FLAG.unpack(head)
    if flag not in STORED_TYPES:
        raise ValueError(f"the weights of layer {name} are of type {flag:#010x}, expected fp32, fp16 or int8")
    stored, width = STORED_TYPES[flag]
    # Every tensor starts at a multiple of four bytes.
    file.seek((count * width + 3) // 4 * 4, 1)
    return stored
