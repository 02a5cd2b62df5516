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

_HINTS = {
    "ap_retention_min": "another precision, or more calibration pictures",
    "mask_ap_min": "train longer, or on more pictures",
    "mask_ap50_min": "train longer, or on more pictures",
}
"""Gates that are judged here, and what to do where one is missed."""


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
    values = (retained[1].value, metrics.seg.map, metrics.seg.map50)
    measured = dict(zip(_HINTS, values, strict=True))
    gates = judge(Gates(**request.parameters["gates"]), measured)
    facts = {
        **_numbers(metrics),
        "gates": [gate_json(gate) for gate in gates],
        "retention": [plain(vars(one)) for one in retained],
    }
    failed = [gate for gate in gates if not gate.met]
    if failed:
        message = "; ".join(f"{gate.name} {gate.limit:g}: found {gate.value:.4f}" for gate in failed)
        return StageResult("metric_failed", message, _HINTS[failed[0].name], facts=facts)
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
        "mask_ap50": metrics.seg.map50,
        "judge": metrics.seg.judge,
    }
