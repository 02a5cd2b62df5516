"""The whole path against what the official network gave elsewhere: bytes, tensors, and 136 instances."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

import edgeseg
from edgeseg import Instances, Model
from edgeseg.data.letterbox import letterbox, to_input
from edgeseg.data.picture import read_picture
from edgeseg.postprocess.decode import decode_all
from edgeseg.tensors import INPUT_NAME, NUM_COEFFICIENTS, Array

SCORE = 0.25
CLEAR = 0.005
"""Scores this close to the threshold may fall on either side of it."""


@pytest.fixture(scope="module")
def reference(shared: Path) -> Iterator[Model]:
    with edgeseg.load(shared / "weights" / "yolov8n-seg.pt") as model:
        yield model


@pytest.fixture(scope="module")
def exported(shared: Path, reference: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    artifact = reference.export("onnx", output=tmp_path_factory.mktemp("golden"))
    with edgeseg.load(artifact.path) as model:
        yield model


@pytest.fixture(scope="module", params=["bus", "zidane"])
def golden(request: pytest.FixtureRequest, shared: Path) -> dict[str, Any]:
    with np.load(shared / "golden" / f"{request.param}.npz") as arrays:
        return {"picture": read_picture(shared / "media" / f"{request.param}.jpg"), **arrays}


# Bytes and tensors


def test_letterbox_gives_the_golden_bytes(golden: dict[str, Any]) -> None:
    boxed, _ = letterbox(golden["picture"], (640, 640))

    np.testing.assert_array_equal(boxed, golden["letterboxed_rgb_u8"], strict=True)


@pytest.fixture(scope="module", params=["reference", "exported"])
def decoded(request: pytest.FixtureRequest, golden: dict[str, Any]) -> Mapping[str, Array]:
    model: Model = request.getfixturevalue(request.param)
    return decode_all(model.runner.run({INPUT_NAME: to_input([golden["letterboxed_rgb_u8"]])}))


def test_every_decoded_box_is_within_two_hundredths_of_a_pixel(
    golden: dict[str, Any], decoded: Mapping[str, Array]
) -> None:
    want, have = _corners(golden["decoded"][0, :4]), _corners(decoded["output0"][0, :4])

    assert want.shape == have.shape == (4, 8400)
    assert np.abs(want - have).max() < 0.02


def test_every_probability_is_within_a_ten_thousandth(golden: dict[str, Any], decoded: Mapping[str, Array]) -> None:
    want, have = (table[0, 4:-NUM_COEFFICIENTS] for table in (golden["decoded"], decoded["output0"]))

    assert want.shape == have.shape == (80, 8400)
    assert np.abs(want - have).max() < 1e-4
    assert want.max() > 0.8, "a picture without objects would prove nothing"


def test_every_coefficient_and_prototype_is_within_a_thousandth(
    golden: dict[str, Any], decoded: Mapping[str, Array]
) -> None:
    want, have = (table[:, -NUM_COEFFICIENTS:] for table in (golden["decoded"], decoded["output0"]))

    assert np.abs(want - have).max() < 1e-3
    assert golden["proto"].shape == decoded["output1"].shape
    assert np.abs(golden["proto"] - decoded["output1"]).max() < 1e-3


# Instances


@dataclass(frozen=True)
class GoldenPicture:
    """One picture and what was found in it: boxes (N, 4) xyxy px, masks as COCO RLE."""

    path: Path
    instances: list[dict[str, Any]]


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[GoldenPicture]:
    content = json.loads((shared / "golden" / "predictions_conf025.json").read_text())
    folders = (shared / "media", shared / "data" / "coco-val128" / "images")
    return [
        GoldenPicture(next(f / row["image"] for f in folders if (f / row["image"]).is_file()), row["instances"])
        for row in content["results"]
    ]


def _predicted(model: Model, pictures: list[GoldenPicture]) -> list[Instances]:
    return [result.instances for result in model.predict([picture.path for picture in pictures], score=SCORE)]


@pytest.fixture(scope="module")
def by_reference(reference: Model, pictures: list[GoldenPicture]) -> list[Instances]:
    return _predicted(reference, pictures)


@pytest.fixture(scope="module")
def by_export(exported: Model, pictures: list[GoldenPicture]) -> list[Instances]:
    return _predicted(exported, pictures)


@pytest.fixture(params=["by_reference", "by_export"])
def found(request: pytest.FixtureRequest) -> list[Instances]:
    instances: list[Instances] = request.getfixturevalue(request.param)
    return instances


def test_every_clear_golden_instance_is_found_once_with_its_class_score_box_and_mask(
    pictures: list[GoldenPicture], found: list[Instances]
) -> None:
    mask_ious: list[float] = []
    for picture, instances in zip(pictures, found, strict=True):
        pairs = _matched(picture.instances, instances)
        clear = {i for i, row in enumerate(picture.instances) if row["score"] > SCORE + CLEAR}
        assert clear <= pairs.keys(), f"{picture.path.name}: {clear - pairs.keys()} not found"
        for i in clear:
            assert abs(picture.instances[i]["score"] - instances.scores[pairs[i][0]]) < 1e-4, picture.path.name
            assert pairs[i][1] >= 0.999, f"{picture.path.name}: box IoU"
        masks = _mask_ious(picture.instances, instances)
        mask_ious += [masks[i, pairs[i][0]] for i in clear]
    assert len(mask_ious) > 120
    assert np.median(mask_ious) >= 0.999
    assert min(mask_ious) >= 0.95


def test_no_clear_instance_is_found_that_is_not_golden(pictures: list[GoldenPicture], found: list[Instances]) -> None:
    for picture, instances in zip(pictures, found, strict=True):
        used = {j for j, _ in _matched(picture.instances, instances).values()}
        extra = [j for j, score in enumerate(instances.scores) if score > SCORE + CLEAR and j not in used]
        assert extra == [], f"{picture.path.name}: {instances[extra].class_ids} {instances[extra].scores}"


def test_the_export_finds_the_same_instances_with_the_same_masks(
    by_reference: list[Instances], by_export: list[Instances]
) -> None:
    for want, have in zip(by_reference, by_export, strict=True):
        rows = [
            {"class_id": row["category_id"], "xyxy": _xyxy(row["bbox"]), "mask_rle": row["segmentation"]}
            for row in want.to_coco(0)
        ]
        pairs = _matched(rows, have)
        clear = [i for i, score in enumerate(want.scores) if score > SCORE + 1e-3]
        assert set(clear) <= pairs.keys()
        masks = _mask_ious(rows, have)
        assert all(masks[i, pairs[i][0]] >= 0.99 for i in clear)
        np.testing.assert_allclose(
            [have.scores[pairs[i][0]] for i in clear], [want.scores[i] for i in clear], rtol=0, atol=1e-4
        )


def _matched(rows: list[dict[str, Any]], instances: Instances) -> dict[int, tuple[int, float]]:
    """Golden index to (found index, box IoU) of the same class, one to one, best IoU first, at least 0.5."""
    if not rows or not len(instances):
        return {}
    want = np.array([_xywh(row["xyxy"]) for row in rows], np.float64)
    have = np.array([_xywh(box) for box in instances.xyxy.tolist()], np.float64)
    ious = coco_mask.iou(want, have, [False] * len(have))
    ious[np.array([row["class_id"] for row in rows])[:, None] != instances.class_ids[None]] = 0
    pairs: dict[int, tuple[int, float]] = {}
    taken: set[int] = set()
    for i, j in zip(*np.unravel_index(np.argsort(-ious, axis=None), ious.shape), strict=True):
        if ious[i, j] >= 0.5 and int(i) not in pairs and int(j) not in taken:
            pairs[int(i)] = (int(j), float(ious[i, j]))
            taken.add(int(j))
    return pairs


def _mask_ious(rows: list[dict[str, Any]], instances: Instances) -> NDArray[np.float64]:
    have = [row["segmentation"] for row in instances.to_coco(0)]
    ious: NDArray[np.float64] = coco_mask.iou([row["mask_rle"] for row in rows], have, [False] * len(have))
    return ious


def _corners(cxcywh: Array) -> Array:
    return np.concatenate([cxcywh[:2] - cxcywh[2:] / 2, cxcywh[:2] + cxcywh[2:] / 2])


def _xywh(xyxy: list[float]) -> list[float]:
    return [xyxy[0], xyxy[1], xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]]


def _xyxy(xywh: list[float]) -> list[float]:
    return [xywh[0], xywh[1], xywh[0] + xywh[2], xywh[1] + xywh[3]]
