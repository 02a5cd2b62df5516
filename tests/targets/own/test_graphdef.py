"""The GraphDef target beyond conformance: what TensorFlow imports, what the graph says, foreign files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError
from edgeseg.export import export
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.graph import OUTPUT_NAMES
from edgeseg.target import Artifact, Findings
from edgeseg.testing.tiny import NAMES
from tests.targets import test_readme
from tests.targets.conftest import Exporter, Reference, assert_same_instances, assert_same_outputs, noise, predicted

ROUNDING = 1e-5
"""Relative to a tensor's largest value: another order of the same float32 sums."""

FOREIGN_NAMES = {"images": "x", "output0": "Identity", "output1": "Identity_1"}
"""As TensorFlow names the ends of a function that it freezes."""


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_tensorflow_gives_the_contract_by_name(exported: Exporter, reference: Reference, outputs: str) -> None:
    names = OUTPUT_NAMES["raw" if outputs == "raw" else "decoded"]
    arrays = _fetched(exported("graphdef", outputs=outputs), names)
    found = {
        name: array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        for name, array in zip(names, arrays, strict=True)
    }
    assert_same_outputs(found, reference(noise(), outputs), ROUNDING)


def test_any_program_can_ask_the_graph_what_it_is(exported: Exporter) -> None:
    path = exported("graphdef")
    (text,) = _fetched(path, ("edgeseg",))
    content = json.loads(text)["edgeseg"]
    assert content["names"] == list(NAMES)
    metadata = registry.load("graphdef").read_metadata(path)
    assert ArtifactMetadata.from_json(json.dumps(content), "") == metadata


def test_metadata_stays_when_tensorflow_writes_the_graph_again(exported: Exporter, tmp_path: Path) -> None:
    path = exported("graphdef")
    again = tmp_path / "again.pb"
    again.write_bytes(_read(path).SerializeToString(deterministic=True))
    assert again.read_bytes() != path.read_bytes()
    target = registry.load("graphdef")
    assert target.read_metadata(again) == target.read_metadata(path)


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_same_weights_give_the_same_bytes(exported: Exporter, tiny_weights: Path, tmp_path: Path, outputs: str) -> None:
    again = export(tiny_weights, "graphdef", output_dir=tmp_path, outputs=outputs).path
    assert again.read_bytes() == exported("graphdef", outputs=outputs).read_bytes()


def test_one_changed_bit_of_a_weight_is_found_out(exported: Exporter, tmp_path: Path) -> None:
    data = bytearray(exported("graphdef").read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "n.pb"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="is not the one that was written here") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("place", ["n_saved_model/metadata.yaml", "metadata.yaml"])
def test_file_of_the_peers_kind_predicts_the_same(exported: Exporter, tmp_path: Path, place: str) -> None:
    path = _foreign(exported, tmp_path)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    shutil.copy(exported("saved_model", outputs="decoded") / "metadata.yaml", tmp_path / place)
    with edgeseg.load(path) as model:
        assert (model.metadata.weights_sha256, model.metadata.format) == ("", "graphdef")
        assert (model.metadata.names, model.metadata.image_size) == (NAMES, (96, 160))
    assert _inspected(path).problems == ()
    assert_same_instances(predicted(path), predicted(exported("graphdef")))


def test_bare_foreign_file_is_read_as_far_as_it_tells(exported: Exporter, tmp_path: Path) -> None:
    with edgeseg.load(_foreign(exported, tmp_path)) as model:
        assert (model.metadata.names, model.metadata.image_size) == (("class0", "class1", "class2"), (96, 160))


def _unknown_operator(message: Any) -> None:
    next(node for node in message.node if node.op == "Conv2D").op = "Conv2DOfTomorrow"


def _loose_input(message: Any) -> None:
    next(node for node in message.node if node.op == "Conv2D").input[0] = "nothing"


def _another_output(message: Any) -> None:
    message.node.add(name="more", op="Identity", input=["x"]).attr["T"].type = tf.float32.as_datatype_enum


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_unknown_operator, "cannot import"),
        (_loose_input, "cannot import"),
        (_another_output, "not of the known layout"),
    ],
)
def test_foreign_graph_that_does_not_fit_is_refused(
    exported: Exporter, tmp_path: Path, change: Callable[[Any], None], expected: str
) -> None:
    path = _foreign(exported, tmp_path)
    message = _read(path)
    change(message)
    path.write_bytes(message.SerializeToString())
    with pytest.raises(ArtifactError, match=expected) as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_inspect_counts_operators(exported: Exporter) -> None:
    findings = _inspected(exported("graphdef"))
    assert findings.problems == ()
    assert findings.facts["convolutions"] == 80
    assert "Conv2D 79" in str(findings.facts["operators"])


def test_readme_example_finds_the_same(exported: Exporter, tmp_path: Path) -> None:
    test_readme.test_example_without_edgeseg_finds_the_same(exported, tmp_path, "graphdef", "decoded")


def _read(path: Path) -> Any:
    return tf.compat.v1.GraphDef.FromString(path.read_bytes())


def _fetched(path: Path, names: tuple[str, ...]) -> list[Any]:
    """What TensorFlow's own calls give for `noise`."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(_read(path), name="")
    with tf.compat.v1.Session(graph=graph) as session:
        found: list[Any] = session.run([f"{name}:0" for name in names], {"images:0": noise().transpose(0, 2, 3, 1)})
    return found


def _foreign(exported: Exporter, folder: Path) -> Path:
    """The decoded graph without metadata, its ends named as a frozen function's."""
    message = _read(exported("graphdef", outputs="decoded"))
    nodes = [node for node in message.node if node.name != "edgeseg"]
    for node in nodes:
        node.name = FOREIGN_NAMES.get(node.name, node.name)
        node.input[:] = [FOREIGN_NAMES.get(name, name) for name in node.input]
    path = folder / "n.pb"
    path.write_bytes(tf.compat.v1.GraphDef(node=nodes, versions=message.versions).SerializeToString())
    return path


def _inspected(path: Path) -> Findings:
    target = registry.load("graphdef")
    return target.inspect(Artifact(path, target.read_metadata(path)))
