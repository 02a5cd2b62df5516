"""What the paddle target does where there is no Paddle: it reads the two files of a folder byte by byte.

The files were written by hand in the layout that Paddle 3.2.2 gives; `own/test_paddle.py` reads Paddle's own.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError
from edgeseg.export import export
from edgeseg.target import Artifact, Target
from edgeseg.tensors import TensorSpec

PROGRAM, PARAMS = "model.json", "model.pdiparams"
SHAPES = {"conv.w": (4, 3, 2, 2), "conv.b": (4,)}
KEYS = "names: {0: square, 1: disc}\nimgsz: [64, 96]\ntask: segment\nlicense: Apache-2.0\n"


@pytest.fixture
def target() -> Target:
    return registry.load("paddle")


def test_own_environment_is_named_where_the_sdk_is_absent(target: Target, tiny_weights: Path, tmp_path: Path) -> None:
    report = target.check_env()
    if report.usable:
        pytest.skip("Paddle is installed here")
    assert "paddlepaddle is not installed, which running needs" in report.problems
    assert report.remedy == "edgeseg targets install paddle"
    with pytest.raises(EnvironmentMissingError, match="paddle") as caught:
        export(tiny_weights, "paddle", output_dir=tmp_path)
    assert caught.value.hint == report.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "in a folder"])
def test_foreign_folder_is_recognised_and_read(target: Target, tmp_path: Path, nested: bool) -> None:
    path = foreign(tmp_path / "n", nested=nested)
    assert target.recognizes(path)
    assert registry.recognize(path).name == "paddle"
    metadata = target.read_metadata(path)
    assert (metadata.names, metadata.image_size, metadata.dynamic) == (("square", "disc"), (64, 96), ())
    assert (metadata.head, metadata.precision, metadata.license) == ("decoded", "fp32", "Apache-2.0")
    assert metadata.inputs == (TensorSpec("images", (1, 3, 64, 96), "float32"),)
    assert [spec.name for spec in metadata.outputs] == ["output0", "output1"]


def test_open_dimensions_of_a_foreign_folder_stay_open(target: Target, tmp_path: Path) -> None:
    metadata = target.read_metadata(foreign(tmp_path / "n", size=(-1, -1), batch=-1))
    assert (metadata.dynamic, metadata.image_size) == (("batch", "size"), (64, 96))


def test_inspect_counts_operators_and_parameters(target: Target, tmp_path: Path) -> None:
    path = foreign(tmp_path / "n")
    findings = target.inspect(Artifact(path, target.read_metadata(path)))
    assert findings.problems == ()
    assert findings.facts["operators"] == "conv2d 2, add 1"
    assert (findings.facts["convolutions"], findings.facts["parameters"]) == (2, "float32 2")


def test_inspect_names_parameters_of_another_type(target: Target, tmp_path: Path) -> None:
    path = foreign(tmp_path / "n")
    (path / PARAMS).write_bytes(record((4,)) + record((4, 3, 2, 2), kind=4, width=2))
    findings = target.inspect(Artifact(path, target.read_metadata(path)))
    assert findings.problems == ("conv.w: parameters are float16, expected float32",)


def damaged_program(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        content = json.loads(data)
        change(content["program"]["regions"][0]["blocks"][0]["ops"])
        return json.dumps(content, separators=(",", ":")).encode()

    return apply


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "half a program": (PROGRAM, lambda data: data[: len(data) // 2], "not readable"),
    "no program": (PROGRAM, lambda _: b'{"base_code":{"magic":"pir"}}', "not readable"),
    "no text": (PROGRAM, lambda data: data[:60] + b"\xff\xfe" + data[62:], "not readable"),
    "no operations": (PROGRAM, damaged_program(lambda ops: ops.clear()), "no operations"),
    "a parameter less": (PROGRAM, damaged_program(lambda ops: ops.pop(0)), "does not fit"),
    "an output less": (PROGRAM, damaged_program(lambda ops: ops.pop()), "nothing in it says what they are"),
    "other shape": (PROGRAM, lambda data: data.replace(b"[4,3,2,2]", b"[4,3,3,2]"), "has the shape"),
    "short parameters": (PARAMS, lambda data: data[:-1], "ends before the end of the parameter conv.w"),
    "long parameters": (PARAMS, lambda data: data + b"\0", "expected"),
    "no parameters": (PARAMS, lambda _: b"", "does not fit"),
    "unknown type": (PARAMS, lambda data: data.replace(b"\x08\x05", b"\x08\x63", 1), "is of type 99"),
    "noise": (PARAMS, lambda data: data[:3] + b"\xff" * (len(data) - 3), "no record of the parameter conv.b"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_foreign_folder_is_refused_before_paddle_sees_it(target: Target, tmp_path: Path, damage: str) -> None:
    path = foreign(tmp_path / "n")
    name, change, message = DAMAGES[damage]
    data = (path / name).read_bytes()
    assert change(data) != data
    (path / name).write_bytes(change(data))
    with pytest.raises(ArtifactError, match=message) as caught:
        target.open(Artifact(path, target.read_metadata(path)), target.run_options_type())
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", [None, "", "names: [a", "imgsz: [64, 96]"])
def test_bare_pair_of_files_is_refused(target: Target, tmp_path: Path, text: str | None) -> None:
    path = foreign(tmp_path / "n")
    (path / "metadata.yaml").unlink()
    if text is not None:
        (path / "metadata.yaml").write_text(text)
    with pytest.raises(ArtifactError, match=r"neither metadata\.json nor a readable metadata\.yaml") as caught:
        target.read_metadata(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"edgeseg": {}, "sha256": {}}', '{"sha256": 3}'])
def test_unreadable_metadata_is_refused(target: Target, tmp_path: Path, text: str) -> None:
    path = foreign(tmp_path / "n")
    (path / "metadata.json").write_text(text)
    with pytest.raises(ArtifactError, match=re.escape(str(path))):
        target.read_metadata(path)


@pytest.mark.parametrize(
    "change", [lambda path: (path / PARAMS).unlink(), lambda path: (path / PROGRAM).write_text("{}")]
)
def test_other_folders_are_not_recognised(target: Target, tmp_path: Path, change: Callable[[Path], Any]) -> None:
    path = foreign(tmp_path / "n")
    change(path)
    assert not target.recognizes(path)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_are_refused_with_the_supported_list(target: Target, precision: str) -> None:
    from edgeseg.export import checked_precision

    with pytest.raises(UsageError, match=precision) as caught:
        checked_precision(target, precision)
    assert caught.value.hint == "supported: fp32"


def foreign(path: Path, *, size: tuple[int, int] = (64, 96), batch: int = 1, nested: bool = False) -> Path:
    """A folder of another exporter, in the decoded layout for two classes: it cannot run, but all else is as it is."""
    folder = path / "inference_model" if nested else path
    folder.mkdir(parents=True)
    (path / "metadata.yaml").write_text(KEYS)
    height, width = size
    operations = [
        *({"#": "p", "A": [0, 1, 1, name], "O": {"%": 1, "TT": tensor(shape)}} for name, shape in SHAPES.items()),
        edge("1.data", "x2paddle_images", (batch, 3, height, width)),
        *({"#": f"1.{kind}", "A": [], "I": [], "O": []} for kind in ("conv2d", "add", "conv2d")),
        edge("1.fetch", "fetch_name_0", (batch, 38, -1 if height < 0 else 84)),
        edge("1.fetch", "fetch_name_1", (batch, 32, height // 4, width // 4)),
    ]
    content = {
        "base_code": {"magic": "pir", "trainable": True, "version": 3},
        "program": {"regions": [{"#": "region_0", "blocks": [{"#": "block_0", "args": [], "ops": operations}]}]},
    }
    (folder / PROGRAM).write_text(json.dumps(content, separators=(",", ":")))
    # Sorted by their names, as Paddle writes them.
    (folder / PARAMS).write_bytes(b"".join(record(SHAPES[name]) for name in sorted(SHAPES)))
    return path


def edge(kind: str, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "#": kind,
        "A": [{"AT": {"#": "0.a_str", "D": name}, "N": "name"}],
        "O": [{"%": 9, "TT": tensor(shape)}],
    }


def tensor(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, list(shape), "NCHW", [], 0]}


def record(shape: tuple[int, ...], kind: int = 5, width: int = 4) -> bytes:
    """One parameter as Paddle stores it; 5 is float32."""
    description = bytes([8, kind, *(byte for size in shape for byte in (16, size))])
    numbers = np.random.default_rng(0).bytes(math.prod(shape) * width)
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + numbers
