"""The two files of a Paddle inference model, read without Paddle: what the program does, and whether parameters fit it.

`model.json` is the program in Paddle's intermediate representation (PIR, Paddle 3.0 and newer); its layout was read
off files that Paddle 3.2.2 writes. `model.pdiparams` holds one record a parameter, sorted by their names, in the
format of `SerializeToStream` of a DenseTensor (paddle/phi/core/framework/dense_tensor_serialize.cc).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgeseg.errors import ArtifactError
from edgeseg.tensors import Dimension, TensorSpec

PROGRAM_FILE = "model.json"
PARAMS_FILE = "model.pdiparams"
FOREIGN_FOLDER = "inference_model"
"""Where x2paddle, and exporters that leave its output as it is, put the two files."""

MAGIC = b'"magic":"pir"'
PARAMETER, INPUT, OUTPUT = "p", "1.data", "1.fetch"
"""Kinds of operations in `PROGRAM_FILE`: a stored parameter, what goes in, what comes out."""

FLOAT_TYPES: Mapping[str, str] = {"0.t_f32": "float32", "0.t_f16": "float16", "0.t_bf16": "bfloat16"}
"""Types of tensors in `PROGRAM_FILE` that a network's own tensors may have."""

STORED_TYPES: Mapping[int, tuple[str, int]] = {
    0: ("bool", 1),
    2: ("int32", 4),
    3: ("int64", 8),
    4: ("float16", 2),
    5: ("float32", 4),
    6: ("float64", 8),
    20: ("uint8", 1),
    21: ("int8", 1),
    22: ("bfloat16", 2),
}
"""Number of a type in `PARAMS_FILE` (paddle/fluid/framework/framework.proto, VarType) to its name and bytes."""


@dataclass(frozen=True)
class Program:
    """What a program declares.

    Attributes:
        operators: names in their order, such as conv2d; without parameters, inputs and outputs.
        parameters: name to shape.
        inputs: in their order.
        outputs: in their order.
    """

    operators: tuple[str, ...]
    parameters: Mapping[str, tuple[int, ...]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class StoredParameter:
    """One record of the parameter file.

    Attributes:
        type: such as float32.
        shape: of the tensor.
    """

    type: str
    shape: tuple[int, ...]


def network_folder(path: Path) -> Path:
    """The folder that has the two files: `path`, or the one inside it where other exporters put them."""
    return path if (path / PROGRAM_FILE).is_file() else path / FOREIGN_FOLDER


def looks_like_paddle(path: Path) -> bool:
    """A folder with a PIR program and a parameter file."""
    folder = network_folder(path)
    try:
        if not (folder / PARAMS_FILE).is_file():
            return False
        with (folder / PROGRAM_FILE).open("rb") as file:
            return MAGIC in file.read(256)
    except OSError:
        return False


def read_program(folder: Path) -> Program:
    """The program of a folder.

    Raises:
        ArtifactError: it is absent or damaged.
    """
    operations = _operations(_content(folder), folder)
    try:
        found: dict[str, list[Any]] = {PARAMETER: [], INPUT: [], OUTPUT: []}
        operators = []
        for operation in operations:
            kind = operation["#"]
            if kind in found:
                found[kind].append(operation)
            else:
                operators.append(kind.partition(".")[2])
        parameters = {each["A"][3]: tuple(each["O"]["TT"]["D"][1]) for each in found[PARAMETER]}
        return Program(tuple(operators), parameters, *(tuple(map(_spec, found[kind])) for kind in (INPUT, OUTPUT)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(folder, repr(error)) from error


def renamed(folder: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Give the tensors at a program's edges other names, in their order.

    Raises:
        ArtifactError: it has another number of them.
    """
    content = _content(folder)
    for kind, names in ((INPUT, inputs), (OUTPUT, outputs)):
        edges = [operation for operation in _operations(content, folder) if operation["#"] == kind]
        if len(edges) != len(names):
            raise _unreadable(folder, f"{len(edges)} of {kind}, expected {len(names)}")
        for operation, name in zip(edges, names, strict=True):
            _attribute(operation, "name")["D"] = name
    # As Paddle writes it.
    (folder / PROGRAM_FILE).write_bytes(json.dumps(content, separators=(",", ":")).encode())


def stored_parameters(folder: Path, program: Program) -> dict[str, StoredParameter]:
    """Walk the parameter file by its records.

    Returns:
        Name of each parameter to what is stored.

    Raises:
        ArtifactError: the file is absent, shorter or longer than the program says, or keeps other shapes.
    """
    path, found = folder / PARAMS_FILE, {}
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for name in sorted(program.parameters):
                found[name] = _skip(file, name, size)
                if found[name].shape != program.parameters[name]:
                    wanted = program.parameters[name]
                    raise ValueError(f"{name} has the shape {found[name].shape}, expected {wanted}")
            end = file.tell()
        if end != size:
            raise ValueError(f"{size} bytes, expected {end}")
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ArtifactError(
            f"{folder}: {PARAMS_FILE} does not fit {PROGRAM_FILE}: {error}", hint="export it again"
        ) from error
    return found


def _content(folder: Path) -> Any:
    try:
        return json.loads((folder / PROGRAM_FILE).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(folder, str(error)) from error


def _operations(content: Any, folder: Path) -> list[Any]:
    try:
        (region,) = content["program"]["regions"]
        (block,) = region["blocks"]
        operations = block["ops"]
        if not isinstance(operations, list) or not operations:
            raise ValueError("no operations")
    except (LookupError, TypeError, ValueError) as error:
        raise _unreadable(folder, repr(error)) from error
    return operations


def _unreadable(folder: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{folder}: {PROGRAM_FILE} is not readable: {reason}", hint="export it again")


def _attribute(operation: Any, name: str) -> Any:
    return next(each["AT"] for each in operation["A"] if each["N"] == name)


def _spec(operation: Any) -> TensorSpec:
    """Of an operation at an edge; a dimension that is open is -1 in the file."""
    (output,) = operation["O"]
    kind, shape = output["TT"]["D"][:2]
    sizes: tuple[Dimension, ...] = tuple(size if size >= 0 else f"axis{axis}" for axis, size in enumerate(shape))
    return TensorSpec(_attribute(operation, "name")["D"], sizes, FLOAT_TYPES.get(kind["#"], kind["#"]))


def _skip(file: BinaryIO, name: str, size: int) -> StoredParameter:
    """Move behind one record: versions, levels, a description in protobuf's wire format, the numbers."""
    version, levels, tensor_version, length = struct.unpack("<IQIi", file.read(20))
    if (version, levels, tensor_version) != (0, 0, 0) or not 0 < length <= size:
        raise ValueError(f"no record of the parameter {name} at byte {file.tell() - 20}")
    stored = _described(file.read(length), name)
    file.seek(math.prod(stored.shape) * dict(STORED_TYPES.values())[stored.type], 1)
    if file.tell() > size:
        raise ValueError(f"it ends before the end of the parameter {name}")
    return stored


def _described(data: bytes, name: str) -> StoredParameter:
    """The message TensorDesc: field 1 is the type, field 2, repeated, the shape."""
    numbers = list(_varints(data))
    kind, shape = -1, []
    for field, value in zip(numbers[::2], numbers[1::2], strict=True):
        if field == 1 << 3:
            kind = value
        elif field == 2 << 3:
            shape.append(value)
        else:
            raise ValueError(f"the parameter {name} has an unknown description")
    if kind not in STORED_TYPES:
        raise ValueError(f"the parameter {name} is of type {kind}, expected one of {sorted(STORED_TYPES)}")
    return StoredParameter(STORED_TYPES[kind][0], tuple(shape))


def _varints(data: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value)
            value = shift = 0
    return found
