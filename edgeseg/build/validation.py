"""The stages that measure AP: of the reference, once, then the retention of each artifact."""

from __future__ import annotations

from pathlib import Path

from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.data.dataset import Dataset
from edgeseg.data.open import open_dataset
from edgeseg.metrics.matching import load_matches, save_matches
from edgeseg.predict import load
from edgeseg.report.schema import plain
from edgeseg.validate import Metrics, retention_of, validate


def validate_reference(request: StageRequest) -> StageResult:
    """AP of the reference. Parameters: image_size, data. Places: annotations, images."""
    height, width = request.parameters["image_size"]
    with load(request.inputs["weights"]) as model:
        metrics = validate(model, _dataset(request), image_size=(height, width))
    path = request.folder / "reference-matches.npz"
    save_matches(path, {"box": metrics.box_matches, "mask": metrics.matches})
    return StageResult(outputs={"reference": path}, facts=_numbers(metrics))


def validate_artifact(request: StageRequest) -> StageResult:
    """AP of an artifact and its retention, measured. Parameters and places: those of the reference."""
    with load(request.inputs["artifact"]) as model:
        metrics = validate(model, _dataset(request))
        whose = ("weights.safetensors", model.metadata.weights_sha256)
    reference = load_matches(request.inputs["reference"])
    retained = [
        retention_of(kind, reference[kind], found, whose)
        for kind, found in (("box", metrics.box_matches), ("mask", metrics.matches))
    ]
    facts = {"ap_retention": plain(retained[1].value), "retention": [plain(vars(one)) for one in retained]}
    return StageResult(facts={**_numbers(metrics), **facts})


def _dataset(request: StageRequest) -> Dataset:
    images = request.places["images"]
    return open_dataset(Path(request.places["annotations"]), images=Path(images) if images else None)


def _numbers(metrics: Metrics) -> dict[str, object]:
    return {
        "pictures": metrics.pictures,
        "objects": metrics.objects,
        "box_ap": metrics.box.map,
        "mask_ap": metrics.seg.map,
        "mask_ap50": metrics.seg.map50,
        "judge": metrics.seg.judge,
    }
