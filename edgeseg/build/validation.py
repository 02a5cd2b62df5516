"""The stages that judge AP: of the reference, once, then the retention of each artifact."""

from __future__ import annotations

from pathlib import Path

from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.data.dataset import Dataset
from edgeseg.data.open import open_dataset
from edgeseg.gates import Gates, judge
from edgeseg.metrics.matching import load_matches, save_matches
from edgeseg.predict import load
from edgeseg.report.schema import gate_json, plain
from edgeseg.validate import Metrics, retention_of, validate

RETENTION_GATE = "ap_retention_min"


def validate_reference(request: StageRequest) -> StageResult:
    """AP of the reference. Parameters: annotations, images, image_size, pictures."""
    height, width = request.parameters["image_size"]
    with load(request.inputs["weights"]) as model:
        metrics = validate(model, _dataset(request), image_size=(height, width))
    path = request.folder / "reference-matches.npz"
    save_matches(path, {"box": metrics.box_matches, "mask": metrics.matches})
    return StageResult(outputs={"reference": path}, facts=_numbers(metrics))


def validate_artifact(request: StageRequest) -> StageResult:
    """AP of an artifact and its retention, judged. Parameters: those of the reference, and gates."""
    with load(request.inputs["artifact"]) as model:
        metrics = validate(model, _dataset(request))
        whose = ("weights.safetensors", model.metadata.weights_sha256)
    reference = load_matches(request.inputs["reference"])
    retained = [
        retention_of(kind, reference[kind], found, whose)
        for kind, found in (("box", metrics.box_matches), ("mask", metrics.matches))
    ]
    measured = {RETENTION_GATE: retained[1].value}
    gates = judge(Gates(**request.parameters["gates"]), measured)
    facts = {
        **_numbers(metrics),
        "gates": [gate_json(gate) for gate in gates],
        "retention": [plain(vars(one)) for one in retained],
    }
    failed = [gate for gate in gates if not gate.met]
    if failed:
        message = f"mask AP retention {failed[0].value:.4f}, limit {failed[0].limit:g}"
        return StageResult("metric_failed", message, "another precision, or more calibration pictures", facts=facts)
    return StageResult(facts=facts)


def _dataset(request: StageRequest) -> Dataset:
    images = request.parameters["images"]
    return open_dataset(Path(request.parameters["annotations"]), images=Path(images) if images else None)


def _numbers(metrics: Metrics) -> dict[str, object]:
    return {
        "pictures": metrics.pictures,
        "objects": metrics.objects,
        "box_ap": metrics.box.map,
        "mask_ap": metrics.seg.map,
        "judge": metrics.seg.judge,
    }
