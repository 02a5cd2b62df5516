"""The ncnn target beyond conformance: the files as plain ncnn sees them, arithmetic, and folders of other exporters."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ncnn
import numpy as np
import pnnx
import pytest
import yaml

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, OutputError, StageError, UsageError
from edgeseg.export import export
from edgeseg.target import Artifact
from edgeseg.tensors import RAW_OUTPUT_NAMES, Array
from edgeseg.testing.tiny import NAMES
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
    run,
)

TOLERANCE = {"fp32": 1e-5, "fp16": 0.02}
"""Relative to a tensor's largest value; fp16 weights keep three digits, and some are lost on the way."""

PARAM, BIN = "model.ncnn.param", "model.ncnn.bin"
HALF = struct.pack("<I", 0x01306B47)
INT8 = struct.pack("<I", 0x000D4B38)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_plain_ncnn_gives_the_contract_by_name(exported: Exporter, reference: Reference, precision: str) -> None:
    found = _plain(exported("ncnn", precision), "images", RAW_OUTPUT_NAMES)
    assert_same_outputs(found, reference(noise(), "raw"), TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_plain_ncnn_gives_the_decoded_layout_under_its_clients_names(
    exported: Exporter, reference: Reference, precision: str
) -> None:
    found = _plain(exported("ncnn", precision, outputs="decoded"), "in0", ("out0", "out1"))
    wanted = {f"out{name[-1]}": array for name, array in reference(noise(), "decoded").items()}
    assert_same_outputs(found, wanted, TOLERANCE[precision])


def test_half_weights_are_stored_in_half_the_bytes(exported: Exporter) -> None:
    whole, half = ((exported("ncnn", precision) / BIN).read_bytes() for precision in ("fp32", "fp16"))
    assert (whole[:4], half[:4]) == (bytes(4), HALF)
    assert 0.5 < len(half) / len(whole) < 0.55


def test_inspect_names_weights_of_the_wrong_type(exported: Exporter) -> None:
    target = registry.load("ncnn")
    path = exported("ncnn")
    metadata = target.read_metadata(path)
    assert target.inspect(Artifact(path, metadata)).problems == ()
    findings = target.inspect(Artifact(path, replace(metadata, precision="fp16")))
    assert len(findings.problems) == findings.facts["convolutions"] == 80
    assert all(problem.endswith("weights are fp32, expected fp16") for problem in findings.problems)


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
def test_same_weights_give_the_same_bytes(exported: Exporter, tiny_weights: Path, tmp_path: Path, outputs: str) -> None:
    first = exported("ncnn", outputs=outputs)
    again = export(tiny_weights, "ncnn", output_dir=tmp_path, precision="fp32", outputs=outputs).path
    names = {path.name for path in again.iterdir()}
    assert names == {path.name for path in first.iterdir()}
    assert names == {PARAM, BIN, "metadata.json", "edgeseg.json"} | (
        {"metadata.yaml"} if outputs == "decoded" else set()
    )
    assert [name for name in names if (again / name).read_bytes() != (first / name).read_bytes()] == []


def test_exporting_again_replaces_what_was_there(tiny_weights: Path, tmp_path: Path) -> None:
    path = export(tiny_weights, "ncnn", output_dir=tmp_path, precision="fp32", outputs="decoded").path
    export(tiny_weights, "ncnn", output_dir=tmp_path, precision="fp32")
    assert not (path / "metadata.yaml").exists()
    assert list(tmp_path.iterdir()) == [path]


def test_somebody_elses_folder_stays(tiny_weights: Path, tmp_path: Path) -> None:
    taken = tmp_path / f"{tiny_weights.stem}-ncnn-fp32"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(taken))):
        export(tiny_weights, "ncnn", output_dir=tmp_path, precision="fp32")
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("program", ["true", "false"])
def test_a_converter_that_fails_is_a_failed_stage(
    monkeypatch: pytest.MonkeyPatch, tiny_weights: Path, tmp_path: Path, program: str
) -> None:
    monkeypatch.setattr(pnnx, "EXEC_PATH", shutil.which(program))
    with pytest.raises(StageError, match="pnnx made no whole network") as caught:
        export(tiny_weights, "ncnn", output_dir=tmp_path)
    assert caught.value.outcome == "export_failed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("int8" in registry.load("ncnn").capabilities.precisions, reason="ncnn's programs are on PATH")
def test_int8_is_refused_with_the_supported_list(exported: Exporter) -> None:
    with pytest.raises(UsageError, match="int8") as caught:
        exported("ncnn", "int8")
    assert caught.value.hint == "supported: fp16, fp32"


def test_decoded_folder_takes_its_own_size_only(exported: Exporter) -> None:
    with edgeseg.load(exported("ncnn", outputs="decoded")) as model, pytest.raises(UsageError, match="takes 96 160"):
        model.predict(np.zeros((64, 64, 3), np.uint8), image_size=(64, 64))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_folder_of_the_peers_kind_predicts_the_same(exported: Exporter, tmp_path: Path, precision: str) -> None:
    foreign = _foreign(exported, tmp_path, precision)
    with edgeseg.load(foreign) as model:
        assert (model.metadata.weights_sha256, model.metadata.precision) == ("", precision)
        assert (model.metadata.names, model.metadata.image_size) == (NAMES, (96, 160))
    assert_same_instances(predicted(foreign, batch=3), predicted(exported("ncnn", precision)))


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "short weights": (BIN, lambda data: data[:-4], "does not fit"),
    "long weights": (BIN, lambda data: data + bytes(4), "does not fit"),
    "no weights": (BIN, lambda _: b"", "ends before"),
    "unknown weights": (BIN, lambda data: b"ncnn" + data[4:], "expected fp32, fp16 or int8"),
    "int8 weights without scales": (BIN, lambda data: INT8 + data[4:], "weights of int8 and scales of kind 0"),
    "scales of float weights": (PARAM, lambda text: text.replace(b" 6=216", b" 6=216 8=2"), "scales of kind 2"),
    "unknown layer": (PARAM, lambda text: text.replace(b"Softmax ", b"Shuffle "), "is a Shuffle, expected one of"),
    "other size": (PARAM, lambda text: text.replace(b"6=216", b"6=217"), "does not fit"),
    "negative size": (PARAM, lambda text: text.replace(b"6=216", b"6=-99999999"), "does not fit"),
    "no number": (PARAM, lambda text: text.replace(b"6=216", b"6=many"), "does not fit"),
    "half a description": (PARAM, lambda text: text[: len(text) // 2], "not readable"),
    "no layers": (PARAM, lambda text: text[:8], "not readable"),
    "other magic": (PARAM, lambda text: b"7767518" + text[7:], "expected 7767517"),
    "no text": (PARAM, lambda text: text[:100] + b"\xff\xfe" + text[102:], "not readable"),
    "loose end": (PARAM, lambda text: text.replace(b" in0 1 ", b" in9 1 "), "in9"),
    "other output": (PARAM, lambda text: text.replace(b" out1", b" out2"), "out2"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_foreign_folder_is_refused_before_ncnn_sees_it(exported: Exporter, tmp_path: Path, damage: str) -> None:
    foreign = _foreign(exported, tmp_path)
    name, change, message = DAMAGES[damage]
    data = (foreign / name).read_bytes()
    assert change(data) != data
    (foreign / name).write_bytes(change(data))
    target = registry.load("ncnn")
    with pytest.raises(ArtifactError, match=message) as caught:
        target.open(Artifact(foreign, target.read_metadata(foreign)), target.run_options_type())
    assert str(foreign) in caught.value.message


@pytest.mark.parametrize("name", [PARAM, BIN])
def test_a_file_of_another_export_is_found_out(exported: Exporter, tmp_path: Path, name: str) -> None:
    path = shutil.copytree(exported("ncnn"), tmp_path / "n")
    data = bytearray((path / name).read_bytes())
    data[-2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name}.* is not") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"edgeseg": {}, "sha256": {}}', '{"sha256": 3}'])
def test_unreadable_metadata_is_refused(exported: Exporter, tmp_path: Path, text: str) -> None:
    path = shutil.copytree(exported("ncnn"), tmp_path / "n")
    (path / "metadata.json").write_text(text)
    with pytest.raises(ArtifactError, match=re.escape(str(path))):
        edgeseg.load(path)


@pytest.mark.parametrize("text", [None, "", "names: [a", "names: {0: a}", "{imgsz: 96, names: {0: a}}"])
def test_bare_pair_of_files_is_refused(exported: Exporter, tmp_path: Path, text: str | None) -> None:
    path = _foreign(exported, tmp_path)
    (path / "metadata.yaml").unlink()
    if text is not None:
        (path / "metadata.yaml").write_text(text)
    with pytest.raises(ArtifactError, match=r"neither metadata\.json nor a readable metadata\.yaml") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_threads_and_arithmetic_are_said(exported: Exporter) -> None:
    with edgeseg.load(exported("ncnn"), threads=1) as model:
        assert model.runner.execution == {"device": "cpu", "threads": "1", "arithmetic": "fp32"}


@pytest.mark.parametrize(("arithmetic", "tolerance"), [("fp16", 0.02), ("bf16", 0.1)])
def test_arithmetic_is_what_was_asked_or_refused(exported: Exporter, arithmetic: str, tolerance: float) -> None:
    """ncnn falls back to fp32 in silence; then the same bits would come out under another name."""
    path, pictures = exported("ncnn"), noise()
    exact = run(path, pictures)
    try:
        found = run(path, pictures, arithmetic=arithmetic)
    except EnvironmentMissingError as error:
        assert error.hint == "run with --option arithmetic=fp32"
        net = _net(path, arithmetic=arithmetic)
        fallen = _extracted(net, "images", RAW_OUTPUT_NAMES)
        assert [name for name in exact if not np.array_equal(fallen[name], exact[name])] == []
        return
    assert_same_outputs(found, exact, tolerance)
    assert [name for name in exact if np.array_equal(found[name], exact[name])] == []


@pytest.mark.skipif(ncnn.get_gpu_count() > 0, reason="a Vulkan device is here")
def test_absent_vulkan_device_is_a_missing_environment(exported: Exporter) -> None:
    with pytest.raises(EnvironmentMissingError, match="no Vulkan device"):
        edgeseg.load(exported("ncnn"), device="vulkan")


@pytest.mark.skipif(ncnn.get_gpu_count() == 0, reason="no Vulkan device is here")
def test_vulkan_equals_the_cpu(exported: Exporter) -> None:
    path = exported("ncnn")
    assert_same_outputs(run(path, noise(), device="vulkan"), run(path, noise()), 1e-4)


def _net(path: Path, arithmetic: str = "fp32") -> ncnn.Net:
    net = ncnn.Net()
    for kind, switches in {"fp16": ("packed", "storage", "arithmetic"), "bf16": ("packed", "storage")}.items():
        for switch in switches:
            setattr(net.opt, f"use_{kind}_{switch}", kind == arithmetic)
    assert net.load_param(str(path / PARAM)) == 0
    assert net.load_model(str(path / BIN)) == 0
    return net


def _extracted(net: ncnn.Net, given: str, names: tuple[str, ...]) -> dict[str, Array]:
    (picture,) = noise()
    with net.create_extractor() as extractor:
        extractor.input(given, ncnn.Mat(picture).clone())
        return {name: np.array(extractor.extract(name)[1])[np.newaxis] for name in names}


def _plain(path: Path, given: str, names: tuple[str, ...]) -> dict[str, Array]:
    """What ncnn's own calls give for `noise`, with a batch of one in front."""
    return _extracted(_net(path), given, names)


def _foreign(exported: Exporter, folder: Path, precision: str = "fp32") -> Path:
    """A decoded folder that says only what the peer's says."""
    path = shutil.copytree(exported("ncnn", precision, outputs="decoded"), folder / "foreign")
    (path / "metadata.json").unlink()
    (path / "edgeseg.json").unlink()
    assert yaml.safe_load((path / "metadata.yaml").read_text())["task"] == "segment"
    return path


DROPPED = """
import sys
from pathlib import Path
import ncnn
from edgeseg_targets.ncnn.options import NcnnRunOptions
from edgeseg_targets.ncnn.runner import NcnnRunner, _loaded
folder = Path(sys.argv[1])
runner = object.__new__(NcnnRunner)
runner._pool, runner._scratch = ncnn.PoolAllocator(), ncnn.PoolAllocator()
runner._net = _loaded(folder, NcnnRunOptions(), runner._pool, runner._scratch)
del runner
print("dropped")
"""


def test_a_runner_that_is_dropped_unclosed_frees_its_pools_after_the_weights(tmp_path: Path) -> None:
    # A depthwise convolution keeps repacked weights; ncnn ends the process where their pool has gone before.
    layer = "ConvolutionDepthWise dw 1 1 in0 out0 0=16 1=3 4=1 5=1 6=144 7=16"
    (tmp_path / "model.ncnn.param").write_text(f"7767517\n2 2\nInput in0 0 1 in0\n{layer}\n")
    weights = np.ones(160, np.float32).tobytes()
    (tmp_path / "model.ncnn.bin").write_bytes(bytes(4) + weights)
    done = subprocess.run(
        [sys.executable, "-c", DROPPED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "dropped\n", "")
