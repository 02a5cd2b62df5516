"""Reads the pickle of a checkpoint as data.

`pickle.Unpickler` with a strict `find_class` is not enough for a file from a stranger: its BUILD writes into the
attributes of allowed objects, a large memo index allocates gigabytes, and a dictionary key made of nested tuples
takes exponential time to hash. So the few operations that torch writes are carried out here, on plain containers
and inert records. The operations' encoding is the standard library's (`pickletools`).
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any

from edgeseg.errors import WeightsError
from edgeseg.model.pickle_globals import Global, Inert, add_members, allowed_global, call, set_item, storage_of

MAX_OPERATIONS = 1_000_000
"""Bound on time and memory. The official nano segmentation checkpoint takes 38,438, one with an optimizer
and the largest network some ten times that."""

_MAX_INTEGER_BITS = 64
_REFUSED_HINT = (
    "a checkpoint does not need it, so the file is broken, hostile or of another kind; nothing of it was run. "
    "If you trust it, save its state_dict() with torch and import that"
)


def read_pickle(data: bytes, where: str) -> Any:
    """The value that a pickle describes, made of containers, scalars and the records of `pickle_globals`.

    Args:
        data: the pickle, protocol 2 to 5.
        where: the file, for error messages.

    Raises:
        WeightsError: an operation or a global is not on the list, or the pickle is damaged or too long.
    """
    return _Machine(data, where).run()


class _Machine:
    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self.stream = io.BytesIO(data)
        self.stack: list[Any] = []
        self.below_marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_OPERATIONS):
            position = self.stream.tell()
            code = self.stream.read(1)
            if code == b".":
                return self._result()
            if code not in _CODES:
                raise self._refused_operation(code, position)
            name, read_argument = _CODES[code]
            try:
                _OPERATIONS[name](self, read_argument(self.stream) if read_argument else None)
            except (IndexError, ValueError, OverflowError) as error:
                raise self._damaged(f"{name} at byte {position}: {error}") from error
        raise WeightsError(
            f"{self.where}: the pickle has more than {MAX_OPERATIONS:,} operations",
            hint="no checkpoint of this family is that long; the file is hostile or of another kind",
        )

    def _result(self) -> Any:
        if len(self.stack) != 1 or self.below_marks:
            raise self._damaged("it ends before its value is complete")
        return self.stack[0]

    def _damaged(self, problem: str) -> WeightsError:
        return WeightsError(f"{self.where}: the pickle is damaged: {problem[:200]}", hint="get the file again")

    def _refused_operation(self, code: bytes, position: int) -> WeightsError:
        name = next((known.name for known in pickletools.opcodes if known.code.encode("latin-1") == code), None)
        if name is None:
            return self._damaged(f"no operation at byte {position}")
        return WeightsError(
            f"{self.where}: the pickle uses the operation {name} at byte {position}, "
            "which is not on the list of what a checkpoint needs",
            hint=_REFUSED_HINT,
        )

    def pop_to_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.below_marks.pop()
        return items

    def mark(self, _: None) -> None:
        self.below_marks.append(self.stack)
        self.stack = []

    def protocol(self, version: int) -> None:
        if not 2 <= version <= 5:
            raise ValueError(f"protocol {version}, expected 2 to 5")

    def frame(self, _: int) -> None:
        """A frame only announces a length, which nothing here relies on."""

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_integer(self, value: int) -> None:
        # Longer ones are no sizes, and chosen to collide they make dictionaries slow.
        if value.bit_length() >= _MAX_INTEGER_BITS:
            raise ValueError(f"an integer of {value.bit_length()} bits")
        self.stack.append(value)

    def push_text(self, text: str) -> None:
        if not text.isascii():
            text.encode()  # a lone surrogate passes the pickle's decoder and fails whoever prints it
        self.stack.append(text)

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack.pop() for _ in range(count))
        self.stack.append(items[::-1])

    def tuple_to_mark(self, _: None) -> None:
        items = tuple(self.pop_to_mark())
        self.stack.append(items)

    def append(self, _: None) -> None:
        item = self.stack.pop()
        self._top(list).append(item)

    def appends(self, _: None) -> None:
        items = self.pop_to_mark()
        self._top(list).extend(items)

    def set_one(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        set_item(self._top(dict), key, value)

    def set_items(self, _: None) -> None:
        items = self.pop_to_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            set_item(target, key, value)

    def add_items(self, _: None) -> None:
        members = self.pop_to_mark()
        add_members(self._top(set), members)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"memo {index} was never filled")
        self.stack.append(self.memo[index])

    def name_global(self, names: tuple[str, str]) -> None:
        module, name = names
        found = allowed_global(module, name)
        if found is None:
            raise WeightsError(
                f"{self.where}: the pickle asks for the global {f'{module}.{name}'[:120]!r}, "
                "which is not on the list of what a checkpoint needs",
                hint=_REFUSED_HINT,
            )
        self.stack.append(found)

    def name_global_from_stack(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("a global's name is no text")
        self.name_global((module, name))

    def call(self, _: None) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not (isinstance(kind, Global) and isinstance(arguments, tuple)):
            raise ValueError("it calls something else than a global with a tuple of arguments")
        self.stack.append(call(kind, arguments))

    def build(self, _: None) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, dict):  # a state dict's own attribute is `_metadata`: versions of layers
            raise ValueError(f"it sets attributes of a {type(target).__name__}")

    def storage(self, _: None) -> None:
        self.stack.append(storage_of(self.stack.pop()))

    def _top(self, kind: type) -> Any:
        target = self.stack[-1]
        if not isinstance(target, kind):
            raise ValueError(f"it adds items to a {type(target).__name__}, expected a {kind.__name__}")
        return target


def _read_global(stream: io.BytesIO) -> tuple[str, str]:
    """Module and name, a line each. The reader of `pickletools` also undoes escapes, which `pickle` does not."""
    lines = stream.readline(), stream.readline()
    if not lines[1].endswith(b"\n"):
        raise ValueError("the global's name has no end")
    return lines[0][:-1].decode(), lines[1][:-1].decode()


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": _Machine.frame,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "BININT": _Machine.push,
    "BININT1": _Machine.push,
    "BININT2": _Machine.push,
    "LONG1": _Machine.push_integer,
    "BINFLOAT": _Machine.push,
    "BINBYTES": _Machine.push,
    "SHORT_BINBYTES": _Machine.push,
    "BINUNICODE": _Machine.push_text,
    "SHORT_BINUNICODE": _Machine.push_text,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": _Machine.tuple_to_mark,
    "MARK": _Machine.mark,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_one,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name_global,
    "STACK_GLOBAL": _Machine.name_global_from_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}
"""All operations that torch's checkpoints use; those that are not here (INST, OBJ, EXT1 ...) are refused."""

_CODES: dict[bytes, tuple[str, Callable[[Any], Any] | None]] = {
    operation.code.encode("latin-1"): (operation.name, operation.arg.reader if operation.arg else None)
    for operation in pickletools.opcodes
    if operation.name in _OPERATIONS
} | {b"c": ("GLOBAL", _read_global)}
