"""A program ready to run: constants made once, every value freed after its last use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgeseg.errors import ArtifactError

from .constants import DENSE, dense, halved, is_half, plain
from .operations import MOVES, OPERATIONS, Results

CONSTANTS = frozenset(("const", *DENSE))


@dataclass
class Step:
    """One operation.

    Attributes:
        kind: its name in MIL.
        fixed: arguments that are constants.
        taken: arguments that are earlier results, by the names of these.
        given: names of its results.
        halves: which results are fp16.
        free: results that no later step takes.
    """

    kind: str
    fixed: dict[str, Any]
    taken: dict[str, str | tuple[str, ...]]
    given: tuple[str, ...]
    halves: tuple[bool, ...]
    free: tuple[str, ...] = ()

    def taken_names(self, key: str | None = None) -> tuple[str, ...]:
        """Names of the earlier results that it takes, of one argument or of all."""
        keys = self.taken if key is None else {key} & self.taken.keys()
        return tuple(name for one in keys for name in _names(self.taken[one]))


class Program:
    """The `main` function of a program.

    Args:
        program: coremltools' `Program`, as loaded from a package.
        where: the package, for errors.

    Raises:
        ArtifactError: an operation that the evaluator does not have.
    """

    def __init__(self, program: Any, where: str) -> None:
        main = program.functions["main"]
        operations = list(main.operations)
        unknown = sorted({operation.op_type for operation in operations} - OPERATIONS.keys() - CONSTANTS)
        if unknown:
            raise ArtifactError(
                f"{where}: operations that the evaluator does not have: {', '.join(unknown)}",
                hint="run it on a Mac; the evaluator has " + ", ".join(sorted(OPERATIONS)),
            )
        self.inputs = {name: is_half(var) for name, var in main.inputs.items()}
        self.outputs = tuple(var.name for var in main.outputs)
        made = {op.outputs[0].name: dense(op) for op in operations if op.op_type in DENSE}
        self.steps = [_step(op, made) for op in operations if op.op_type not in CONSTANTS]
        self._free_early()

    @property
    def halves(self) -> int:
        """How many steps give fp16."""
        return sum(any(step.halves) for step in self.steps)

    def run(self, inputs: Mapping[str, Tensor], wanted: Sequence[str] = ()) -> dict[str, Tensor]:
        """Compute all outputs; float32, with fp16 values rounded after each operation.

        Args:
            inputs: by name.
            wanted: results of steps to give too.
        """
        values = {name: halved(inputs[name]) if half else inputs[name] for name, half in self.inputs.items()}
        with torch.inference_mode():
            for step in self.steps:
                values.update(zip(step.given, _results(step, values), strict=True))
                for name in step.free:
                    if name not in wanted:
                        del values[name]
        return {name: values[name] for name in (*self.outputs, *wanted)}

    def _free_early(self) -> None:
        last = {name: step for step in self.steps for names in step.taken.values() for name in _names(names)}
        last |= {name: step for step in self.steps for name in step.given if name not in last}
        for name, step in last.items():
            if name not in self.outputs:
                step.free = (*step.free, name)


def _results(step: Step, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    taken = {
        key: values[names] if isinstance(names, str) else [values[name] for name in names]
        for key, names in step.taken.items()
    }
    found: Results = OPERATIONS[step.kind]({**step.fixed, **taken})
    results = found if isinstance(found, tuple) else (found,)
    if step.kind in MOVES:
        return results
    return tuple(halved(result) if half else result for result, half in zip(results, step.halves, strict=True))


def _step(operation: Any, made: Mapping[str, Tensor]) -> Step:
    step = Step(
        operation.op_type,
        {},
        {},
        tuple(var.name for var in operation.outputs),
        tuple(is_half(var) for var in operation.outputs),
    )
    for key, value in operation.inputs.items():
        if value is None:
            continue
        if isinstance(value, list | tuple):
            step.taken[key] = tuple(var.name for var in value)
        elif value.name in made:
            step.fixed[key] = made[value.name]
        elif value.op is not None and value.op.op_type == "const":
            step.fixed[key] = plain(value.val)
        else:
            step.taken[key] = value.name
    return step


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
