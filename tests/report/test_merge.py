"""A device's result folded into its build: only where it is of that build, and without losing what the build found."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import UsageError
from edgeseg.files import sha256_of_folder
from edgeseg.report.merge import merge
from edgeseg.report.rerender import rerender
from edgeseg.report.result_schema import read_result
from tests.finished_build import finished, result_of, save

GATE = {"name": "mask_iou_min", "limit": 0.9, "value": 0.95, "margin": 0.05, "met": True}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    folder, content = finished(tmp_path)
    content["targets"][1]["gates"] = {"mask_iou_min": 0.9, "latency_p50_ms_max": 30.0}
    save(folder, content)
    return folder, content


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder.parent / "from-device.json"
    path.write_text(json.dumps(content))
    return path


def target_of(folder: Path, name: str = "coreml-fp16") -> dict[str, Any]:
    content = json.loads((folder / "build.json").read_text())
    return next(target for target in content["targets"] if target["id"] == name)


def test_a_deferred_target_takes_the_device_s_outcome(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    result = result_of(content)
    done = rerender(folder, [written(folder, result)])
    target = target_of(folder)
    assert done.merged == ("coreml-fp16",)
    assert target["outcome"] == "passed"
    assert target["device_result"]["benchmark"] == result["benchmark"]
    assert target["device_result"]["replaced"]["outcome"] == "deferred"
    assert json.loads((folder / "coreml-fp16" / "result.json").read_text()) == result
    assert "coreml-fp16" in (folder / "report.html").read_text()
    assert "on its device" in (folder / "report.md").read_text()


def test_merging_again_takes_the_later_result(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    rerender(folder, [written(folder, result_of(content))])
    later = result_of(content, outcome="run_failed", message="no memory", gates=[], benchmark=None)
    rerender(folder, [written(folder, later)])
    target = target_of(folder)
    assert (target["outcome"], target["message"]) == ("run_failed", "no memory")
    assert target["device_result"]["replaced"]["outcome"] == "deferred"


def test_an_outcome_that_the_build_found_stays_beside_the_device_s(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    onnx = content["targets"][0]["artifact"]["sha256"]
    gates = [{**GATE, "limit": 0.99, "margin": -0.04, "met": False}]
    result = result_of(content, target="onnx-fp32", artifact_sha256=onnx, outcome="parity_failed", gates=gates)
    rerender(folder, [written(folder, result)])
    target = target_of(folder, "onnx-fp32")
    assert (target["outcome"], target["device_result"]["outcome"]) == ("passed", "parity_failed")
    assert "replaced" not in target["device_result"]


def test_results_in_the_folder_are_folded_in_after_a_new_build_json(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    rerender(folder, [written(folder, result_of(content))])
    save(folder, content)
    rerender(folder)
    assert target_of(folder)["outcome"] == "passed"


def test_a_kept_result_of_an_artifact_built_anew_is_left_out_and_said(
    made: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, content = made
    rerender(folder, [written(folder, result_of(content))])
    content["targets"][1]["bundle"]["sha256"] = "00" * 32
    save(folder, content)
    # The command line turns it off, in whichever test ran first.
    monkeypatch.setattr(logging.getLogger("edgeseg"), "propagate", True)
    rerender(folder)
    assert target_of(folder)["outcome"] == "deferred"
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_sha256": "12" * 32}, "another weights"),
        ({"bundle_sha256": "12" * 32}, "another bundle"),
        ({"artifact_sha256": "12" * 32}, "another artifact"),
        ({"bundle_sha256": ""}, "another bundle"),
        ({"target": "coreml-fp32"}, "no target 'coreml-fp32'"),
        ({"gates": [{**GATE, "limit": 0.5, "margin": 0.45}]}, "judged mask_iou_min by 0.5"),
        ({"outcome": "deferred"}, "nothing was verified"),
        ({"outcome": "passed", "gates": []}, "no gates"),
        ({"outcome": "passed", "verify": {}}, "no verification"),
        ({"outcome": "splendid"}, "splendid"),
        ({"gates": [{**GATE, "name": "beauty_min"}]}, "beauty_min"),
        ({"gates": [{**GATE, "value": 0.5}]}, "says met is True"),
        ({"gates": [{**GATE, "value": None}]}, "says met is True"),
        ({"gates": [{**GATE, "value": 0.5, "margin": -0.4, "met": False}]}, "a gate is not met"),
        ({"gates": [{**GATE, "value": "0.95"}]}, "gates.0.value"),
        ({"kind": "other"}, "kind"),
        ({"schema": 2}, "schema"),
        ({"environment": {"a": ["b"]}}, "environment"),
        ({"benchmark": {"runs": 3}}, "latency_ms"),
        ({"message": "m" * 30_000}, "30000 characters"),
        ({"verify": {"masks": {"pictures": 10**300}}}, "integer"),
        ({"verify": {"masks": [0] * 200_000}}, "100000 values"),
    ],
)
def test_a_result_that_does_not_fit_changes_nothing(
    made: tuple[Path, dict[str, Any]], change: dict[str, Any], message: str
) -> None:
    folder, content = made
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=message):
        rerender(folder, [written(folder, result_of(content, **change))])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(made: tuple[Path, dict[str, Any]], number: str) -> None:
    path = written(made[0], result_of(made[1]))
    path.write_text(path.read_text().replace("80.0", number))
    with pytest.raises(UsageError, match="no JSON"):
        read_result(path)


def test_deep_nesting_is_refused(made: tuple[Path, dict[str, Any]]) -> None:
    nested: dict[str, Any] = {}
    for _ in range(200):
        nested = {"a": nested}
    with pytest.raises(UsageError, match="levels"):
        read_result(written(made[0], result_of(made[1], verify=nested)))


def test_a_folder_s_hash_is_that_of_its_files(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    of_folder = sha256_of_folder(folder / "coreml-fp16" / "n.mlpackage")
    result = result_of(content, artifact_sha256=of_folder, bundle_sha256="")
    assert merge(content, result, folder)["outcome"] == "passed"


def test_pictures_named_by_a_device_are_not_looked_for_here(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    result = result_of(content)
    worst = {"source": "a.jpg", "mask_iou": 0.5, "what": "cat", "picture": "../../secret.png"}
    result["verify"]["worst"] = [worst]
    assert read_result(written(folder, result))["verify"]["worst"][0]["picture"] == ""


def test_a_target_id_that_is_no_folder_name_is_refused(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    content["targets"][1]["id"] = "../other"
    save(folder, content)
    with pytest.raises(UsageError, match="no name of a folder"):
        rerender(folder)


def test_a_manifest_that_lacks_what_a_page_shows_is_a_usage_error(made: tuple[Path, dict[str, Any]]) -> None:
    folder, content = made
    del content["pictures"]
    save(folder, content)
    with pytest.raises(UsageError, match=r"build\.json"):
        rerender(folder)


def test_a_signature_is_left_alone_where_nothing_changed_and_said_to_be_void_where_it_did(
    made: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, content = made
    rerender(folder)
    before = (folder / "build.json").read_bytes()
    (folder / "build.json.sig").write_text("signature")
    monkeypatch.setattr(logging.getLogger("edgeseg"), "propagate", True)
    rerender(folder)
    assert (folder / "build.json").read_bytes() == before
    assert "sign it again" not in caplog.text
    rerender(folder, [written(folder, result_of(content))])
    assert "sign it again" in caplog.text
