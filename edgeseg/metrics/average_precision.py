"""COCO average precision of boxes and masks. The judge is pycocotools, or faster-coco-eval where that is installed."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import needs_extra
from edgeseg.metrics.coco_results import CocoResults

Kind = Literal["bbox", "segm"]
Package = Literal["faster-coco-eval", "pycocotools"]


class JudgeSource(NamedTuple):
    """Where a judge is found.

    Attributes:
        coco: module and name of its index of annotations.
        evaluator: module and name of its evaluation.
        extra: of ours that brings it.
    """

    coco: tuple[str, str]
    evaluator: tuple[str, str]
    extra: str


JUDGES: dict[Package, JudgeSource] = {
    "faster-coco-eval": JudgeSource(("faster_coco_eval", "COCO"), ("faster_coco_eval", "COCOeval_faster"), "dev"),
    "pycocotools": JudgeSource(("pycocotools.coco", "COCO"), ("pycocotools.cocoeval", "COCOeval"), "train"),
}
"""By package; the first that is installed judges. Both have the classes of the COCO API and give its numbers."""

STATS = (
    "AP",
    "AP50",
    "AP75",
    "APsmall",
    "APmedium",
    "APlarge",
    "AR1",
    "AR10",
    "AR100",
    "ARsmall",
    "ARmedium",
    "ARlarge",
)
"""The twelve numbers of `COCOeval.summarize`, in its order; small is below 32 x 32 px, large above 96 x 96 px."""


@dataclass(frozen=True)
class AveragePrecision:
    """What the judge says, with the names that users of common training tools know.

    Attributes:
        stats: name of `STATS` to value; NaN where no object is of that kind.
        maps: (classes,) AP of each class over IoU 0.50 to 0.95; NaN for a class without objects.
        ap50s: (classes,) AP of each class at IoU 0.50.
        judge: package and version that judged.
    """

    stats: dict[str, float]
    maps: NDArray[np.float64]
    ap50s: NDArray[np.float64]
    judge: str

    @property
    def map(self) -> float:
        """Mean AP over classes and IoU 0.50 to 0.95."""
        return self.stats["AP"]

    @property
    def map50(self) -> float:
        """Mean AP at IoU 0.50."""
        return self.stats["AP50"]

    @property
    def map75(self) -> float:
        """Mean AP at IoU 0.75."""
        return self.stats["AP75"]


@dataclass(frozen=True)
class Judgement:
    """The judge's numbers, and the IoUs that it computed, for everything that is derived from them.

    Attributes:
        precision: AP and AR.
        ious: (image id, category id) to (detections, objects) IoU, detections best first, at most 100.
    """

    precision: AveragePrecision
    ious: dict[tuple[int, int], NDArray[np.float64]]


def judge(
    truth: Mapping[str, Any], results: Iterable[Mapping[str, Any]], kind: Kind, package: Package | None = None
) -> Judgement:
    """Judge COCO results.

    One class at a time, since the judge keeps four tables of each class in each picture: gigabytes for COCO's 5,000.
    No number depends on that: it matches and accumulates each class by itself, and sums up all of them at the end.

    Args:
        truth: a COCO instances dictionary; its `categories` are the classes, in their order.
        results: COCO results: `image_id`, `category_id`, `bbox`, `score`, and for masks `segmentation` RLE.
        kind: boxes or masks.
        package: who judges; None takes the first of `JUDGES` that is installed.

    Raises:
        EnvironmentMissingError: no judge is installed, or not the one that is asked for.
    """
    coco_class, evaluator_class, name = _judge_of(package)
    found, objects = CocoResults.of(results), _by_category(truth)
    categories = [category["id"] for category in truth["categories"]]
    ious: dict[tuple[int, int], NDArray[np.float64]] = {}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # pycocotools prints its progress, and uses numpy calls that newer numpy deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        whole = evaluator_class(None, None, kind)
        whole.params.catIds = sorted(categories)
        whole.eval = _unknown(whole.params)
        for place, category in enumerate(whole.params.catIds):
            pair = (objects.get(category, []), _annotations(found, category))
            one = evaluator_class(*(_coco(coco_class, truth, category, rows) for rows in pair), kind)
            one.evaluate()
            one.accumulate()
            whole.eval["precision"][:, :, place] = one.eval["precision"][:, :, 0]
            whole.eval["recall"][:, place] = one.eval["recall"][:, 0]
            ious |= {(int(image), category): np.asarray(iou) for (image, _), iou in one.ious.items() if len(iou)}
        whole.summarize()
    stats = {key: _or_nan(value) for key, value in zip(STATS, whole.stats, strict=True)}
    places = np.searchsorted(whole.params.catIds, categories)
    precision = whole.eval["precision"][:, :, places, 0, -1]
    return Judgement(AveragePrecision(stats, _per_class(precision), _per_class(precision[:1]), name), ious)


def _judge_of(package: Package | None) -> tuple[Callable[..., Any], Callable[..., Any], str]:
    for name, source in JUDGES.items():
        if package in (None, name) and find_spec(source.coco[0].partition(".")[0]):
            coco, evaluator = (getattr(import_module(module), kind) for module, kind in source[:2])
            return coco, evaluator, f"{name} {version(name)}"
    wanted = package or "pycocotools"
    raise needs_extra(wanted, JUDGES[wanted].extra, "average precision")


def _unknown(params: Any) -> dict[str, NDArray[np.float64]]:
    """What the judge says of classes without objects: -1 by IoU, recall (of the precision), class, size and count."""
    classes = len(params.catIds), len(params.areaRng), len(params.maxDets)
    return {
        "precision": np.full((len(params.iouThrs), len(params.recThrs), *classes), -1.0),
        "recall": np.full((len(params.iouThrs), *classes), -1.0),
    }


def _by_category(truth: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Copies of the annotations: the judge writes into them."""
    objects: dict[int, list[dict[str, Any]]] = {}
    for row in truth["annotations"]:
        objects.setdefault(row["category_id"], []).append(dict(row))
    return objects


def _coco(coco_class: Callable[..., Any], truth: Mapping[str, Any], category: int, rows: list[dict[str, Any]]) -> Any:
    """The judge's index of one class. Its own `loadRes` copies the whole truth, and refuses empty lists."""
    made = coco_class()
    made.dataset = {"images": truth["images"], "categories": [{"id": category}], "annotations": rows}
    made.createIndex()
    return made


def _annotations(found: CocoResults, category: int) -> list[dict[str, Any]]:
    rows = found.rows(np.flatnonzero(found.table["category_id"] == category))
    return [_annotation(row, number) for number, row in enumerate(rows, start=1)]


def _annotation(row: dict[str, Any], number: int) -> dict[str, Any]:
    # The area decides the size class of a detection that matches nothing. Where a result has a box, the judge's
    # own reader takes the box's area for masks too; another choice would give other numbers from the same file.
    _, _, width, height = row["bbox"]
    return {**row, "id": number, "iscrowd": 0, "area": width * height}


def _per_class(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """(IoU thresholds, recalls, classes) with -1 for absent classes to (classes,) means."""
    means: NDArray[np.float64] = precision.mean(axis=(0, 1))
    means[(precision == -1).all(axis=(0, 1))] = np.nan
    return means


def _or_nan(value: float) -> float:
    return float(value) if value >= 0 else float("nan")
