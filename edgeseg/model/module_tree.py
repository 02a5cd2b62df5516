"""A pickled tree of torch modules, or a state dict, as flat names: tensors, classes and plain attributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from edgeseg.errors import WeightsError
from edgeseg.model.pickle_globals import Inert, StoredTensor

MAX_ENTRIES = 500_000
"""Entries of modules that are visited, each path counted; the nano segmentation network has 6,093."""

MAX_PLAIN_VALUES = 100_000
"""Attribute values that are copied. A few records that contain each other would otherwise unfold without end.
The nano segmentation network has 2,850."""

_MAX_DEPTH = 32
_MAX_NAME = 200  # characters; a hostile file may repeat one long text under many paths
_TABLES = ("_parameters", "_buffers", "_modules")


@dataclass
class ModuleTree:
    """What a pickled network holds, by dotted path; the root's path is empty.

    Attributes:
        tensors: parameters and persistent buffers, as `state_dict()` names them.
        classes: module path to class name, such as ``model.22`` to ``Segment``.
        attributes: module path to the module's numbers, texts and lists of these.
    """

    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)


class PlainCopier:
    """Copies values that JSON can hold and leaves out the others.

    Args:
        where: the file, for error messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._left = MAX_PLAIN_VALUES

    def mapping(self, value: Any) -> dict[str, Any]:
        """A dictionary's plain items, keys as text; a record counts as its state, anything else as empty."""
        state = value.state if isinstance(value, Inert) else value
        return self._mapping(state, 0) if isinstance(state, dict) else {}

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        copied = ((str(key), self._copy(item, depth + 1)) for key, item in value.items())
        return {key: found[0] for key, found in copied if found}

    def _copy(self, value: Any, depth: int) -> tuple[Any, ...]:
        """The copy as a tuple of one, or an empty tuple where JSON has nothing for the value."""
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise WeightsError(
                f"{self._where}: its attributes hold more than {MAX_PLAIN_VALUES:,} values or nest deeper than "
                f"{_MAX_DEPTH}",
                hint="the file is hostile or of another kind",
            )
        match value:
            case None | bool() | int() | float() | str():
                return (value,)
            case list() | tuple():
                return ([item for entry in value for item in self._copy(entry, depth + 1)],)
            case dict():
                return (self._mapping(value, depth),)
            case Inert() if value.kind.name.startswith("pathlib."):
                return self._path(value)
        return ()

    def _path(self, value: Inert) -> tuple[str, ...]:
        parts = [part for part in value.arguments if isinstance(part, str) and len(part) <= _MAX_NAME]
        if len(parts) > _MAX_DEPTH or len(parts) < len(value.arguments):
            return ()
        kind = PureWindowsPath if value.kind.name.endswith("WindowsPath") else PurePosixPath
        self._left -= sum(map(len, parts))
        return (str(kind(*parts)),)


def read_module_tree(root: Inert, copier: PlainCopier, where: str) -> ModuleTree:
    """Walk a pickled module.

    Args:
        root: the record of the outermost module.
        copier: copies the plain attributes.
        where: the file, for error messages.

    Raises:
        WeightsError: a record is no module, or the tree is too large or contains itself.
    """
    tree = ModuleTree()
    for path, module in _walk(root, where):
        state = _module_state(module, path, where)
        tree.classes[path] = module.kind.name.rpartition(".")[2]
        own = {name: value for name, value in state.items() if isinstance(name, str) and name[:1] != "_"}
        tree.attributes[path] = copier.mapping(own)
        passing = state.get("_non_persistent_buffers_set")
        tensors = {**state["_parameters"], **state["_buffers"]}
        kept = {name: value for name, value in tensors.items() if not isinstance(passing, set) or name not in passing}
        tree.tensors.update(read_state_dict(kept, where, f"{path}." if path else ""))
    return tree


def read_state_dict(entries: dict[Any, Any], where: str, prefix: str = "") -> dict[str, StoredTensor]:
    """The tensors of a state dict, or of one module; empty entries are left out.

    Raises:
        WeightsError: a value is no tensor.
    """
    found = {}
    for name, value in entries.items():
        if isinstance(value, StoredTensor) and isinstance(name, str) and len(name) <= _MAX_NAME:
            found[prefix + name] = value
        elif value is not None:
            raise WeightsError(
                f"{where}: {prefix + str(name)[:80]!r} is of type {_kind_of(value)}, expected a tensor",
                hint="give a checkpoint of a YOLOv8 network, or its state_dict()",
            )
    return found


def _walk(root: Inert, where: str) -> Iterator[tuple[str, Inert]]:
    """All modules, parents first, in the order of `state_dict()`."""
    pending: list[tuple[str, Inert, int]] = [("", root, 0)]
    entries = 0
    while pending:
        path, module, depth = pending.pop()
        state = _module_state(module, path, where)
        entries += len(state) + sum(len(state[table]) for table in _TABLES)
        if entries > MAX_ENTRIES or depth > _MAX_DEPTH:
            raise WeightsError(
                f"{where}: its modules hold more than {MAX_ENTRIES:,} entries or nest deeper than {_MAX_DEPTH}",
                hint="the file is hostile or of another kind",
            )
        yield path, module
        for name, child in reversed(state["_modules"].items()):
            child_path = f"{path}.{str(name)[:_MAX_NAME]}" if path else str(name)
            if isinstance(child, Inert) and len(child_path) <= _MAX_NAME:
                pending.append((child_path, child, depth + 1))
            elif child is not None:
                raise _no_module(child_path, child, where)


def _module_state(module: Inert, path: str, where: str) -> dict[Any, Any]:
    state = module.state
    if not (isinstance(state, dict) and all(isinstance(state.get(table), dict) for table in _TABLES)):
        raise _no_module(path, module, where)
    return state


def _no_module(path: str, value: Any, where: str) -> WeightsError:
    return WeightsError(
        f"{where}: {path[:80] or 'the model'!r} is of type {_kind_of(value)}, expected a torch module",
        hint="give a checkpoint of a YOLOv8 network, or its state_dict()",
    )


def _kind_of(value: Any) -> str:
    return value.kind.name if isinstance(value, Inert) else type(value).__name__
