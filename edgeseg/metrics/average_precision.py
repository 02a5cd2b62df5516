"""COCO average precision of boxes and masks. The judge is pycocotools, or faster-coco-eval where installed."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import needs_extra

Kind = Literal["bbox", "segm"]

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


def judge(truth: dict[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> Judgement:
    """Judge COCO results.

    Args:
        truth: a COCO instances dictionary; its `categories` are the classes, in their order.
        results: COCO results: `image_id`, `category_id`, `bbox`, `score`, and for masks `segmentation`.
        kind: boxes or masks.

    Raises:
        EnvironmentMissingError: no judge is installed.
    """
    coco_class, evaluator_class, name = _package()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # pycocotools prints its progress, and uses numpy calls that newer numpy deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        objects = coco_class()
        objects.dataset = truth
        objects.createIndex()
        found = _results(coco_class, objects, results)
        evaluator = evaluator_class(objects, found, kind)
        categories = [category["id"] for category in truth["categories"]]
        evaluator.params.catIds = categories
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    order = sorted(categories)
    places = [order.index(category) for category in categories]
    precision = evaluator.eval["precision"][:, :, places, 0, -1]
    stats = {key: _or_nan(value) for key, value in zip(STATS, evaluator.stats, strict=False)}
    numbers = AveragePrecision(stats, _per_class(precision), _per_class(precision[:1]), name)
    ious = {key: np.asarray(value) for key, value in evaluator.ious.items() if len(value)}
    return Judgement(numbers, ious)


def _package() -> tuple[Callable[..., Any], Callable[..., Any], str]:
    from importlib.metadata import version
    from importlib.util import find_spec

    if find_spec("faster_coco_eval"):
        from faster_coco_eval import COCO, COCOeval_faster

        return COCO, COCOeval_faster, f"faster-coco-eval {version('faster-coco-eval')}"
    if not find_spec("pycocotools"):
        raise needs_extra("pycocotools", "train", "average precision")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval, f"pycocotools {version('pycocotools')}"


def _results(coco_class: Callable[..., Any], objects: Any, results: Sequence[dict[str, Any]]) -> Any:
    """What the judge's own `loadRes` makes, without its copy of every annotation of the truth; empty lists too."""
    found = coco_class()
    found.dataset = {
        "images": objects.dataset["images"],
        "categories": objects.dataset["categories"],
        "annotations": [_annotation(row, number) for number, row in enumerate(results, start=1)],
    }
    found.createIndex()
    return found


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
