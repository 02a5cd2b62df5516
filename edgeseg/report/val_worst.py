"""The pictures of a validation that went worst, drawn: annotations on one side, detections on the other."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeseg import rle
from edgeseg.data.dataset import Dataset, Sample
from edgeseg.data.picture import Picture, read_picture
from edgeseg.draw import draw_instances
from edgeseg.instances import CroppedMask, Instances
from edgeseg.metrics.confusion import SCORE
from edgeseg.validate import Metrics, worst_pictures
from edgeseg.writers import encode_picture

PANEL_SIDE_PX = 480
"""Longest side of a panel: two of them fill the page."""

CROWD = "crowd"
"""What an area of many objects is called; detections in it count neither way."""


def drawn_worst(metrics: Metrics, dataset: Dataset, count: int = 12) -> list[dict[str, Any]]:
    """The worst pictures with their two panels as base64 JPEG, and what to say of each.

    Args:
        metrics: of the validation.
        dataset: what it ran on.
        count: how many, at most.

    Raises:
        SourceError: a picture cannot be read.
    """
    chosen = {image_id: quality for _, quality, image_id in worst_pictures(metrics, dataset, count)}
    samples = {sample.image_id: sample for sample in dataset if sample.image_id in chosen}
    scores = {score.image_id: score for score in metrics.confusion.pictures}
    rows: dict[int, list[Mapping[str, Any]]] = {image_id: [] for image_id in chosen}
    for row in metrics.detections.rows:
        if row["image_id"] in rows and row["score"] > SCORE:
            rows[row["image_id"]].append(row)
    return [
        {
            "name": samples[image_id].path.name,
            "quality": f"{quality:.2f}",
            "score": scores[image_id],
            "panels": _panels(samples[image_id], rows[image_id], dataset),
        }
        for image_id, quality in chosen.items()
    ]


def _panels(sample: Sample, rows: Sequence[Mapping[str, Any]], dataset: Dataset) -> list[dict[str, Any]]:
    picture = read_picture(sample.path)
    annotated, found = annotated_instances(sample, dataset.names), found_instances(sample, rows, dataset)
    return [
        _panel("Annotated", draw_instances(picture, annotated, labels="names"), annotated),
        _panel("Found", draw_instances(picture, found), found),
    ]


def _panel(title: str, drawn: Picture, instances: Instances) -> dict[str, Any]:
    counts = Counter(instances.names[class_id] for class_id in instances.class_ids.tolist())
    scaled = scaled_panel(drawn)
    return {
        "title": title,
        "what": ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "nothing",
        "picture": base64.b64encode(encode_picture(scaled, ".jpg")).decode(),
        "height": scaled.shape[0],
        "width": scaled.shape[1],
    }


def annotated_instances(sample: Sample, names: tuple[str, ...]) -> Instances:
    """What a picture is annotated with, for drawing; crowds are a class of their own after `names`."""
    masks = [annotation.to_rle(sample.size) for annotation in sample.annotations]
    class_ids = [len(names) if annotation.crowd else annotation.class_id for annotation in sample.annotations]
    return Instances(
        xyxy=np.array([a.xyxy for a in sample.annotations], np.float32).reshape(-1, 4),
        scores=np.ones(len(masks), np.float32),
        class_ids=np.array(class_ids, np.int64),
        masks=tuple(map(_cropped, masks)),
        names=(*names, CROWD),
        image_size=sample.size,
    )


def found_instances(sample: Sample, rows: Sequence[Mapping[str, Any]], dataset: Dataset) -> Instances:
    """What was found in a picture, for drawing: its rows of COCO results."""
    classes = {category: class_id for class_id, category in enumerate(dataset.category_ids)}
    xywh = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    return Instances(
        xyxy=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        scores=np.array([row["score"] for row in rows], np.float32),
        class_ids=np.array([classes[row["category_id"]] for row in rows], np.int64),
        masks=tuple(_cropped(row["segmentation"]) for row in rows),
        names=dataset.names,
        image_size=sample.size,
    )


def _cropped(mask: Mapping[str, Any]) -> CroppedMask:
    bitmap, (top, left) = rle.decode_cropped(mask)
    return CroppedMask(bitmap, top, left)


def scaled_panel(picture: Picture) -> Picture:
    """A picture at no more than a panel's size."""
    import cv2

    height, width = picture.shape[:2]
    factor = PANEL_SIDE_PX / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
