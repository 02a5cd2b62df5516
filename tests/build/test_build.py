"""`edgeseg build` from a card to manifests, report and exit code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from edgeseg import registry
from edgeseg.build.execute import Build, ExecuteOptions, execute, train
from edgeseg.build.explain import plan_lines
from edgeseg.build.plan import Plan, make_plan
from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.errors import EnvironmentMissingError, GateError, UsageError
from edgeseg.model.weights import load_weights
from edgeseg.report.build_report import write_reports
from edgeseg.testing import write_tiny_card
from tests.cli.running import run
from tests.train.trainings import CLASSES, draw_shapes, write_card

CARD = Path(__file__).resolve().parents[2] / "cards/n-seg-everywhere.yaml"


def _plan(weights: Path | None, output: Path, only: Sequence[str] = (), overrides: Sequence[str] = ()) -> Plan:
    resolved = resolve(load_card(CARD, overrides), weights=weights)
    return make_plan(resolved, weights_given=weights is not None, only=only, output=output)


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    return shared / "weights/yolov8n-seg.pt"


@pytest.fixture(scope="module")
def built(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return execute(_plan(weights, tmp_path_factory.mktemp("build"), ["onnx", "torchscript"]))


def test_build_passes_on_official_weights(built: Build) -> None:
    assert [target.outcome for target in built.targets] == ["passed", "passed"]
    assert built.error() is None
    assert [list(target.stages) for target in built.targets] == [
        ["export", "inspect", "verify", "benchmark", "gates"]
    ] * 2
    assert [list(target.seconds) for target in built.targets] == [list(target.stages) for target in built.targets]
    for target in built.targets:
        assert target.stages["verify"]["masks"]["mask_iou_min"] >= 0.99
        assert target.stages["verify"]["masks"]["matched"] >= 5


def test_build_writes_a_manifest_per_stage_with_true_hashes(built: Build) -> None:
    folder = built.plan.folder
    manifests = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.manifest.json"))
    stages = ("benchmark", "export", "gates", "inspect", "verify")
    ids = ("onnx-fp32", "torchscript-fp32")
    assert manifests == [
        *(f"{target}/{stage}.manifest.json" for target in ids for stage in stages),
        "weights.manifest.json",
    ]
    weights_hash = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    for path in folder.rglob("*.manifest.json"):
        manifest = json.loads(path.read_text())
        assert manifest["outcome"] == "passed"
        for name, output in manifest["outputs"].items():
            found = hashlib.sha256((path.parent / output).read_bytes()).hexdigest()
            assert found == manifest["output_sha256"][name]
        if manifest["stage"] in ("export", "verify"):
            assert manifest["inputs"]["weights"] == weights_hash


def test_report_names_every_artifact_with_its_hash(built: Build) -> None:
    as_json, page = write_reports(built)
    content = json.loads(as_json.read_text())
    for target in content["targets"]:
        artifact = built.plan.folder / target["artifact"]["path"]
        assert hashlib.sha256(artifact.read_bytes()).hexdigest() == target["artifact"]["sha256"]
    assert page.stat().st_size > 0


def test_sidecar_carries_card_weights_and_parity(built: Build) -> None:
    sidecar = json.loads((built.plan.folder / "onnx-fp32/n-seg-everywhere-onnx-fp32.edgeseg.json").read_text())
    manifest = json.loads((built.plan.folder / "onnx-fp32/export.manifest.json").read_text())
    assert sidecar["card_sha256"] == manifest["parameters"]["card_sha256"] != ""
    assert sidecar["weights_sha256"] == built.weights_sha256
    assert sidecar["parity"]["masks"]["mask_iou_min"] >= 0.99


def test_license_is_not_the_cards_when_the_user_brings_weights(built: Build) -> None:
    assert built.plan.card.card.license == "Apache-2.0"
    assert built.weights["license"] == "unknown"


def test_build_ends_with_a_gate_error_when_a_gate_is_not_met(weights: Path, tmp_path: Path) -> None:
    build = execute(_plan(weights, tmp_path, ["onnx"], ["targets.0.gates.box_error_px_max=0.0000001"]))
    assert [target.outcome for target in build.targets] == ["parity_failed"]
    error = build.error()
    assert isinstance(error, GateError)
    assert "box_error_px_max" in str(error)


def test_too_few_calibration_pictures_are_refused_before_anything_runs(weights: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for index in range(5):
        Image.new("RGB", (64, 48), (index, 0, 0)).save(few / f"{index}.png")
    asked = ["targets.0.precision=int8", f"data.calibration.from={few}"]
    with pytest.raises(UsageError, match="at least 16: there are 5"):
        _plan(weights, tmp_path / "out", ["onnx"], asked)
    assert not (tmp_path / "out").exists()


def test_formats_without_a_target_are_env_missing(weights: Path, tmp_path: Path) -> None:
    absent = [entry.name for entry in registry.entries().values() if entry.target is None]
    if not absent:
        pytest.skip("every known format has a target")
    build = execute(_plan(weights, tmp_path, absent))
    assert {target.outcome for target in build.targets} == {"env_missing"}
    assert isinstance(build.error(), EnvironmentMissingError)
    for target in build.targets:
        assert f"no target is registered for the format '{target.target.format}'" in target.message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.scale=s"], "the card says 's'"),
        (["model.classes=[cat, dog]"], "weights of 80 classes, the card has 2"),
    ],
    ids=["scale", "classes"],
)
def test_weights_that_do_not_fit_the_card_are_refused(
    overrides: list[str], expected: str, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=expected):
        execute(_plan(weights, tmp_path, ["onnx"], overrides))


def test_detection_weights_are_refused(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no mask branches"):
        execute(_plan(shared / "weights/yolov8n.pt", tmp_path, ["onnx"]))


def test_unknown_only_has_a_remedy(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'onnx"):
        _plan(weights, tmp_path, ["onx"])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data", images=4, val=2)


def _training_card(folder: Path, shapes: Path, **sections: object) -> Path:
    model = {"scale": "n", "classes": list(CLASSES), "image_size": [32, 32]}
    return write_card(folder / "card.yaml", shapes, {"epochs": 1}, model=model, **sections)


@pytest.mark.parametrize("start", [False, True], ids=["fresh", "from-weights"])
def test_card_with_a_train_section_plans_to_train(
    start: bool, shapes: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    sections = {"weights": {"path": str(tiny_weights)}} if start else {}
    card = resolve(load_card(_training_card(tmp_path, shapes, **sections)))
    plan = make_plan(card, weights_given=False, output=tmp_path / "out")
    assert plan.weights is None
    train_line, weights_line, *_ = plan_lines(plan, ExecuteOptions())
    origin = tiny_weights if start else "fresh weights"
    assert train_line == f"train     from {origin}, in {tmp_path / 'out/train'}: runs: it has not run here to its end"
    assert weights_line.startswith("weights   trained -> ")


def test_card_without_a_train_section_plans_to_use_its_weights(tiny_weights: Path, tmp_path: Path) -> None:
    plan = make_plan(
        resolve(load_card(write_tiny_card(tmp_path / "card.yaml", tiny_weights, "onnx"))), weights_given=False
    )
    assert plan.weights == tiny_weights
    assert not any(line.startswith("train") for line in plan_lines(plan, ExecuteOptions()))


def test_with_weights_nothing_is_trained(shapes: Path, tiny_weights: Path, tmp_path: Path) -> None:
    card = resolve(load_card(_training_card(tmp_path, shapes)), weights=tiny_weights)
    plan = make_plan(card, weights_given=True, output=tmp_path / "out")
    assert plan.weights == tiny_weights
    assert not any(line.startswith("train") for line in plan_lines(plan, ExecuteOptions()))
    assert train(plan) is plan
    assert not (tmp_path / "out").exists()


def test_with_weights_the_training_data_may_be_absent(tiny_weights: Path, tmp_path: Path) -> None:
    card = resolve(load_card(_training_card(tmp_path, tmp_path / "nowhere")), weights=tiny_weights)
    assert make_plan(card, weights_given=True, output=tmp_path / "out").weights == tiny_weights


@pytest.mark.parametrize("key", ["train", "val"])
@pytest.mark.parametrize("option", [(), ("--dry-run",)], ids=["build", "dry-run"])
def test_training_data_that_is_not_there_is_named(
    key: str, option: tuple[str, ...], shapes: Path, tmp_path: Path
) -> None:
    card = _training_card(tmp_path, shapes)
    done = run("build", card, "-o", tmp_path / "out", "--set", f"data.{key}=absent.json", *option)
    assert done.code == 2
    # The terminal may break the line.
    said = "".join(done.err.split())
    assert f"data.{key}{shapes / 'absent.json'}" in said
    assert not (tmp_path / "out").exists()


def test_card_that_trains_must_name_its_data(tiny_weights: Path, shapes: Path, tmp_path: Path) -> None:
    card = _training_card(tmp_path, shapes, weights={"path": str(tiny_weights)}, data={})
    with pytest.raises(UsageError, match=r"names no data\.train") as caught:
        make_plan(resolve(load_card(card)), weights_given=False)
    assert "--weights FILE" in caught.value.hint
    assert make_plan(resolve(load_card(card), weights=tiny_weights), weights_given=True).weights == tiny_weights


def test_dry_run_lists_the_training_and_does_nothing(shapes: Path, tmp_path: Path) -> None:
    done = run("build", _training_card(tmp_path, shapes), "-o", tmp_path / "out", "--dry-run")
    assert done.code == 0
    assert done.out.startswith(f"train     from fresh weights, in {tmp_path / 'out/train'}: runs")
    assert not (tmp_path / "out").exists()


def test_build_trains_once_and_refuses_to_go_on_with_another_card(shapes: Path, tmp_path: Path) -> None:
    card = _training_card(tmp_path, shapes)

    def plan(*overrides: str) -> Plan:
        return make_plan(resolve(load_card(card, overrides)), weights_given=False, output=tmp_path / "out")

    trained = train(plan())
    assert trained.weights == tmp_path / "out/train/weights/best.safetensors"
    assert load_weights(trained.weights).metadata.names == CLASSES
    manifest = json.loads((tmp_path / "out/train/train.manifest.json").read_text())
    assert manifest["outcome"] == "passed"
    assert manifest["output_sha256"]["weights"] == hashlib.sha256(trained.weights.read_bytes()).hexdigest()
    written = trained.weights.stat().st_mtime_ns

    assert train(plan()).weights == trained.weights
    assert trained.weights.stat().st_mtime_ns == written
    with pytest.raises(UsageError, match=r"train\.lr0 was 0\.01, now 0\.02"):
        train(plan("train.lr0=0.02"))
    assert trained.weights.stat().st_mtime_ns == written


def test_without_weights_the_three_ways_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        _plan(None, tmp_path)
    for way in ("--weights FILE", "--set data.train=", "edgeseg data synth"):
        assert way in caught.value.hint


def test_verification_uses_the_validation_photos_when_they_are_there(
    shared: Path, weights: Path, tmp_path: Path
) -> None:
    plan = _plan(weights, tmp_path, ["onnx"], [f"data.val={shared / 'data/coco-val128/instances.json'}"])
    pictures = plan.pictures.pictures
    assert len(pictures) == 32
    again = _plan(weights, tmp_path, [], [f"data.val={shared / 'data/coco-val128/instances.json'}"])
    assert again.pictures == plan.pictures
    assert all(picture.is_file() for picture in pictures)


def _val(annotations: Path, shared: Path) -> str:
    return f"data.val={{annotations: {annotations}, images: {shared / 'data/coco-val128/images'}}}"


def test_retention_is_judged_where_there_are_validation_pictures(shared: Path, weights: Path, tmp_path: Path) -> None:
    truth = json.loads((shared / "data/coco-val128/instances.json").read_text())
    truth["images"] = truth["images"][:32]
    kept = {image["id"] for image in truth["images"]}
    truth["annotations"] = [row for row in truth["annotations"] if row["image_id"] in kept]
    (tmp_path / "val.json").write_text(json.dumps(truth))
    data = [_val(tmp_path / "val.json", shared)]
    gates = [
        "targets.0.gates.ap_retention_min=1.2",
        "targets.0.gates.mask_ap_min=0.9",
        "targets.1.gates.mask_ap_min=0.3",
    ]
    asked = ["targets.0.precision=fp16", *gates]
    build = execute(_plan(weights, tmp_path / "out", ["onnx", "torchscript"], [*data, *asked]))
    assert [target.outcome for target in build.targets] == ["metric_failed", "passed"]
    assert isinstance(build.error(), GateError)
    assert "ap_retention_min is" in build.targets[0].message
    judged = {gate["name"]: gate for gate in build.targets[1].stages["gates"]["gates"]}
    assert judged["mask_ap_min"]["met"]
    assert judged["ap_retention_min"]["value"] == pytest.approx(1, abs=1e-3)
    assert build.reference["mask_ap"] == pytest.approx(judged["mask_ap_min"]["value"], abs=1e-3)


def test_few_validation_pictures_leave_retention_unjudged(shared: Path, weights: Path, tmp_path: Path) -> None:
    truth = json.loads((shared / "data/coco-val128/instances.json").read_text())
    truth["images"] = truth["images"][:31]
    (tmp_path / "val.json").write_text(json.dumps({**truth, "annotations": []}))
    data = [_val(tmp_path / "val.json", shared)]
    assert _plan(weights, tmp_path, ["onnx"], data).validation is None


def test_set_validation_data_that_is_absent_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        _plan(weights, tmp_path, ["onnx"], ["data.val=/nowhere/val.json"])
