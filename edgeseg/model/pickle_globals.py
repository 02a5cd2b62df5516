"""The globals that a checkpoint may name, and what each becomes: data, never the object that the name means.

A pickle is a program that may call anything importable. Here nothing is imported and nothing is called for it:
a name is looked up in this file, becomes a record, and a name that is absent stops the reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FOREIGN_CLASS = re.compile(r"(ultralytics|models|torch\.nn\.modules)(\.[A-Za-z_]\w{0,60}){1,8}", re.ASCII)
"""Modules and whatever else their authors pickled: `ultralytics.*`, the older `models.*`, torch's own layers."""

STORAGE_DTYPES = {
    "torch.HalfStorage": "<f2",
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.ByteStorage": "|u1",
    "torch.CharStorage": "|i1",
    "torch.ShortStorage": "<i2",
    "torch.IntStorage": "<i4",
    "torch.LongStorage": "<i8",
}
"""Element types of torch's storages as little-endian numpy dtypes. BFloat16 has none and is refused when read."""

_RECORDED = frozenset(
    [
        *STORAGE_DTYPES,
        *(f"torch.{name}" for name in ("BoolStorage", "BFloat16Storage", "device")),
        *(f"torch.{name}" for name in ("float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8")),
        *("builtins.dict", "builtins.int", "builtins.list", "types.SimpleNamespace"),
        *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")),
        # A numpy scalar or array among the training results, in the spellings of numpy 1 and 2.
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        *("numpy.dtype", "numpy.ndarray", "_codecs.encode"),
    ]
)


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names. Only the name: nothing was looked up or imported.

    Attributes:
        name: module and attribute, joined by a dot, such as ``torch.nn.modules.conv.Conv2d``.
    """

    name: str

    @property
    def is_foreign(self) -> bool:
        """Whether it belongs to the packages whose modules a checkpoint holds."""
        return FOREIGN_CLASS.fullmatch(self.name) is not None


@dataclass(eq=False, repr=False)
class Inert:
    """What stands for an object: its class and what the pickle says about it.

    Attributes:
        kind: the class or function that would have been called.
        arguments: what it would have been called with.
        state: what its ``__setstate__`` would have got.
    """

    kind: Global
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class StorageRef:
    """A flat array in a file of its own inside the archive.

    Attributes:
        kind: torch's name of the element type, such as ``torch.HalfStorage``.
        key: the file's name under ``data/``.
        count: elements.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view into a storage; sizes, strides and the offset count elements. Types are checked, ranges are not."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def allowed_global(module: str, name: str) -> Global | None:
    """The record of a global on the list; None where it is not. Python 2's spelling of builtins is accepted."""
    found = Global(f"{'builtins' if module == '__builtin__' else module}.{name}")
    # A dot inside the name would walk through attributes (PEP 3154); no class of a checkpoint is nested.
    if "." in name or not (found.is_foreign or found.name in _RECORDED or found.name in _MEANINGS):
        return None
    return found


def call(kind: Global, arguments: tuple[Any, ...]) -> Any:
    """What calling a global stands for: a container, a tensor's description, or an inert record.

    Raises:
        ValueError: the arguments are not what torch or the interpreter writes.
    """
    meaning = _MEANINGS.get(kind.name)
    return meaning(arguments) if meaning else Inert(kind, arguments)


def storage_of(identifier: Any) -> StorageRef:
    """The storage that a persistent identifier describes: ``("storage", class, key, location, elements)``.

    Raises:
        ValueError: it describes none.
    """
    match identifier:
        case ("storage", Global(name=kind), str(key), str(), int(count)) if count >= 0:
            return StorageRef(kind, key, count)
    raise ValueError("a persistent identifier is no storage")


def set_item(target: dict[Any, Any], key: Any, value: Any) -> None:
    """Set an item whose key is a plain scalar.

    A tuple as key is refused: hashing nested tuples takes time exponential in the length of a hostile pickle.
    """
    if not isinstance(key, str | int | float | None):
        raise ValueError(f"a dictionary key of type {type(key).__name__}, expected text or a number")
    target[key] = value


def add_members(target: set[Any], members: list[Any]) -> None:
    """Add plain scalars to a set; anything else is refused, as in `set_item`."""
    if not all(isinstance(member, str | int | float | None) for member in members):
        raise ValueError("a set of something else than text or numbers")
    target.update(members)


def _mapping(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    match arguments:
        case () | (Global(name="builtins.dict" | "builtins.int" | "builtins.list"),):
            return result
        case ([*pairs],):
            for pair in pairs:
                if not (isinstance(pair, list | tuple) and len(pair) == 2):
                    break
                set_item(result, pair[0], pair[1])
            else:
                return result
    raise ValueError("a mapping is not made from pairs")


def _set(arguments: tuple[Any, ...]) -> set[Any]:
    result: set[Any] = set()
    match arguments:
        case ():
            return result
        case ([*members],):
            add_members(result, members)
            return result
    raise ValueError("a set is not made from one list")


def _bound_method(arguments: tuple[Any, ...]) -> Inert:
    """A method of a foreign class, which is how a head keeps its parent's ``forward``."""
    match arguments:
        case (Global() as owner, str(name)) if owner.is_foreign and name.isidentifier() and name[0] != "_":
            return Inert(Global(f"{owner.name}.{name}"), ())
    raise ValueError("getattr is used for something else than a public method of a module's class")


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    match arguments:
        case (StorageRef() as storage, int(offset), (*shape,), (*strides,), bool(), _):
            if all(type(number) is int for number in (offset, *shape, *strides)):
                return StoredTensor(storage, offset, tuple(shape), tuple(strides))
    raise ValueError("a tensor is not described by storage, offset, sizes, strides, requires_grad and hooks")


def _parameter(arguments: tuple[Any, ...]) -> StoredTensor:
    match arguments:
        case (StoredTensor() as tensor, bool(), _):
            return tensor
    raise ValueError("a parameter is not made from one tensor")


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    match arguments:
        case ((*sizes,),):
            return tuple(sizes)
    raise ValueError("a torch.Size is not made from sizes")


_MEANINGS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "builtins.set": _set,
    "builtins.getattr": _bound_method,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
}
