"""Foreign `.pt` checkpoints, read without torch and without running anything that they contain."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgeseg.errors import WeightsError
from edgeseg.files import sha256_of
from edgeseg.model.module_tree import ModuleTree, PlainCopier, read_module_tree, read_state_dict
from edgeseg.model.pickle_globals import Inert, StoredTensor
from edgeseg.model.torch_archive import TorchArchive, open_archive

_NETWORK_KEYS = ("ema", "model", "state_dict")
"""Where a checkpoint keeps its network, best first: the moving average is what its authors evaluate."""


@dataclass(frozen=True)
class Checkpoint:
    """A foreign checkpoint as plain data.

    Attributes:
        tensors: name, such as ``model.0.conv.weight``, to a contiguous array in the dtype it is stored in.
        source: the entry that was read: ``ema``, ``model``, ``state_dict``, or empty for a bare network.
        source_sha256: hex sha256 of the file.
        names: class names by class id; empty where the file has none.
        strides: input pixels per cell of each level, smallest first; empty for a state dict.
        train_args: what the network was trained with, values that JSON can hold.
        date: as written by the trainer, ISO 8601; empty where absent, as are the next two.
        version: version of the trainer.
        license: licence as the file states it.
        module_classes: module path to class name, ``model.22`` to ``Segment``; empty for a state dict.
        hyperparameters: module path to the module's plain attributes, such as nc, nm, npr and reg_max of the
            head; the path of the network itself is empty.
    """

    tensors: dict[str, NDArray[Any]]
    source: str
    source_sha256: str
    names: tuple[str, ...] = ()
    strides: tuple[float, ...] = ()
    train_args: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    version: str = ""
    license: str = ""
    module_classes: dict[str, str] = field(default_factory=dict)
    hyperparameters: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that `torch.save` wrote: a whole module, a dictionary with one, or a state dict.

    Args:
        path: the ``.pt`` file, torch 1.6 or newer.

    Raises:
        WeightsError: the file is no such checkpoint, is damaged, or asks for anything beyond data.
    """
    where = str(path)
    with open_archive(path) as archive:
        content, source, network = _find_network(archive.root(), where)
        copier = PlainCopier(where)
        tree = _read_network(network, copier, where)
        if not tree.tensors:
            raise WeightsError(f"{where}: the network holds no tensors", hint="give a trained checkpoint")
        state = network.state if isinstance(network, Inert) else {}
        return Checkpoint(
            tensors={name: archive.tensor(stored, name) for name, stored in tree.tensors.items()},
            source=source,
            source_sha256=sha256_of(path),
            names=_class_names(state.get("names", content.get("names")), where),
            strides=_strides(state.get("stride"), archive),
            train_args=copier.mapping(content.get("train_args") or state.get("args")),
            date=_text(content, "date"),
            version=_text(content, "version"),
            license=_text(content, "license"),
            module_classes=tree.classes,
            hyperparameters=tree.attributes,
        )


def _find_network(root: Any, where: str) -> tuple[dict[Any, Any], str, Any]:
    """The checkpoint's dictionary, the key of the network in it, and the network."""
    if isinstance(root, Inert):
        return {}, "", root
    if isinstance(root, dict):
        for key in _NETWORK_KEYS:
            if root.get(key) is not None:
                return root, key, root[key]
        if root and all(isinstance(value, StoredTensor) for value in root.values()):
            return {}, "", root
        found = f"a dictionary with the keys {', '.join(repr(str(key)[:40]) for key in list(root)[:20])}"
    else:
        found = f"a value of type {type(root).__name__}"
    raise WeightsError(
        f"{where}: holds {found}, expected a network",
        hint=f"a checkpoint has one under {' or '.join(_NETWORK_KEYS)}, or is a state_dict()",
    )


def _read_network(network: Any, copier: PlainCopier, where: str) -> ModuleTree:
    if isinstance(network, Inert):
        return read_module_tree(network, copier, where)
    if isinstance(network, dict):
        return ModuleTree(tensors=read_state_dict(network, where))
    raise WeightsError(
        f"{where}: its network is of type {type(network).__name__}, expected a torch module or a state_dict()"
    )


def _class_names(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, dict) and set(value) == set(range(len(value))):
        value = [value[index] for index in range(len(value))]
    if value is None:
        return ()
    if not (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)):
        raise WeightsError(f"{where}: its class names are no list of texts, nor a dictionary of them from 0 up")
    return tuple(value)


def _strides(value: Any, archive: TorchArchive) -> tuple[float, ...]:
    if not isinstance(value, StoredTensor):
        return ()
    return tuple(float(stride) for stride in archive.tensor(value, "stride").ravel())


def _text(content: dict[Any, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""
