"""What a bundle holds, and what becomes of it on another machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeseg.bundle.check import verify_bundle
from edgeseg.bundle.manifest import read_manifest
from edgeseg.bundle.pack import GOLDEN_PICTURES, BundleRequest, write_bundle
from edgeseg.data.letterbox import letterbox
from edgeseg.data.picture import decode_picture
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.export import artifact_sha256, export
from edgeseg.files import sha256_of
from edgeseg.gates import INSPECTED, Gates
from edgeseg.report.result_schema import read_result
from edgeseg.testing.tiny import IMAGE_SIZE, tiny_frames
from tests.bundle.tars import entries
from tests.cli.running import run
from tests.test_packaging import HIDE, OPTIONAL

Packer = Callable[..., Path]

MAX_MB = 40.0
"""What a bundle of scale n at 640 pixels may take."""


@pytest.fixture(scope="module")
def damaged_bundle(pack: Packer, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle of an artifact whose class weights are wrong."""
    model = onnx.load(tiny_onnx)
    (node,) = [node for node in model.graph.node if node.op_type == "Conv" and node.output[0] == "p4_cls"]
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == node.input[1]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.2), tensor.name))
    path = tmp_path_factory.mktemp("damaged") / "damaged.onnx"
    onnx.save(model, path)
    return pack(path)


def test_bundle_of_the_official_network_is_small_enough_and_passes(shared: Path, tmp_path: Path) -> None:
    weights = shared / "weights/yolov8n-seg.pt"
    artifact = export(weights, "onnx", output_dir=tmp_path).path
    pictures = (shared / "data/coco-val128/images",)
    facts = write_bundle(BundleRequest(artifact, weights, pictures, tmp_path / "n.bundle.tar"))
    assert facts["pictures"] == GOLDEN_PICTURES
    assert facts["megabytes"] <= MAX_MB
    assert (tmp_path / "n.bundle.tar").stat().st_size <= MAX_MB * 1e6
    result = verify_bundle(tmp_path / "n.bundle.tar", runs=0)
    assert result["outcome"] == "passed"
    assert result["verify"]["masks"]["matched"] >= facts["instances"]


def test_bundle_holds_what_its_manifest_says(tiny_bundle: Path, tiny_onnx: Path, tiny_weights: Path) -> None:
    (first, text), *rest = entries(tiny_bundle)
    manifest = read_manifest(text, "here")
    assert first.name == "bundle.json"
    assert [info.name for info, _ in rest] == sorted(manifest.members)
    assert {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info, _ in [(first, text), *rest]} == {
        (0, 0, 0, "", 0o644)
    }
    assert manifest.artifact == f"artifact/{tiny_onnx.name}"
    assert manifest.artifact_sha256 == artifact_sha256(tiny_onnx)
    assert manifest.weights_sha256 == sha256_of(tiny_weights)
    assert manifest.target == "onnx-fp32"
    assert {"LICENSES.txt", f"artifact/{tiny_onnx.stem}.edgeseg.json", "golden/recording.json"} <= set(manifest.members)


def test_golden_pictures_are_the_letterboxed_ones_without_loss(tiny_bundle: Path) -> None:
    held = {info.name: data for info, data in entries(tiny_bundle)}
    for frame in tiny_frames():
        expected, _ = letterbox(frame.picture, IMAGE_SIZE)
        assert np.array_equal(decode_picture(held[f"golden/{frame.index:03d}.png"], "golden"), expected)


def test_bundle_carries_card_and_calibration(pack: Packer, tiny_onnx: Path, tiny_pictures: tuple[Path, ...]) -> None:
    path = pack(tiny_onnx, target_id="jetson", card=b"schema: 1\n", calibration=tiny_pictures[:2])
    held = {info.name: data for info, data in entries(path)}
    assert held["card.yaml"] == b"schema: 1\n"
    assert sorted(name for name in held if name.startswith("calibration/")) == [
        "calibration/00000.png",
        "calibration/00001.png",
    ]
    assert decode_picture(held["calibration/00001.png"], "calibration").shape == (*IMAGE_SIZE, 3)
    note = held["LICENSES.txt"].decode()
    assert "artifact/ and golden/ (computed from the weights): Apache-2.0" in note
    assert "pictures in golden/: unknown" in note
    assert verify_bundle(path, runs=0)["target"] == "jetson"


def test_the_same_content_is_the_same_file(
    pack: Packer, tiny_onnx: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = pack(tiny_onnx), pack(tiny_onnx)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != tiny_bundle.read_bytes()


def test_verify_passes_times_and_writes_its_result(tiny_bundle: Path, tmp_path: Path) -> None:
    outcome = run("verify", tiny_bundle, "--runs", 3, "--result", tmp_path / "result.json")
    assert outcome.code == 0, outcome.err
    content = read_result(tmp_path / "result.json")
    manifest = read_manifest(entries(tiny_bundle)[0][1], "here")
    assert content["outcome"] == "passed"
    assert content["bundle_sha256"] == sha256_of(tiny_bundle)
    assert content["artifact_sha256"] == manifest.artifact_sha256
    assert content["verify"]["passed"]
    assert content["benchmark"]["runs"] == 3
    assert 0 < content["benchmark"]["latency_ms"]["min"] <= content["benchmark"]["latency_ms"]["p95"]
    assert content["benchmark"]["peak_rss_mb"] > 10
    assert content["environment"]["onnxruntime"]
    assert "3 runs: p50" in outcome.out


def test_result_lies_beside_the_bundle_where_no_other_place_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bundle.tar"
    copy.write_bytes(tiny_bundle.read_bytes())
    outcome = run("verify", copy, "--runs", 0, "--json", "-")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == json.loads((tmp_path / "result.json").read_text())


def test_a_damaged_artifact_fails_parity(damaged_bundle: Path, tmp_path: Path) -> None:
    outcome = run("verify", damaged_bundle, "--result", tmp_path / "result.json")
    content = read_result(tmp_path / "result.json")
    assert outcome.code == 5
    assert content["outcome"] == "parity_failed"
    assert content["benchmark"] is None
    assert "score_error_max" in content["message"]
    assert "1 of 10 tensors changed (p4_cls)" in content["hint"]
    assert "where the weights are" in content["hint"]


@pytest.mark.parametrize(
    ("gates", "missed"),
    [
        (Gates(artifact_mb_max=0.001), "artifact_mb_max"),
        (Gates(latency_p50_ms_max=0.001), "latency_p50_ms_max"),
        (Gates(peak_rss_mb_max=1.0), "peak_rss_mb_max"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missed_budget_is_its_own_outcome(
    gates: Gates, missed: str, pack: Packer, tiny_onnx: Path, tmp_path: Path
) -> None:
    outcome = run("verify", pack(tiny_onnx, gates), "--runs", 2, "--result", tmp_path / "result.json")
    content = read_result(tmp_path / "result.json")
    assert outcome.code == 5
    assert content["outcome"] == "budget_failed"
    assert [row["name"] for row in content["gates"] if not row["met"]] == [missed]
    assert missed not in content["verify"]["not_judged"]


def test_a_gate_of_time_is_not_judged_without_runs(pack: Packer, tiny_onnx: Path) -> None:
    content = verify_bundle(pack(tiny_onnx, Gates(latency_p50_ms_max=0.001)), runs=0)
    assert content["outcome"] == "passed"
    assert content["verify"]["not_judged"] == ["ap_retention_min", "latency_p50_ms_max"]


def test_a_gate_on_a_finding_that_the_target_does_not_have_is_not_judged(pack: Packer, tiny_onnx: Path) -> None:
    content = verify_bundle(pack(tiny_onnx, Gates(mapped_share_min=0.5)), runs=0)
    assert content["outcome"] == "passed"
    assert content["verify"]["not_judged"] == ["ap_retention_min", "mapped_share_min"]


def test_a_gate_on_a_finding_is_judged(pack: Packer, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The onnx target counts nodes: here they stand for the parts that a compiler maps."""
    monkeypatch.setitem(INSPECTED, "subgraphs_max", "nodes")
    content = verify_bundle(pack(tiny_onnx, Gates(subgraphs_max=1)), runs=0)
    assert content["outcome"] == "budget_failed"
    assert [row["name"] for row in content["gates"] if not row["met"]] == ["subgraphs_max"]


def test_a_changed_bundle_is_refused_before_anything_is_opened(tiny_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    (info,) = [info for info, _ in entries(tiny_bundle) if info.name.endswith(".onnx")]
    data[info.offset_data + info.size // 2] ^= 1
    (tmp_path / "changed.bundle.tar").write_bytes(data)
    outcome = run("verify", tmp_path / "changed.bundle.tar")
    assert outcome.code == 2
    assert f"{info.name!r} has another sha256 than the manifest says" in outcome.err
    assert not (tmp_path / "result.json").exists()


def test_verify_needs_the_core_and_the_runtime_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    code, err, content = _hidden(set(OPTIONAL) - {"onnxruntime"}, tiny_bundle, tmp_path)
    assert code == 0, err
    assert content["outcome"] == "passed"


def test_a_missing_runtime_is_said_and_exits_with_3(tiny_bundle: Path, tmp_path: Path) -> None:
    code, err, content = _hidden(set(OPTIONAL), tiny_bundle, tmp_path)
    assert code == 3
    assert content["outcome"] == "env_missing"
    assert "onnxruntime" in content["message"]
    assert "pip install" in err


@pytest.mark.parametrize("option", [("--gate", "mask_iou_min=0"), ("--score", 0.5), ("--against", "w.pt")])
def test_verify_refuses_options_that_a_bundle_decides(option: tuple[object, ...], tiny_bundle: Path) -> None:
    outcome = run("verify", tiny_bundle, *option)
    assert outcome.code == 2
    assert f"{option[0]}: a bundle has its own" in outcome.err


def test_verify_refuses_bundle_options_for_an_artifact(tiny_onnx: Path) -> None:
    outcome = run("verify", tiny_onnx, "--runs", 3)
    assert outcome.code == 2
    assert "--runs: is for a bundle" in outcome.err


def test_verify_refuses_a_run_option_that_the_target_lacks(tiny_bundle: Path) -> None:
    outcome = run("verify", tiny_bundle, "--option", "thread=1")
    assert outcome.code == 2
    assert "did you mean 'threads'" in outcome.err


def test_bundle_command_writes_beside_the_artifact(
    tiny_weights: Path, tiny_pictures: tuple[Path, ...], tmp_path: Path
) -> None:
    artifact = export(tiny_weights, "onnx", output_dir=tmp_path).path
    pictures = [word for path in tiny_pictures for word in ("--pictures", path)]
    outcome = run("bundle", artifact, "--against", tiny_weights, *pictures, "--gate", "artifact_mb_max=9")
    assert outcome.code == 0, outcome.err
    written = tmp_path / f"{artifact.stem}.bundle.tar"
    assert outcome.out == f"{written}\n"
    assert read_manifest(entries(written)[0][1], "here").gates == Gates(artifact_mb_max=9)


def test_bundle_refuses_weights_and_a_sidecar_of_another_artifact(
    tiny_weights: Path, tiny_onnx: Path, tiny_pictures: tuple[Path, ...], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="weights, expected an artifact"):
        write_bundle(BundleRequest(tiny_weights, tiny_weights, tiny_pictures, tmp_path / "x.tar"))
    for name in (tiny_onnx.name, f"{tiny_onnx.stem}.edgeseg.json"):
        (tmp_path / name).write_bytes((tiny_onnx.parent / name).read_bytes())
    (tmp_path / tiny_onnx.name).write_bytes(tiny_onnx.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="is of an artifact of sha256"):
        write_bundle(BundleRequest(tmp_path / tiny_onnx.name, tiny_weights, tiny_pictures, tmp_path / "x.tar"))
    assert not (tmp_path / "x.tar").exists()


def _hidden(hidden: set[str], bundle: Path, folder: Path) -> tuple[int, str, dict[str, str]]:
    """Exit code, stderr and result of `edgeseg verify` where some modules are not installed."""
    # The process that times the artifact hides nothing, so nothing is timed.
    arguments = ["edgeseg", "verify", str(bundle), "--runs", "0", "--result", str(folder / "result.json")]
    program = f"HIDDEN = {hidden!r}\n{HIDE}\nfrom edgeseg.cli import main\nsys.argv = {arguments!r}\nmain()\n"
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr, json.loads((folder / "result.json").read_text())
