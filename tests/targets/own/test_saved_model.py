"""The SavedModel target beyond conformance: what TensorFlow itself reads, foreign folders, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, OutputError, UsageError
from edgeseg.export import export
from edgeseg.files import sha256_of
from edgeseg.target import Artifact, Findings
from edgeseg.tensors import Array
from edgeseg.testing.tiny import NAMES
from tests.targets import test_readme
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
)

ROUNDING = 1e-5
"""Relative to a tensor's largest value: another order of the same float32 sums."""

MODEL, METADATA = "saved_model.pb", "assets.extra/metadata.json"


@pytest.mark.parametrize("options", [{}, {"dynamic_batch": True, "dynamic_size": True}], ids=["fixed", "open"])
@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_tensorflow_gives_the_contract_by_name(
    exported: Exporter, reference: Reference, outputs: str, options: dict[str, bool]
) -> None:
    loaded = tf.saved_model.load(str(exported("saved_model", outputs=outputs, **options)))
    pictures = noise(3, 64, 96) if options else noise()
    results = loaded.signatures["serving_default"](images=tf.constant(pictures.transpose(0, 2, 3, 1)))
    assert_same_outputs(_first(results), reference(pictures, outputs), ROUNDING)


def test_signature_says_names_and_shapes(exported: Exporter) -> None:
    signature = tf.saved_model.load(str(exported("saved_model"))).signatures["serving_default"]
    given = signature.structured_input_signature[1]
    assert {name: tuple(spec.shape) for name, spec in given.items()} == {"images": (1, 96, 160, 3)}
    assert {name: tuple(spec.shape) for name, spec in signature.structured_outputs.items()} == {
        **{f"p3_{kind}": (1, 12, 20, size) for kind, size in (("box", 64), ("cls", 3), ("coef", 32))},
        **{f"p4_{kind}": (1, 6, 10, size) for kind, size in (("box", 64), ("cls", 3), ("coef", 32))},
        **{f"p5_{kind}": (1, 3, 5, size) for kind, size in (("box", 64), ("cls", 3), ("coef", 32))},
        "proto": (1, 24, 40, 32),
    }


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_same_weights_give_the_same_bytes(exported: Exporter, tiny_weights: Path, tmp_path: Path, outputs: str) -> None:
    first = exported("saved_model", outputs=outputs)
    again = export(tiny_weights, "saved_model", output_dir=tmp_path, outputs=outputs).path
    assert _files(first) == _files(again)
    assert set(_files(again)) == {MODEL, METADATA, "edgeseg.json"} | (
        {"metadata.yaml"} if outputs == "decoded" else set()
    )


def test_exporting_again_replaces_ours_and_nothing_else(exported: Exporter, tiny_weights: Path, tmp_path: Path) -> None:
    path = export(tiny_weights, "saved_model", output_dir=tmp_path, outputs="decoded").path
    export(tiny_weights, "saved_model", output_dir=tmp_path)
    assert "metadata.yaml" not in _files(path)
    shutil.rmtree(path / "assets.extra")
    with pytest.raises(OutputError, match=re.escape(str(path))):
        export(tiny_weights, "saved_model", output_dir=tmp_path)


def test_folder_written_by_tensorflow_predicts_the_same(exported: Exporter, tmp_path: Path) -> None:
    path = _by_tensorflow(exported, tmp_path)
    with edgeseg.load(path) as model:
        assert (model.metadata.weights_sha256, model.metadata.format) == ("", "saved_model")
        assert (model.metadata.names, model.metadata.image_size, model.metadata.batch) == (NAMES, (96, 160), 1)
    assert _inspected(path).problems == ()
    assert_same_instances(predicted(path), predicted(exported("saved_model")))


def test_foreign_folder_without_keys_is_read_as_far_as_it_tells(exported: Exporter, tmp_path: Path) -> None:
    path = _by_tensorflow(exported, tmp_path)
    (path / "metadata.yaml").unlink()
    with edgeseg.load(path) as model:
        assert (model.metadata.names, model.metadata.image_size) == (("class0", "class1", "class2"), (96, 160))


@pytest.mark.parametrize("text", ["names: [a", "[]"])
def test_damaged_keys_of_a_foreign_folder_are_refused(exported: Exporter, tmp_path: Path, text: str) -> None:
    path = _by_tensorflow(exported, tmp_path)
    (path / "metadata.yaml").write_text(text)
    with pytest.raises(ArtifactError, match=re.escape(str(path / "metadata.yaml"))):
        edgeseg.load(path)


def test_a_graph_of_another_export_is_found_out(exported: Exporter, tmp_path: Path) -> None:
    path = shutil.copytree(exported("saved_model"), tmp_path / "n")
    data = bytearray((path / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (path / MODEL).write_bytes(data)
    target = registry.load("saved_model")
    artifact = Artifact(path, target.read_metadata(path))
    for action in (lambda: target.open(artifact, target.run_options_type()), lambda: target.inspect(artifact)):
        with pytest.raises(ArtifactError, match=r"saved_model\.pb is not the one") as caught:
            action()
        assert str(path) in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"edgeseg": {}, "sha256": {}}'])
def test_unreadable_metadata_is_refused(exported: Exporter, tmp_path: Path, text: str) -> None:
    path = shutil.copytree(exported("saved_model"), tmp_path / "n")
    (path / METADATA).write_text(text)
    with pytest.raises(ArtifactError, match=re.escape(str(path))):
        edgeseg.load(path)


def _without_signature(message: Any) -> None:
    message.meta_graphs[0].signature_def.clear()


def _other_output(message: Any) -> None:
    outputs = message.meta_graphs[0].signature_def["serving_default"].outputs
    outputs["mask"].CopyFrom(outputs.pop("proto"))


def _double(message: Any) -> None:
    node = next(node for node in message.meta_graphs[0].graph_def.node if node.op == "Conv2D")
    node.attr["T"].type = tf.float64.as_datatype_enum


@pytest.mark.parametrize(
    ("change", "message"), [(_without_signature, "signatures"), (_other_output, "mask"), (_double, "cannot load")]
)
def test_changed_graph_does_not_open(
    exported: Exporter, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    path = _changed(exported, tmp_path, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_inspect_names_what_is_not_as_asked(exported: Exporter, tmp_path: Path) -> None:
    assert _inspected(exported("saved_model")).facts["convolutions"] == 80
    (problem,) = _inspected(_changed(exported, tmp_path / "a", _other_output)).problems
    assert problem.startswith("the signature gives ['mask', 'p3_box'")
    (problem,) = _inspected(_changed(exported, tmp_path / "b", _double)).problems
    assert problem == "backbone/stem/conv/conv: computes in double, expected float"


def test_threads_are_set_once_per_process_in_silence(exported: Exporter) -> None:
    program = f"""
import edgeseg
from edgeseg.errors import UsageError
path = {str(exported("saved_model"))!r}
with edgeseg.load(path, threads=1) as model:
    print(dict(model.runner.execution))
with edgeseg.load(path) as model:
    print(model.runner.execution["threads"])
try:
    edgeseg.load(path, threads=2)
except UsageError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("{'device': 'cpu', 'threads': '1'}", "1")
    assert third.startswith("TensorFlow has started in this process with 1 threads")


def test_readme_example_finds_the_same(exported: Exporter, tmp_path: Path) -> None:
    test_readme.test_example_without_edgeseg_finds_the_same(exported, tmp_path, "saved_model", "decoded")


def test_decoded_folder_takes_its_own_size_only_unless_it_is_open(exported: Exporter) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    with edgeseg.load(exported("saved_model", outputs="decoded")) as model, pytest.raises(UsageError, match="96 160"):
        model.predict(picture, image_size=(64, 64))
    with edgeseg.load(exported("saved_model", outputs="decoded", dynamic_size=True)) as model:
        assert len(list(model.predict(picture, image_size=(64, 64)))) == 1


def _first(results: dict[str, Any]) -> dict[str, Array]:
    """Arrays with pictures channels first."""
    arrays = {name: tensor.numpy() for name, tensor in results.items()}
    return {name: array.transpose(0, 3, 1, 2) if array.ndim == 4 else array for name, array in arrays.items()}


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _inspected(path: Path) -> Findings:
    target = registry.load("saved_model")
    return target.inspect(Artifact(path, target.read_metadata(path)))


def _by_tensorflow(exported: Exporter, folder: Path) -> Path:
    """The decoded network, saved by TensorFlow's own writer under names of its own, with the peer's keys."""
    source = exported("saved_model", outputs="decoded")
    signature = tf.saved_model.load(str(source)).signatures["serving_default"]

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 96, 160, 3), tf.float32, name="images")])  # type: ignore[untyped-decorator]
        def serve(self, images: Any) -> dict[str, Any]:
            results = signature(images=images)
            return {"output_0": results["output0"], "output_1": results["output1"]}

    path = folder / "foreign"
    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    shutil.copy(source / "metadata.yaml", path)
    return path


def _changed(exported: Exporter, folder: Path, change: Callable[[Any], None]) -> Path:
    """A folder whose message was changed, and its hash with it."""
    path = shutil.copytree(exported("saved_model"), folder / "n")
    message = saved_model_pb2.SavedModel.FromString((path / MODEL).read_bytes())
    change(message)
    (path / MODEL).write_bytes(message.SerializeToString())
    content = json.loads((path / METADATA).read_text())
    (path / METADATA).write_text(json.dumps({**content, "sha256": {MODEL: sha256_of(path / MODEL)}}))
    return path
