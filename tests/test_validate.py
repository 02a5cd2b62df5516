"""AP of the official weights on real photos, against the judge's published numbers for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edgeseg
from edgeseg.data.open import open_dataset
from edgeseg.errors import UsageError
from edgeseg.export import export
from edgeseg.validate import Metrics, retention, validate

PICTURES = 128


@pytest.fixture(scope="module")
def reference(shared: Path) -> Metrics:
    with edgeseg.load(shared / "weights/yolov8n-seg.pt") as model:
        return validate(model, open_dataset(shared / "data/coco-val128/instances.json"))


@pytest.fixture(scope="module")
def exported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    folder = tmp_path_factory.mktemp("onnx")
    artifact = export(shared / "weights/yolov8n-seg.pt", "onnx", output_dir=folder)
    with edgeseg.load(artifact.path) as model:
        return model.val(shared / "data/coco-val128/instances.json")


def test_ap_of_the_official_weights_is_the_published_one(shared: Path, reference: Metrics) -> None:
    published = json.loads((shared / "golden/reference_map_coco_val128.json").read_text())
    assert reference.pictures == PICTURES
    assert reference.box.map == pytest.approx(published["bbox"]["AP"], abs=0.002)
    assert reference.box.map50 == pytest.approx(published["bbox"]["AP50"], abs=0.002)
    assert reference.seg.map >= 0.3746
    assert reference.seg.map == pytest.approx(published["segm"]["AP"], abs=0.004)


def test_ap_of_the_exported_file_is_that_of_the_weights(reference: Metrics, exported: Metrics) -> None:
    assert exported.box.map == pytest.approx(reference.box.map, abs=0.001)
    assert exported.seg.map == pytest.approx(reference.seg.map, abs=0.001)


def test_retention_of_the_exported_file_is_one(reference: Metrics, exported: Metrics) -> None:
    box, mask = retention(reference, exported)
    assert box.value == pytest.approx(1, abs=0.002)
    assert mask.low <= mask.value <= mask.high
    assert mask.value == pytest.approx(1, abs=0.002)


def test_retention_of_few_pictures_is_refused_unless_forced(shared: Path) -> None:
    few = open_dataset(shared / "data/coco-val128/instances.json")[:4]
    with edgeseg.load(shared / "weights/yolov8n-seg.pt") as model:
        metrics = validate(model, few)
    with pytest.raises(UsageError, match="a retention needs at least 32"):
        retention(metrics, metrics)
    assert [one.value for one in retention(metrics, metrics, force=True)] == [1.0, 1.0]
