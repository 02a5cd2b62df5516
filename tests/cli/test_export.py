"""`edgeseg export`."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from edgeseg.tensors import RAW_OUTPUT_NAMES
from tests.cli.running import files_in, run
from tests.media import write_picture


def test_export_prints_the_path_of_a_file_that_its_runtime_opens(tiny_weights: Path, tmp_path: Path) -> None:
    outcome = run("export", tiny_weights, "--format", "onnx", "--output", tmp_path / "new")
    path = tmp_path / "new" / "tiny-onnx-fp32.onnx"
    assert (outcome.code, outcome.out) == (0, f"{path}\n")
    assert outcome.err == f"next: edgeseg verify {path} --against {tiny_weights}\n"
    assert files_in(tmp_path) == {"new/tiny-onnx-fp32.onnx", "new/tiny-onnx-fp32.edgeseg.json"}
    session = onnxruntime.InferenceSession(path)
    assert [tensor.name for tensor in session.get_outputs()] == list(RAW_OUTPUT_NAMES)
    assert session.get_inputs()[0].shape == [1, 3, 96, 160]


def test_export_takes_name_precision_size_and_options(tiny_weights: Path, tmp_path: Path) -> None:
    outcome = run(
        *("export", tiny_weights, "-f", "onnx", "-o", tmp_path, "-q", "--name", "mine", "--precision", "fp16"),
        *("--image-size", 64, 96, "--option", "opset=18", "--option", "dynamic_batch=true"),
    )
    path = tmp_path / "mine-onnx-fp16.onnx"
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{path}\n", "")
    assert onnxruntime.InferenceSession(path).get_inputs()[0].shape == ["batch", 3, 64, 96]
    picture = write_picture(tmp_path / "a.png")
    assert run("predict", path, picture, picture, "--batch", 2).code == 0


def test_export_json_says_what_the_artifact_says_of_itself(tiny_weights: Path, tmp_path: Path) -> None:
    outcome = run("export", tiny_weights, "-f", "torchscript", "-o", tmp_path, "--json")
    facts = json.loads(outcome.out)
    assert Path(facts["path"]).is_file()
    assert (facts["format"], facts["precision"], facts["image_size"]) == ("torchscript", "fp32", [96, 160])
    assert facts["license"] == "Apache-2.0"


def test_export_calibrates_on_a_folder_of_pictures(tiny_weights: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(16):
        write_picture(pictures / f"{index}.png")
    outcome = run(
        *("export", tiny_weights, "-f", "onnx", "-o", tmp_path / "out", "--precision", "int8", "--json"),
        *("--calibration", pictures, "--option", "exclude=[cls, box]"),
    )
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert (facts["precision"], facts["options"]["exclude"]) == ("int8", ["cls", "box"])
    outputs = onnxruntime.InferenceSession(facts["path"]).get_outputs()
    assert [(tensor.name, tensor.type) for tensor in outputs] == [(name, "tensor(float)") for name in RAW_OUTPUT_NAMES]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-f", "onx"), "unknown format 'onx'\n  hint: did you mean 'onnx'?"),
        (("-f", "word"), "unknown format 'word'\n  hint: one of: "),
        (("-f", "onnx", "--precision", "int4"), "onnx has no precision 'int4'\n  hint: supported: fp32, fp16, int8"),
        (("-f", "onnx", "--precision", "int8"), "at least 16: there are 0\n  hint: name a data set or a folder"),
        (("-f", "onnx", "--calibration", "."), "onnx fp32 needs no calibration pictures"),
        (("-f", "onnx", "--option", "ranges=minmax"), "onnx fp32 has no option 'ranges'"),
        (("-f", "onnx", "--image-size", "100", "160"), "the nearest is 96 160"),
        (("-f", "onnx", "--option", "opsett=17"), "unknown option of onnx: 'opsett'\n  hint: did you mean 'opset'?"),
        (("-f", "onnx", "--option", "opset=9"), "opset: Input should be greater than or equal to 13, got 9"),
        (("-f", "onnx", "--option", "precision=fp16"), "--option precision: is no option of a target"),
        (("-f", "onnx", "--option", "weights=x"), "--option weights: is no option of a target"),
        (("-f", "onnx", "--option", "opset"), "expected KEY=VALUE"),
        ((), "Missing option '--format'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_export_refuses_with_what_is_supported(
    tiny_weights: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    outcome = run("export", tiny_weights, *arguments, "-o", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert not files_in(tmp_path)


def test_export_refuses_a_model_that_is_exported_already(tiny_onnx: Path, tmp_path: Path) -> None:
    outcome = run("export", tiny_onnx, "-f", "torchscript", "-o", tmp_path)
    assert outcome.code == 2
    assert f"error: {tiny_onnx}: only weights can be exported" in outcome.err


def test_export_names_weights_that_are_not_there(tmp_path: Path) -> None:
    outcome = run("export", tmp_path / "none.pt", "-f", "onnx", "-o", tmp_path)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path / 'none.pt'}: ")


def test_export_names_an_output_folder_that_cannot_be(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = run("export", tiny_weights, "-f", "onnx", "-o", tmp_path / "file")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path / 'file'}: is no folder")
