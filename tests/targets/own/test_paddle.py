"""The paddle target beyond conformance: folders as plain Paddle sees them, what really runs, the way back to ONNX."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, OutputError, StageError, UsageError
from edgeseg.export import export
from edgeseg.target import Artifact
from edgeseg.tensors import DECODED_OUTPUT_NAMES, RAW_OUTPUT_NAMES, Array
from edgeseg.testing.tiny import NAMES
from tests.targets import test_readme
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
    run,
)

# Of importing Paddle, which plain programs do here.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")

ROUNDING = 1e-5
"""Relative to a tensor's largest value: another order of the same float32 sums."""

PROGRAM, PARAMS = "model.json", "model.pdiparams"
NAMES_OF = {"raw": RAW_OUTPUT_NAMES, "decoded": DECODED_OUTPUT_NAMES}
WAYS: dict[str, dict[str, Any]] = {
    "onednn": {"onednn": True},
    "without onednn": {"onednn": False},
    "without passes": {"ir_passes": False},
    "without memory_optim": {"memory_optim": False},
    "one thread": {"threads": 1},
}


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_plain_paddle_gives_the_contract_by_name(exported: Exporter, reference: Reference, outputs: str) -> None:
    """As its documentation runs a folder, with nothing of ours."""
    assert_same_outputs(plain(exported("paddle", outputs=outputs)), reference(noise(), outputs), ROUNDING)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_every_way_to_run_equals_the_reference(
    exported: Exporter, reference: Reference, outputs: str, way: str
) -> None:
    found = run(exported("paddle", outputs=outputs), noise(), **WAYS[way])
    assert_same_outputs(found, reference(noise(), outputs), ROUNDING)


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_open_folder_takes_other_batches_and_sizes(
    exported: Exporter, reference: Reference, outputs: str, onednn: bool
) -> None:
    path = exported("paddle", outputs=outputs, dynamic_batch=True, dynamic_size=True)
    with edgeseg.load(path, onednn=onednn) as model:
        for shape in ((1, 96, 160), (3, 64, 96), (2, 128, 64)):
            pictures = noise(*shape)
            found = model.runner.run({"images": pictures})
            assert_same_outputs(found, reference(pictures, outputs), ROUNDING)


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_the_way_back_to_onnx_equals_the_reference(
    exported: Exporter, reference: Reference, tmp_path: Path, outputs: str
) -> None:
    """By paddle2onnx, run by ONNX Runtime: what another tool reads in the folder is the same network."""
    import paddle2onnx

    path, back = exported("paddle", outputs=outputs), tmp_path / "back.onnx"
    # Another tool than "None" installs packages from the network.
    with contextlib.redirect_stdout(io.StringIO()):
        paddle2onnx.export(str(path / PROGRAM), str(path / PARAMS), str(back), opset_version=15, optimize_tool="None")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(back), settings)
    names = [output.name for output in session.get_outputs()]
    assert ([given.name for given in session.get_inputs()], names) == (["images"], list(NAMES_OF[outputs]))
    found = dict(zip(names, session.run(names, {"images": noise()}), strict=True))
    assert_same_outputs(found, reference(noise(), outputs), ROUNDING)


def test_execution_says_whose_operators_ran(exported: Exporter) -> None:
    path = exported("paddle")
    with edgeseg.load(path, onednn=True, threads=1) as model:
        first = dict(model.runner.execution)
        assert model.runner.execution == first
    counts = dict(part.split() for part in first.pop("operators").split(", "))
    assert int(counts["oneDNN"]) > 200 > int(counts["Paddle"])
    assert first == {"device": "cpu", "threads": "1", "ir_passes": "true", "memory_optim": "true"}
    with edgeseg.load(path, onednn=False) as model:
        fused = dict(model.runner.execution)
    assert re.fullmatch(r"Paddle \d+", fused["operators"])
    assert fused["threads"] == str(os.cpu_count())
    with edgeseg.load(path, ir_passes=False, memory_optim=False) as model:
        stored = dict(model.runner.execution)
    assert re.fullmatch(r"Paddle \d+", stored["operators"])
    assert int(stored["operators"].split()[1]) > int(fused["operators"].split()[1])
    assert (stored["ir_passes"], stored["memory_optim"]) == ("false", "false")


def test_looking_at_what_ran_changes_no_result(exported: Exporter) -> None:
    with edgeseg.load(exported("paddle")) as model:
        before = model.runner.run({"images": noise()})
        assert model.runner.execution
        after = model.runner.run({"images": noise()})
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []


def test_onednn_without_passes_is_refused(exported: Exporter) -> None:
    """Paddle takes the two together and leaves oneDNN out without a word."""
    with pytest.raises(UsageError, match="onednn=true with ir_passes=false"):
        edgeseg.load(exported("paddle"), onednn=True, ir_passes=False)


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_same_weights_give_the_same_bytes(
    exported: Exporter, tiny_weights: Path, tmp_path: Path, outputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = exported("paddle", outputs=outputs)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.chdir(tmp_path)
    again = export(tiny_weights, "paddle", output_dir=tmp_path / "again", outputs=outputs).path
    names = {path.name for path in again.iterdir()}
    assert names == {PROGRAM, PARAMS, "metadata.json", "edgeseg.json"} | (
        {"metadata.yaml"} if outputs == "decoded" else set()
    )
    assert names == {path.name for path in first.iterdir()}
    assert [name for name in names if (again / name).read_bytes() != (first / name).read_bytes()] == []
    # Nothing beside it: the converter writes seven files, in the working folder too.
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    assert list((tmp_path / "again").iterdir()) == [again]


def test_no_path_of_this_machine_is_in_the_files(exported: Exporter) -> None:
    """x2paddle writes its output's path into the Python file that it converts through."""
    path = exported("paddle", outputs="decoded")
    places = (str(path.parent).encode(), str(Path.home()).encode() + b"/", sys.prefix.encode(), b"x2paddle_code")
    for file in path.iterdir():
        assert [place for place in places if place in file.read_bytes()] == [], file.name


def test_exporting_again_replaces_what_was_there_and_prints_nothing(
    tiny_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = export(tiny_weights, "paddle", output_dir=tmp_path, outputs="decoded").path
    export(tiny_weights, "paddle", output_dir=tmp_path)
    assert not (path / "metadata.yaml").exists()
    assert list(tmp_path.iterdir()) == [path]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_somebody_elses_folder_stays(tiny_weights: Path, tmp_path: Path) -> None:
    taken = tmp_path / f"{tiny_weights.stem}-paddle-fp32"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(taken))):
        export(tiny_weights, "paddle", output_dir=tmp_path)
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("program", ["true", "false"])
def test_a_converter_that_fails_is_a_failed_stage(
    monkeypatch: pytest.MonkeyPatch, tiny_weights: Path, tmp_path: Path, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which(program))
    with pytest.raises(StageError, match="x2paddle made no whole network") as caught:
        export(tiny_weights, "paddle", output_dir=tmp_path)
    assert caught.value.outcome == "export_failed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "in a folder"])
def test_folder_of_the_peers_kind_predicts_the_same(exported: Exporter, tmp_path: Path, nested: bool) -> None:
    path = foreign(exported, tmp_path, nested=nested)
    with edgeseg.load(path) as model:
        assert (model.metadata.weights_sha256, model.metadata.precision) == ("", "fp32")
        assert (model.metadata.names, model.metadata.image_size) == (NAMES, (96, 160))
    assert_same_instances(predicted(path), predicted(exported("paddle")))


@pytest.mark.parametrize("name", [PROGRAM, PARAMS])
def test_a_file_of_another_export_is_found_out(exported: Exporter, tmp_path: Path, name: str) -> None:
    path = shutil.copytree(exported("paddle"), tmp_path / "n")
    data = (path / name).read_bytes()
    changed = data.replace(b"NCHW", b"NHWC", 1) if name == PROGRAM else data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    assert changed != data
    (path / name).write_bytes(changed)
    with pytest.raises(ArtifactError, match=rf"{name} is not the one that was written here") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_a_program_that_paddle_refuses_is_an_artifact_error(exported: Exporter, tmp_path: Path) -> None:
    path = foreign(exported, tmp_path)
    text = (path / PROGRAM).read_text()
    (path / PROGRAM).write_text(text.replace('"1.sigmoid"', '"1.no_such_operator"'))
    with pytest.raises(ArtifactError, match="Paddle Inference cannot load it") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_inspect_finds_lost_names(exported: Exporter, tmp_path: Path) -> None:
    from edgeseg.files import sha256_of

    path = shutil.copytree(exported("paddle"), tmp_path / "n")
    (path / PROGRAM).write_text((path / PROGRAM).read_text().replace('"proto"', '"fetch_name_9"'))
    content = json.loads((path / "metadata.json").read_text())
    content["sha256"][PROGRAM] = sha256_of(path / PROGRAM)
    (path / "metadata.json").write_text(json.dumps(content))
    target = registry.load("paddle")
    artifact = Artifact(path, target.read_metadata(path))
    (problem,) = target.inspect(artifact).problems
    assert problem.startswith("outputs [")
    with pytest.raises(ArtifactError, match="fetch_name_9"):
        target.open(artifact, target.run_options_type())


def test_fixed_folder_takes_its_own_size_only(exported: Exporter) -> None:
    with edgeseg.load(exported("paddle")) as model, pytest.raises(UsageError, match="takes 96 160"):
        model.predict(np.zeros((64, 64, 3), np.uint8), image_size=(64, 64))


def test_importing_paddle_leaves_the_process_as_it_was(exported: Exporter, tmp_path: Path) -> None:
    """Paddle sets OMP_NUM_THREADS to 1 and ends the process with a trace of its own on SIGTERM."""
    program = f"""
import os, signal, time
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append("mine"))
before = dict(os.environ)
import edgeseg
edgeseg.load({str(exported("paddle"))!r}).close()
assert os.environ == before, set(os.environ.items()) ^ set(before.items())
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.2)
print(caught)
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("['mine']\n", "", 0)


def test_readme_example_finds_the_same(exported: Exporter, tmp_path: Path) -> None:
    test_readme.test_example_without_edgeseg_finds_the_same(exported, tmp_path, "paddle", "decoded")


@pytest.fixture(scope="module")
def official(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The published n weights at 640, in the decoded layout."""
    folder = tmp_path_factory.mktemp("official")
    yield export(shared / "weights" / "yolov8n-seg.pt", "paddle", output_dir=folder, outputs="decoded").path


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("name", ["bus", "zidane"])
def test_published_weights_equal_the_golden_tensors(official: Path, shared: Path, name: str, onednn: bool) -> None:
    with np.load(shared / "golden" / f"{name}.npz") as golden:
        picture = golden["letterboxed_rgb_u8"]
        wanted = {"output0": golden["decoded"], "output1": golden["proto"]}
    images = np.ascontiguousarray(picture.transpose(2, 0, 1)[np.newaxis], np.float32) / 255
    assert_same_outputs(run(official, images, onednn=onednn), wanted, ROUNDING)


def plain(path: Path) -> dict[str, Array]:
    """What Paddle's own calls give for `noise`."""
    import paddle.inference

    config = paddle.inference.Config(str(path / PROGRAM), str(path / PARAMS))
    config.disable_glog_info()
    config.enable_new_executor()
    config.enable_new_ir()
    predictor = paddle.inference.create_predictor(config)
    (name,) = predictor.get_input_names()
    assert name == "images"
    handle = predictor.get_input_handle(name)
    handle.reshape((1, 3, 96, 160))
    handle.copy_from_cpu(noise())
    predictor.run()
    return {name: predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()}


def foreign(exported: Exporter, folder: Path, *, nested: bool = False) -> Path:
    """A decoded folder that says only what the peer's says, under the converter's own names."""
    path = shutil.copytree(exported("paddle", outputs="decoded"), folder / "foreign")
    (path / "metadata.json").unlink()
    (path / "edgeseg.json").unlink()
    assert yaml.safe_load((path / "metadata.yaml").read_text())["task"] == "segment"
    text = (path / PROGRAM).read_text()
    for ours, theirs in (("images", "x2paddle_images"), ("output0", "fetch_name_0"), ("output1", "fetch_name_1")):
        assert text.count(f'"{ours}"') == 1
        text = text.replace(f'"{ours}"', f'"{theirs}"')
    (path / PROGRAM).write_text(text)
    if nested:
        (path / "inference_model").mkdir()
        for name in (PROGRAM, PARAMS):
            (path / name).rename(path / "inference_model" / name)
    return path
