"""No file makes the reader run, write or take anything: each ends in WeightsError that names it, and fast."""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeseg.model import restricted_pickle
from edgeseg.model.checkpoint import read_checkpoint
from edgeseg.model.pickle_globals import Inert
from tests.model.torch_zip import (
    ORDERED,
    Call,
    Name,
    Raw,
    Stored,
    assemble,
    code_of,
    module,
    refused,
    tensor,
    write_archive,
)

MARK = b"("
POSIX = Name("posix", "system")
FOREIGN = Name("ultralytics.nn.modules", "Conv")


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that exists once a payload has run."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "the payload ran"


def _touch(marker: Path) -> str:
    return f"touch '{marker}'"


def _write(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def test_payload_runs_in_an_ordinary_unpickler(tmp_path: Path) -> None:
    path = tmp_path / "control"
    pickle.loads(assemble(Call(POSIX, (_touch(path),))))
    assert path.exists()


CALLS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "posix_system": (lambda m: Call(POSIX, (_touch(m),)), "'posix.system'"),
    "os_system": (lambda m: Call(Name("os", "system"), (_touch(m),)), "'os.system'"),
    "nt_system": (lambda m: Call(Name("nt", "system"), (_touch(m),)), "'nt.system'"),
    "popen": (lambda m: Call(Name("subprocess", "Popen"), (["touch", str(m)],)), "'subprocess.Popen'"),
    "eval": (lambda m: Call(Name("builtins", "eval"), (_write(m),)), "'builtins.eval'"),
    "exec_python2": (lambda m: Call(Name("__builtin__", "exec"), (_write(m),)), "'__builtin__.exec'"),
    "open": (lambda m: Call(Name("io", "open"), (str(m), "w")), "'io.open'"),
    "import": (lambda m: Call(Name("builtins", "__import__"), ("os",)), "'builtins.__import__'"),
    "torch_load": (lambda m: Call(Name("torch", "load"), (str(m),)), "'torch.load'"),
    "torch_serialization": (
        lambda m: Call(Name("torch.serialization", "load"), (str(m),)),
        "'torch.serialization.load'",
    ),
    "torch_hub": (lambda m: Call(Name("torch.hub", "load"), ("evil/repo", "m")), "'torch.hub.load'"),
    "torch_module_os": (lambda m: Name("torch", "os"), "'torch.os'"),
    "nested_pickle": (
        lambda m: Call(
            Name("torch.storage", "_load_from_bytes"), (assemble(Call(POSIX, (_touch(m),))).decode("latin-1"),)
        ),
        "'torch.storage._load_from_bytes'",
    ),
    "nested_loads": (lambda m: Call(Name("_pickle", "loads"), ("",)), "'_pickle.loads'"),
    "numpy_runstring": (
        lambda m: Call(Name("numpy.testing._private.utils", "runstring"), (_write(m), {})),
        "'numpy.testing._private.utils.runstring'",
    ),
    "numpy_load": (lambda m: Call(Name("numpy", "load"), (str(m), None, True)), "'numpy.load'"),
    "functools_partial": (lambda m: Call(Name("functools", "partial"), (POSIX, _touch(m))), "'functools.partial'"),
    "operator_attrgetter": (lambda m: Call(Name("operator", "attrgetter"), ("a",)), "'operator.attrgetter'"),
    "lookalike_package": (lambda m: Call(Name("ultralytics_evil.nn", "Conv")), "'ultralytics_evil.nn.Conv'"),
    "lookalike_prefix": (lambda m: Call(Name("torch.nn.modulesx", "Conv")), "'torch.nn.modulesx.Conv'"),
    "own_class": (lambda m: Call(Name("__main__", "MyConv")), "'__main__.MyConv'"),
    "getattr_of_a_module": (
        lambda m: Call(Call(Name("__builtin__", "getattr"), (Name("torch", "os"), "system"))),
        "'torch.os'",
    ),
    "dotted_name": (
        lambda m: Raw(code_of("collections") + code_of("OrderedDict.__init__.__globals__") + b"\x93"),
        "'collections.OrderedDict.__init__.__globals__'",
    ),
    "dotted_foreign_name": (
        lambda m: Raw(code_of("ultralytics.nn.modules") + code_of("Conv.forward.__globals__") + b"\x93"),
        "'ultralytics.nn.modules.Conv.forward.__globals__'",
    ),
    "space_in_the_module": (lambda m: Raw(code_of("posix system") + code_of("x") + b"\x93"), "not on the list"),
    "escapes_in_the_name": (lambda m: Name("collections", r"Ordered\x44ict"), "not on the list"),
    "very_long_name": (lambda m: Name("a" * 1_000_000, "b"), "not on the list"),
    "inst": (lambda m: Raw(MARK + code_of(_touch(m)) + b"iposix\nsystem\n"), "operation INST"),
    "obj": (lambda m: Raw(MARK + code_of(FOREIGN) + b"o"), "operation OBJ"),
    "obj_of_system": (lambda m: Raw(MARK + code_of(POSIX) + code_of(_touch(m)) + b"o"), "'posix.system'"),
    "extension": (lambda m: Raw(b"\x82\xf0" + code_of((_touch(m),)) + b"R"), "operation EXT1"),
    "extension_4": (lambda m: Raw(b"\x84\xf0\x00\x00\x00" + code_of((_touch(m),)) + b"R"), "operation EXT4"),
    "text_persistent_identifier": (lambda m: Raw(b"Pstorage\n"), "operation PERSID"),
    "byte_array": (lambda m: Raw(b"\x96" + b"\xff" * 7 + b"\x7f"), "operation BYTEARRAY8"),
    "newobj_with_keywords": (lambda m: Raw(code_of(FOREIGN) + b")}\x92"), "operation NEWOBJ_EX"),
}
"""What the pickle does, and what the refusal names."""


@pytest.mark.parametrize(("value", "words"), CALLS.values(), ids=CALLS.keys())
def test_call_beyond_the_list_is_refused_by_name_and_not_made(
    value: Callable[[Path], Any], words: str, marker: Path, tmp_path: Path
) -> None:
    copyreg.add_extension("posix", "system", 0xF0)
    try:
        refused(write_archive(tmp_path / "evil.pt", assemble({"model": {"w": tensor(), "x": value(marker)}})), words)
    finally:
        copyreg.remove_extension("posix", "system", 0xF0)


GETATTR = Name("__builtin__", "getattr")
GADGETS: dict[str, Any] = {
    "getattr_dunder": Call(GETATTR, (FOREIGN, "__init__")),
    "getattr_dotted": Call(GETATTR, (FOREIGN, "forward.__globals__")),
    "getattr_of_ordered_dict": Call(GETATTR, (ORDERED, "fromkeys")),
    "getattr_with_default": Call(GETATTR, (FOREIGN, "forward", 1)),
    "getattr_of_itself": Call(GETATTR, (GETATTR, "forward")),
    "getattr_called": Raw(code_of(Call(GETATTR, (FOREIGN, "forward"))) + code_of(("touch x",)) + b"R"),
    "call_of_an_instance": Raw(code_of(Call(FOREIGN)) + b")R"),
    "call_of_text": Raw(code_of("posix.system") + b")R"),
    "arguments_no_tuple": Raw(code_of(FOREIGN) + b"]R"),
    "state_on_a_class": Raw(code_of(FOREIGN) + code_of((None, {"__init__": 1})) + b"b"),
    "state_on_a_function": Raw(code_of(Name("torch._utils", "_rebuild_tensor_v2")) + code_of({"__code__": 1}) + b"b"),
    "state_on_a_tensor": Raw(code_of(tensor()) + code_of({"__setstate__": 1}) + b"b"),
    "state_on_a_tuple": Raw(b")" + code_of({"__class__": 1}) + b"b"),
    "items_on_an_instance": Raw(code_of(Call(FOREIGN)) + code_of("k") + b"Ns"),
    "append_to_an_instance": Raw(code_of(Call(FOREIGN)) + b"Na"),
    "append_to_a_tuple": Raw(b")Na"),
    "set_of_lists": Call(Name("__builtin__", "set"), ([[]],)),
    "ordered_dict_of_texts": Call(ORDERED, (["ab", "cd"],)),
    "ordered_dict_with_tuple_key": Call(ORDERED, ([((), 1)],)),
    "key_of_bytes": Raw(b"}C\x01aNs"),
    "huge_integer": Raw(b"\x8a\xff" + b"\x7f" * 255),
    "lone_surrogate": Raw(b"X\x03\x00\x00\x00\xed\xa0\x80"),
    "parameter_of_text": Call(Name("torch._utils", "_rebuild_parameter"), ("x", True, None)),
    "persistent_identifier_of_text": Stored(("storage", "torch.FloatStorage", "0", "cpu", 6)),
    "persistent_identifier_short": Stored(("storage",)),
    "storage_with_negative_count": tensor(count=-6),
    "storage_with_count_of_text": tensor(count="6"),
    "storage_beside_the_archive": tensor(key="../version"),
}


@pytest.mark.parametrize("gadget", GADGETS.values(), ids=GADGETS.keys())
def test_gadget_on_allowed_names_is_refused(gadget: Any, tmp_path: Path) -> None:
    refused(write_archive(tmp_path / "gadget.pt", assemble({"model": {"w": tensor(), "x": gadget}})))


def test_state_of_a_stand_in_runs_nothing_and_changes_no_class(marker: Path, tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "__setstate__": ORDERED,
        "__class__": ORDERED,
        "__reduce__": Call(GETATTR, (FOREIGN, "forward")),
    }
    layers = {"0": module(FOREIGN, parameters={"w": tensor()}, **state)}
    path = write_archive(tmp_path / "state.pt", assemble({"model": module(FOREIGN, layers)}))
    assert list(read_checkpoint(path).tensors) == ["0.w"]
    assert not hasattr(Inert, "__setstate__")


def _tuples(times: int) -> bytes:
    return b")" + b"q\x00h\x00\x86" * times


def _lists(times: int) -> bytes:
    return b"]" + b"q\x00]q\x01(h\x00h\x00e" * times


def _modules(times: int) -> Raw:
    """Modules of two children each, both the one below."""
    head = b"c" + FOREIGN.module.encode() + b"\n" + FOREIGN.name.encode() + b"\n)R"
    leaf = code_of(module(FOREIGN, parameters={"w": tensor()}))
    tables = code_of("_parameters") + b"}" + code_of("_buffers") + b"}" + code_of("_modules")
    wrap = b"q\x00" + head + b"}(" + tables + b"}(" + code_of("a") + b"h\x00" + code_of("b") + b"h\x00uub"
    return Raw(leaf + wrap * times)


BOMBS: dict[str, Any] = {
    "lists_in_training_arguments": {"model": {"w": tensor()}, "train_args": {"a": Raw(_lists(60))}},
    "tuples_in_training_arguments": {"model": {"w": tensor()}, "train_args": {"a": Raw(_tuples(30))}},
    "key_of_doubled_tuples": {"model": {"w": tensor()}, "x": Raw(b"}" + _tuples(60) + b"Ns")},
    "set_of_doubled_tuples": {"model": {"w": tensor()}, "x": Raw(b"\x8f(" + _tuples(60) + b"\x90")},
    "modules": {"model": _modules(25)},
    "deep_modules": {"model": _modules(2000)},
    "deep_tuples_as_model": {"model": Raw(b")" + b"\x85" * 200_000)},
    "deep_tuples_in_training_arguments": {"model": {"w": tensor()}, "train_args": {"a": Raw(b")" + b"\x85" * 200_000)}},
    "deep_instances": {"model": Raw(code_of(Call(FOREIGN)) + (b"q\x00" + code_of(FOREIGN) + b"h\x00\x85R") * 60_000)},
    "memo_never_filled": {"model": {"w": tensor()}, "x": Raw(b"j\xff\xff\xff\x7f")},
    "text_longer_than_the_file": {"model": {"w": tensor()}, "x": Raw(b"X\xff\xff\xff\x7f")},
    "bytes_of_exabytes": {"model": {"w": tensor()}, "x": Raw(b"B\xff\xff\xff\xff")},
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
def test_bomb_is_refused_in_bounded_time(content: Any, tmp_path: Path) -> None:
    refused(write_archive(tmp_path / "bomb.pt", assemble(content)))


def test_module_that_contains_itself_is_refused(tmp_path: Path) -> None:
    head = code_of(FOREIGN) + b")Rq\x00"
    tables = code_of("_parameters") + b"}" + code_of("_buffers") + b"}" + code_of("_modules")
    loop = Raw(head + b"}(" + tables + b"}(" + code_of("a") + b"h\x00uub")
    refused(write_archive(tmp_path / "loop.pt", assemble({"model": loop})), "nest deeper")


def test_huge_memo_index_takes_no_memory(tmp_path: Path) -> None:
    path = write_archive(
        tmp_path / "memo.pt", assemble({"w": tensor(), "x": Raw(b"Nr\xff\xff\xff\x7f")} | {"model": {"w": tensor()}})
    )
    assert read_checkpoint(path).tensors["w"].shape == (2, 3)


def test_very_long_pickle_is_refused(tmp_path: Path) -> None:
    code = b"\x80\x02" + b"]" * (restricted_pickle.MAX_OPERATIONS + 1) + b"."
    refused(write_archive(tmp_path / "long.pt", code), "operations")
