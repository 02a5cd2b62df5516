"""The TensorFlow Lite target beyond conformance: what the interpreter itself sees, options, names, foreign readers."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from edgeseg_targets.tflite.flatbuffer import OPERATORS, TYPES, read_network

import edgeseg
from edgeseg import registry
from edgeseg.data.letterbox import letterbox
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.export import export
from edgeseg.quantised import Quantised, real
from edgeseg.target import Artifact, Findings
from edgeseg.tensors import RAW_OUTPUT_NAMES, Array
from edgeseg.testing import tiny_picture
from edgeseg.testing.suite import copied
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES
from tests.targets import test_readme
from tests.targets.conftest import Exporter, Reference, assert_same_outputs, noise, predicted

README = Path(__file__).resolve().parents[3] / "targets" / "tflite" / "README.md"

ROUNDING = 1e-5
"""Relative to a tensor's largest value: another order of the same float32 sums."""


@pytest.fixture(scope="session")
def uint8(exported: Exporter, pictures: Path) -> Path:
    return exported("tflite", "int8", calibration=pictures, edges="uint8")


def test_interpreter_sees_the_contract_by_name(exported: Exporter, reference: Reference) -> None:
    interpreter = Interpreter(str(exported("tflite")))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["images"], "outputs": sorted(RAW_OUTPUT_NAMES)}
    }
    found = interpreter.get_signature_runner()(images=noise().transpose(0, 2, 3, 1))
    outputs = {name: found[name].transpose(0, 3, 1, 2) for name in RAW_OUTPUT_NAMES}
    assert_same_outputs(outputs, reference(noise(), "raw"), ROUNDING)


@pytest.mark.parametrize("edges", ["int8", "uint8"])
def test_full_integer_file_has_integers_at_its_ends(int8: Path, uint8: Path, edges: str) -> None:
    path = {"int8": int8, "uint8": uint8}[edges]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert {str(np.dtype(end["dtype"])) for end in ends} == {edges}
    # A step of the input is one level of a picture's byte.
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    assert (scale, zero_point) == (pytest.approx(1 / 255), -128 if edges == "int8" else 0)
    scales = [end["quantization"][0] for end in interpreter.get_output_details()]
    assert len(set(scales)) == len(RAW_OUTPUT_NAMES)
    types = set(str(_inspected(path).facts["tensors"]).replace(",", "").split()[::2])
    assert types == {"INT8", "INT32"} | ({"UINT8"} if edges == "uint8" else set())


def test_unsigned_edges_change_no_value(int8: Path, uint8: Path) -> None:
    found, wanted = (_outputs(path) for path in (uint8, int8))
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_runner_gives_what_the_interpreter_stores(int8: Path) -> None:
    boxed, _ = letterbox(tiny_picture(), IMAGE_SIZE)
    interpreter = Interpreter(str(int8))
    stored = interpreter.get_signature_runner()(images=(boxed[None].astype(np.int16) - 128).astype(np.int8))
    with edgeseg.load(int8) as model:
        waiting = model.runner.start({"images": model.input_of([boxed])})()
        found = model.outputs([boxed])
    for name in RAW_OUTPUT_NAMES:
        held = waiting[name]
        assert isinstance(held, Quantised)
        np.testing.assert_array_equal(held.stored, stored[name].transpose(0, 3, 1, 2), err_msg=name)
        np.testing.assert_array_equal(real(held), found[name], err_msg=name)


def test_same_request_gives_the_same_bytes(int8: Path, tiny_weights: Path, pictures: Path, tmp_path: Path) -> None:
    again = export(tiny_weights, "tflite", output_dir=tmp_path, precision="int8", calibration=pictures)
    assert again.path.read_bytes() == int8.read_bytes()


def test_class_names_are_where_other_tools_look(int8: Path) -> None:
    with zipfile.ZipFile(int8) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(NAMES)


def test_constants_lie_in_the_flatbuffer_and_are_aligned(int8: Path) -> None:
    data = int8.read_bytes()
    network = read_network(data)
    assert network.external == ()
    places = {found.__array_interface__["data"][0] for found in network.constants.values()}
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    assert {(place - start) % 16 for place in places} == {0}


def test_one_changed_bit_of_a_weight_is_found_out(exported: Exporter, tmp_path: Path) -> None:
    data = bytearray(exported("tflite").read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "n.tflite"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="is not as it was written") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("options", [{"delegate": "none"}, {"threads": 1}, {"interpreter": "ai-edge-litert"}])
def test_run_options_give_the_same_outputs(exported: Exporter, reference: Reference, options: dict[str, Any]) -> None:
    with edgeseg.load(exported("tflite"), **options) as model:
        assert_same_outputs(model.runner.run({"images": noise()}), reference(noise(), "raw"), ROUNDING)
        assert {key: model.runner.execution[key].split()[0] for key in options} == {
            key: str(value) for key, value in options.items()
        }


def test_opening_is_silent(exported: Exporter) -> None:
    program = f"import edgeseg; edgeseg.load({str(exported('tflite'))!r}).close()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("precision", "options"),
    [("fp32", {"edges": "uint8"}), ("w8a16", {"edges": "int8"}), ("fp16", {"ranges": "minmax"})],
)
def test_option_of_another_precision_is_refused(
    tiny_weights: Path, tmp_path: Path, pictures: Path, precision: str, options: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"calibration": pictures} if precision == "w8a16" else {}
    with pytest.raises(UsageError, match=next(iter(options))):
        export(tiny_weights, "tflite", output_dir=tmp_path, precision=precision, **given, **options)


def test_names_of_types_and_operators_are_the_schemas() -> None:
    from ai_edge_litert import schema_py_generated as schema

    for table, kind in ((TYPES, schema.TensorType), (OPERATORS, schema.BuiltinOperator)):
        assert {number: name for name, number in vars(kind).items() if number in table and name[0] != "_"} == table


def test_int8_predicts_what_fp32_predicts(exported: Exporter, int8: Path) -> None:
    # Hundreds of objects: of the few that a random network is surest of, chance decides.
    counts = [sum(map(len, predicted(path, score=0.05))) for path in (exported("tflite"), int8)]
    assert 0.9 * counts[0] < counts[1] < 1.1 * counts[0]


def test_readme_example_finds_the_same(exported: Exporter, tmp_path: Path) -> None:
    path = exported("tflite")
    test_readme.test_example_without_edgeseg_finds_the_same(lambda *_, **__: path, tmp_path, "tflite", "raw")


def test_readme_example_reads_integers(int8: Path, tmp_path: Path) -> None:
    copied(int8, tmp_path / "n.tflite")
    cv2.imwrite(str(tmp_path / "street.png"), np.ascontiguousarray(tiny_picture(150, 200, 1)[..., ::-1]))
    (program,) = re.findall(r"```python\n(.+?)```", README.read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scores = [float(line.split()[1]) for line in done.stdout.splitlines()]
    assert sorted(scores) == pytest.approx(sorted(predicted(int8)[1].scores), abs=1e-3)


def _outputs(path: Path) -> dict[str, Array]:
    boxed, _ = letterbox(tiny_picture(), IMAGE_SIZE)
    with edgeseg.load(path) as model:
        return model.outputs([boxed])


def _inspected(path: Path) -> Findings:
    target = registry.load("tflite")
    findings = target.inspect(Artifact(path, target.read_metadata(path)))
    assert findings.problems == ()
    return findings
