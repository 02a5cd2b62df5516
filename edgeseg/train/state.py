"""What a training needs to go on after a kill: one file, written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgeseg.errors import UsageError
from edgeseg.files import replacing
from edgeseg.train.callbacks import Epoch

SCHEMA = 1


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: 1-based, the one in progress.
        step: steps of it that are done.
        losses: sums over these steps, in the order of `edgeseg.train.callbacks.LOSSES`.
        seconds: wall time of these steps.
        pictures: learned in these steps.
    """

    epoch: int = 1
    step: int = 0
    losses: list[float] = field(default_factory=lambda: [0.0] * 4)
    seconds: float = 0.0
    pictures: int = 0


@dataclass(frozen=True)
class Saved:
    """A state file's content.

    Attributes:
        identity: what the curve depends on, flat; a resume with another one is refused.
        position: how far it was.
        epochs: finished epochs.
        tensors: states of network, average, optimizer, loss scale and random numbers.
    """

    identity: Mapping[str, Any]
    position: Position
    epochs: list[Epoch]
    tensors: dict[str, Any]


def save_state(path: Path, saved: Saved) -> None:
    """Write a state, atomically.

    Raises:
        OutputError: it cannot be written: the disk is full, for instance.
    """
    content = {
        "schema": SCHEMA,
        "identity": dict(saved.identity),
        "position": asdict(saved.position),
        "epochs": [asdict(epoch) for epoch in saved.epochs],
        "tensors": saved.tensors,
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # After a failed write torch's writer fails again as it closes, and hides why.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_state(path: Path, identity: Mapping[str, Any]) -> Saved:
    """Read a state that a training of this identity left.

    Raises:
        UsageError: no such file, not readable, or of another training: the message names what differs.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no training to resume", hint="without --resume a new one starts")
    saved = _read(path)
    found, asked = _flat(saved.identity), _flat(identity)
    differing = [key for key in sorted(asked.keys() | found.keys()) if asked.get(key) != found.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {found.get(key)!r}, now {asked.get(key)!r}" for key in differing[:5])
        raise UsageError(
            f"{path}: another training, it would not go on along the same curve: {shown}",
            hint="resume with the same card and weights, or choose another --output",
        )
    return saved


def _read(path: Path) -> Saved:
    try:
        with warnings.catch_warnings():
            # torch warns of pickles that it then refuses.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
        if content["schema"] != SCHEMA:
            raise UsageError(f"{path}: the state of another version of edgeseg", hint="start again without --resume")
        return Saved(
            dict(content["identity"]),
            Position(**content["position"]),
            [Epoch(**row) for row in content["epochs"]],
            dict(content["tensors"]),
        )
    except UsageError:
        raise
    except Exception as error:
        # torch's own words would recommend to run what the file contains.
        raise UsageError(
            f"{path}: not readable as a training's state ({type(error).__name__}): cut off, damaged, or something else",
            hint="start a new training, in another --output or after removing this file",
        ) from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections within sections under dotted keys, so that a message names the one value that differs."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
