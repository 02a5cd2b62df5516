"""TensorFlow's files told from their bytes, and the targets where TensorFlow is absent: no test needs it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from edgeseg_targets.saved_model.wire import WireError, fields, only_bytes, varint

from edgeseg import registry
from edgeseg.errors import EnvironmentMissingError
from edgeseg.export import export

NODE = b"\x0a\x06images\x12\x0bPlaceholder"
"""NodeDef: field 1, the name; field 2, the operator. Written by hand from graph.proto and node_def.proto."""

GRAPH = b"\x0a" + bytes([len(NODE)]) + NODE + b"\x22\x03\x08\xf2\x0d"
"""GraphDef: field 1, a node; field 4, versions with producer 1778."""

SAVED_MODEL = b"\x08\x01\x12" + bytes([len(GRAPH) + 2]) + b"\x12" + bytes([len(GRAPH)]) + GRAPH
"""SavedModel: field 1, schema version 1; field 2, a MetaGraphDef whose field 2 is the graph."""


def test_the_examples_of_the_encodings_documentation() -> None:
    """protobuf.dev, "Encoding": 150 is 96 01; field 2 with the text "testing" is 12 07 74 65 73 74 69 6e 67."""
    assert varint(b"\x96\x01", 0) == (150, 2)
    assert list(fields(b"\x08\x96\x01")) == [(1, 150)]
    assert [(number, bytes(value)) for number, value in fields(b"\x12\x07testing") if not isinstance(value, int)] == [
        (2, b"testing")
    ]
    assert only_bytes(b"\x1a\x03\x08\x96\x01", 3) == b"\x08\x96\x01"


@pytest.mark.parametrize(
    "data", [b"\x96", b"\x12\x07test", b"\x0b", b"\x00\x01", b"\x0d\x01\x02", b"\xff" * 11], ids=lambda data: data.hex()
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        list(fields(data))


def test_a_field_that_is_absent_is_said() -> None:
    with pytest.raises(WireError, match="no field 3"):
        only_bytes(b"\x12\x07testing", 3)


@pytest.mark.parametrize(
    ("data", "is_graph"),
    [
        (GRAPH, True),
        (GRAPH[:-8], False),
        (GRAPH.replace(b"images", b"im ges"), False),
        (GRAPH.replace(b"Placeholder", b"placeholder"), False),
        (SAVED_MODEL, False),
        (b"\x0a\x06images" + GRAPH, False),
        (b"", False),
    ],
    ids=["graph", "cut", "name", "operator", "saved model", "no operator", "empty"],
)
def test_graph_is_told_from_its_first_node(tmp_path: Path, data: bytes, is_graph: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert registry.load("graphdef").recognizes(path) is is_graph


@pytest.mark.parametrize(
    ("data", "is_saved_model"),
    [
        (SAVED_MODEL, True),
        (SAVED_MODEL[:-1], False),
        (GRAPH, False),
        (b"\x08\x02" + SAVED_MODEL[2:], False),
        (b"", False),
    ],
    ids=["saved model", "cut", "graph", "another schema", "empty"],
)
def test_saved_model_is_told_from_its_message(tmp_path: Path, data: bytes, is_saved_model: bool) -> None:
    (tmp_path / "saved_model.pb").write_bytes(data)
    assert registry.load("saved_model").recognizes(tmp_path) is is_saved_model


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed here")
@pytest.mark.parametrize("name", ["saved_model", "graphdef"])
def test_absent_tensorflow_is_said_with_what_installs_it(tiny_weights: Path, tmp_path: Path, name: str) -> None:
    report = registry.load(name).check_env()
    assert report.problems == ("tensorflow-cpu is not installed, which running needs",)
    assert report.remedy == "pip install tensorflow-cpu"
    with pytest.raises(EnvironmentMissingError, match="tensorflow-cpu is not installed"):
        export(tiny_weights, name, output_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed here")
def test_foreign_files_ask_for_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(SAVED_MODEL)
    graph = tmp_path / "n.pb"
    graph.write_bytes(GRAPH)
    for name, path in (("saved_model", tmp_path), ("graphdef", graph)):
        with pytest.raises(EnvironmentMissingError, match="tensorflow-cpu, which is not installed here") as caught:
            registry.load(name).read_metadata(path)
        assert caught.value.hint == "pip install tensorflow-cpu, or edgeseg targets install saved_model"
