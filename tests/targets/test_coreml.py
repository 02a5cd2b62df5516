"""The Core ML target beyond conformance: systems, compressed weights, pictures as input, damage, foreign packages."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, OutputError, UsageError
from edgeseg.export import export
from edgeseg.files import sha256_of_folder
from edgeseg.target import Artifact
from tests.targets.conftest import Exporter, Reference, assert_same_outputs, noise, run

pytest.importorskip("coremltools")
package = importlib.import_module("edgeseg_targets.coreml.package")
blobs = importlib.import_module("edgeseg_targets.coreml.blobs")
constants = importlib.import_module("edgeseg_targets.coreml.evaluator.constants")

ON_MAC = sys.platform == "darwin"
NOT_ON_MAC = pytest.mark.skipif(ON_MAC, reason="here Core ML runs it")
TOLERANCE = {"fp32": 1e-5, "fp16": 0.02, "int8": 0.15}
"""Relative to a tensor's largest value: three digits of fp16, and 8-bit weights of a network of random ones."""

PALETTE_TOLERANCE = {4: 0.4, 6: 0.15, 8: 0.05}
"""Each bit halves the error; random weights suffer more from palettes than trained ones."""

IOS18 = {"minimum_deployment_target": "iOS18"}


def _operations(path: Path) -> list[Any]:
    return list(package.load_program(path).functions["main"].operations)


def _compressed(path: Path) -> list[Any]:
    return [operation for operation in _operations(path) if operation.op_type.startswith("constexpr_")]


def _spec(path: Path) -> Any:
    return package.parsed(package.read_package(path).model, path)


@pytest.mark.parametrize(
    ("system", "version"), [("iOS15", 6), ("macOS13", 7), ("iOS17", 8), ("macOS15", 9)], ids=lambda value: str(value)
)
def test_oldest_system_decides_the_specification(
    exported: Exporter, reference: Reference, system: str, version: int
) -> None:
    path = exported("coreml", "fp32", minimum_deployment_target=system)
    # Versions by system: coremltools, _deployment_compatibility.py.
    assert _spec(path).specificationVersion == version
    assert_same_outputs(run(path, noise()), reference(noise(), "raw"), TOLERANCE["fp32"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_outputs_equal_the_reference(exported: Exporter, reference: Reference, precision: str, outputs: str) -> None:
    found = run(exported("coreml", precision, outputs=outputs), noise())
    assert_same_outputs(found, reference(noise(), outputs), TOLERANCE[precision])


def test_fp16_package_computes_in_fp16_between_float32_edges(exported: Exporter) -> None:
    path = exported("coreml", "fp16")
    convolutions = [op for op in _operations(path) if op.op_type in ("conv", "conv_transpose", "silu")]
    assert len(convolutions) == 150
    assert all(constants.is_half(var) for op in convolutions for var in op.outputs)
    description = _spec(path).description
    float32 = description.input[0].type.multiArrayType.FLOAT32
    assert {feature.type.multiArrayType.dataType for feature in (*description.input, *description.output)} == {float32}


def test_decoding_stays_in_float32(exported: Exporter) -> None:
    operations = _operations(exported("coreml", "fp16", outputs="decoded"))
    decoding = [op for op in operations if op.op_type in ("softmax", "sigmoid", "reduce_sum", "sub", "reshape")]
    assert len(decoding) == 21
    assert not any(constants.is_half(var) for op in decoding for var in op.outputs)


def test_decoded_package_has_the_keys_of_existing_clients(exported: Exporter) -> None:
    keys = _spec(exported("coreml", "fp16", outputs="decoded")).description.metadata.userDefined
    assert (keys["task"], keys["stride"], keys["imgsz"]) == ("segment", "32", "[96, 160]")


@pytest.mark.parametrize("options", [{}, IOS18], ids=["iOS16", "iOS18"])
def test_int8_weights_are_symmetric_with_a_scale_for_each_channel(
    exported: Exporter, reference: Reference, options: dict[str, Any]
) -> None:
    path = exported("coreml", "int8", **options)
    compressed = _compressed(path)
    assert len(compressed) == 24
    for operation in compressed:
        shape = operation.outputs[0].shape
        zero = operation.inputs.get("zero_point")
        # A transposed convolution has its output channels on the second axis.
        assert operation.inputs["scale"].val.size in shape[:2]
        assert zero is None or not np.any(zero.val)
        np.testing.assert_array_equal(constants.dense(operation).numpy(), operation.materialized_val_inference())
    whole = {op.name: op.inputs["weight"] for op in _operations(exported("coreml", "fp16")) if "weight" in op.inputs}
    for operation in (op for op in _operations(path) if op.op_type == "conv" and op.inputs["weight"].op in compressed):
        kernel = operation.inputs["weight"].op
        error = np.abs(constants.dense(kernel).numpy() - whole[operation.name].val.astype(np.float32))
        # The nearest of the steps: half a step away at most, and fp16's rounding of a step of 127.
        assert (error <= 0.55 * kernel.inputs["scale"].val.reshape(-1, 1, 1, 1).astype(np.float32)).all()
    assert_same_outputs(run(path, noise()), reference(noise(), "raw"), TOLERANCE["int8"])


@pytest.mark.parametrize(("bits", "options"), [(4, {}), (6, {}), (8, {}), (6, IOS18)], ids=["4", "6", "8", "6 iOS18"])
def test_palettes_have_as_many_values_as_their_bits_allow(
    exported: Exporter, reference: Reference, bits: int, options: dict[str, Any]
) -> None:
    path = exported("coreml", "fp16", palette_bits=bits, **options)
    compressed = _compressed(path)
    assert len(compressed) == 24
    for operation in compressed:
        weights = constants.dense(operation).numpy()
        assert 2 ** (bits - 1) < len(np.unique(weights)) <= 2**bits
        np.testing.assert_array_equal(weights, operation.materialized_val_inference().astype(np.float32))
    assert_same_outputs(run(path, noise()), reference(noise(), "raw"), PALETTE_TOLERANCE[bits])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_palettes_with_another_precision_are_refused(tiny_weights: Path, tmp_path: Path, precision: str) -> None:
    with pytest.raises(UsageError, match="palettes hold fp16") as caught:
        export(tiny_weights, "coreml", output_dir=tmp_path, precision=precision, palette_bits=6)
    assert "palette_bits 4, 6 or 8 with fp16" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("system", ["iOS15", "macOS12"])
@pytest.mark.parametrize("asked", [("int8", {}), ("fp16", {"palette_bits": 8})], ids=["int8", "palette"])
def test_compressed_weights_for_a_system_without_them_are_refused(
    tiny_weights: Path, tmp_path: Path, system: str, asked: tuple[str, dict[str, Any]]
) -> None:
    precision, options = asked
    with pytest.raises(UsageError, match=system) as caught:
        export(
            tiny_weights,
            "coreml",
            output_dir=tmp_path,
            precision=precision,
            minimum_deployment_target=system,
            **options,
        )
    assert "iOS16" in caught.value.hint


def test_picture_input_equals_the_tensor_input_on_8_bit_pictures(exported: Exporter, reference: Reference) -> None:
    path = exported("coreml", "fp32", image_input=True)
    image = _spec(path).description.input[0].type.imageType
    assert (image.height, image.width, image.colorSpace) == (96, 160, image.RGB)
    pictures = np.rint(noise() * 255) / np.float32(255)
    assert_same_outputs(run(path, pictures), reference(pictures, "raw"), TOLERANCE["fp32"])


def test_inspect_names_weights_that_are_not_as_asked(exported: Exporter) -> None:
    target = registry.load("coreml")
    path = exported("coreml", "fp16", palette_bits=6)
    metadata = target.read_metadata(path)
    assert target.inspect(Artifact(path, metadata)).problems == ()
    asked = replace(metadata, options={**metadata.options, "palette_bits": 4})
    assert "palette of 6 bits, expected palette of 4 bits" in target.inspect(Artifact(path, asked)).problems[0]
    problems = target.inspect(Artifact(path, replace(metadata, precision="fp32", options={}))).problems
    assert any("weights are fp16, expected fp32" in problem for problem in problems)


@pytest.mark.slow
def test_inspect_finds_the_published_network_as_asked(shared: Path, tmp_path: Path) -> None:
    # One of its convolutions has just as many weights as coremltools still leaves plain.
    artifact = export(shared / "weights/yolov8n-seg.pt", "coreml", precision="int8", output_dir=tmp_path)
    assert registry.load("coreml").inspect(artifact).problems == ()


def test_same_network_gives_the_same_bytes(tiny_weights: Path, tmp_path: Path) -> None:
    paths = [export(tiny_weights, "coreml", output_dir=tmp_path / name).path for name in ("first", "second")]
    first, second = (sha256_of_folder(path, [path / "edgeseg.json"]) for path in paths)
    assert first == second
    assert not any("date" in key for key in _spec(paths[0]).description.metadata.userDefined)


def test_apples_reader_of_packages_finds_the_model(exported: Exporter) -> None:
    reader = importlib.import_module("coremltools.libmodelpackage")
    path = exported("coreml", "fp16")
    found = reader.ModelPackage(str(path)).getRootModel().path()
    assert Path(found).samefile(path / "Data/com.apple.CoreML/model.mlmodel")


def test_second_export_replaces_the_first_and_no_other_folder(tiny_weights: Path, tmp_path: Path) -> None:
    path = export(tiny_weights, "coreml", output_dir=tmp_path, precision="fp32").path
    (path / "left.txt").write_text("of before")
    assert export(tiny_weights, "coreml", output_dir=tmp_path, precision="fp32").path == path
    assert not (path / "left.txt").exists()
    (path / "Manifest.json").rename(path / "mine.json")
    with pytest.raises(OutputError, match=r"without Manifest\.json"):
        export(tiny_weights, "coreml", output_dir=tmp_path, precision="fp32")


@pytest.mark.parametrize("part", ["weights/weight.bin", "model.mlmodel"])
def test_one_changed_byte_is_found_before_it_runs(exported: Exporter, tmp_path: Path, part: str) -> None:
    whole = package.read_package(exported("coreml", "fp16"))
    whole.write(tmp_path / "n.mlpackage")
    file = tmp_path / "n.mlpackage/Data/com.apple.CoreML" / part
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="not those that were exported"):
        package.load_program(tmp_path / "n.mlpackage")


def test_lost_part_of_the_weights_is_found_when_exported(exported: Exporter) -> None:
    path = exported("coreml", "fp16")
    weights = package.read_package(path).weights
    blobs.check_blobs(_spec(path), weights)
    for size in (64, len(weights) // 2, len(weights) - 64):
        with pytest.raises(ValueError, match="weights file"):
            blobs.check_blobs(_spec(path), weights[:size])


def test_package_of_another_exporter_is_refused(exported: Exporter, tmp_path: Path) -> None:
    path = exported("coreml", "fp16")
    spec = _spec(path)
    del spec.description.metadata.userDefined["edgeseg"]
    foreign = package.Package(spec.SerializeToString(), package.read_package(path).weights)
    foreign.write(tmp_path / "foreign.mlpackage")
    assert registry.load("coreml").recognizes(tmp_path / "foreign.mlpackage")
    with pytest.raises(ArtifactError, match="without edgeseg metadata"):
        edgeseg.load(tmp_path / "foreign.mlpackage")


def test_older_kind_of_model_is_refused(exported: Exporter, tmp_path: Path) -> None:
    spec = _spec(exported("coreml", "fp16"))
    spec.neuralNetwork.SetInParent()
    package.Package(spec.SerializeToString(), b"").write(tmp_path / "old.mlpackage")
    with pytest.raises(ArtifactError, match="holds a neuralNetwork, expected an ML program"):
        edgeseg.load(tmp_path / "old.mlpackage")


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"rootModelIdentifier": "A", "itemInfoEntries": {}}'])
def test_folder_with_another_manifest_is_not_recognized(tmp_path: Path, content: str) -> None:
    (tmp_path / "Manifest.json").write_text(content)
    assert registry.load("coreml").recognizes(tmp_path) is False


@NOT_ON_MAC
def test_verdict_is_labelled_as_evaluated(exported: Exporter) -> None:
    with (
        edgeseg.load(exported("coreml", "fp16"), threads=1) as half,
        edgeseg.load(exported("coreml", "fp32")) as single,
    ):
        assert half.runner.execution["runtime"] == "evaluated, not Apple's runtime"
        assert "fp16" in half.runner.execution["arithmetic"]
        assert single.runner.execution["arithmetic"] == "fp32"
        assert half.runner.execution["threads"] == "1"


def test_nothing_is_deferred_where_the_evaluator_works() -> None:
    target = registry.load("coreml")
    assert target.deferral() == ""
    assert target.capabilities.run_hardware == ""


@NOT_ON_MAC
def test_option_of_a_mac_is_refused_elsewhere(exported: Exporter) -> None:
    with pytest.raises(UsageError, match="compute_units cpu_and_ne: Core ML runs on a Mac only"):
        edgeseg.load(exported("coreml", "fp16"), compute_units="cpu_and_ne")


@NOT_ON_MAC
def test_what_core_ml_says_is_passed_on(exported: Exporter) -> None:
    runner = importlib.import_module("edgeseg_targets.coreml.runner")
    options = importlib.import_module("edgeseg_targets.coreml.options")
    path = exported("coreml", "fp16")
    artifact = Artifact(path, registry.load("coreml").read_metadata(path))
    with runner.AppleRunner(artifact, options.CoreMLRunOptions()) as opened:
        assert opened.execution == {"runtime": "Core ML", "compute_units": "all"}
        with pytest.raises(ArtifactError, match="only supported on macOS"):
            opened.run({"images": noise()})
    with pytest.raises(UsageError, match="threads 2: Core ML chooses them"):
        runner.AppleRunner(artifact, options.CoreMLRunOptions(threads=2))


def test_pictures_for_core_ml_are_8_bit() -> None:
    eight_bits = importlib.import_module("edgeseg_targets.coreml.runner").eight_bits
    values = np.array([0, 0.5 / 255, 1.49 / 255, 254.6 / 255, 1, 1.2, -0.1], np.float32)
    assert eight_bits(values).tolist() == [0, 0, 1, 255, 255, 255, 0]


def test_manifest_is_plain_json_with_upper_case_identifiers(exported: Exporter) -> None:
    content = json.loads((exported("coreml", "fp16") / "Manifest.json").read_text())
    assert content["rootModelIdentifier"] in content["itemInfoEntries"]
    assert all(len(name) == 36 and name == name.upper() for name in content["itemInfoEntries"])
