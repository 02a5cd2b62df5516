"""AP of any model on an annotated data set, by the published protocol, with what explains the number."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.dataset import Dataset
from edgeseg.detect import Detections, detect
from edgeseg.errors import UsageError
from edgeseg.export import artifact_sha256
from edgeseg.metrics.average_precision import AveragePrecision, Judgement, judge
from edgeseg.metrics.bootstrap import bootstrap_retention
from edgeseg.metrics.confusion import Confusion, confusion_of
from edgeseg.metrics.curves import Curves, curves_of
from edgeseg.metrics.matching import Matches, match_detections
from edgeseg.predict import Model

logger = logging.getLogger(__name__)

MIN_PICTURES = 32
"""A retention over fewer pictures says nothing: its interval is wider than any gate (facts.md, section 6)."""


@dataclass(frozen=True)
class Metrics:
    """What `val` found.

    Attributes:
        box: AP of the boxes, with `.map`, `.map50`, `.map75`, `.maps`.
        seg: AP of the masks.
        names: class names of the data set, by class id.
        pictures: how many.
        objects: annotated objects that are no crowd.
        curves: precision, recall and F1 of the masks against the score.
        confusion: which classes are taken for which, and how each picture went.
        detections: the COCO results, and the milliseconds of each step.
        matches: of the masks, for retention.
        box_matches: of the boxes.
        data: the data set's file.
        model: the model's file.
        environment: how it ran.
        crowds: annotated areas of several objects, where detections count neither as right nor as wrong.
        data_sha256: of the data set, `Dataset.sha256`.
    """

    box: AveragePrecision
    seg: AveragePrecision
    names: tuple[str, ...]
    pictures: int
    objects: int
    curves: Curves
    confusion: Confusion
    detections: Detections
    matches: Matches
    box_matches: Matches
    data: str
    model: str
    environment: dict[str, Any] = field(default_factory=dict)
    crowds: int = 0
    data_sha256: str = ""

    @property
    def speed(self) -> dict[str, float]:
        """Mean milliseconds a picture of each step; ``masks`` runs beside the network where there are workers."""
        return {step: total / max(self.pictures, 1) for step, total in self.detections.milliseconds.items()}


@dataclass(frozen=True)
class Retention:
    """AP of an artifact over AP of its reference on the same pictures.

    Attributes:
        kind: ``box`` or ``mask``.
        value: the ratio.
        low: 2.5 % quantile of the paired bootstrap over pictures.
        high: 97.5 % quantile.
        pictures: how many.
        reference: the reference's file.
        reference_sha256: of that file.
    """

    kind: str
    value: float
    low: float
    high: float
    pictures: int
    reference: str
    reference_sha256: str


def validate(
    model: Model,
    dataset: Dataset,
    *,
    workers: int = 0,
    batch: int | None = None,
    image_size: tuple[int, int] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Metrics:
    """Run the published protocol: score 0.001, IoU 0.7, several classes a point, 300 detections a picture.

    Args:
        model: open; weights or any artifact.
        dataset: annotated pictures.
        workers: processes for the masks; 0 makes them in this one.
        batch: pictures per run of the network; None takes the model's own.
        image_size: (height, width) of the letterbox; None takes the model's own.
        progress: called after each picture.

    Raises:
        UsageError: model and data set share no class, or the data set is empty.
        SourceError: a picture cannot be read.
    """
    if not len(dataset):
        raise UsageError(f"{dataset.source}: no pictures to validate on")
    categories = _categories(model.names, dataset)
    pictures = [(sample.image_id, sample.path) for sample in dataset]
    found = detect(model, pictures, categories, workers=workers, batch=batch, image_size=image_size, progress=progress)
    return metrics_of(found, dataset, model, image_size)


def metrics_of(found: Detections, dataset: Dataset, model: Model, image_size: tuple[int, int] | None = None) -> Metrics:
    """Everything that is derived from the detections of a data set."""
    truth = _with_rle(dataset)
    judged: dict[str, Judgement] = {kind: judge(truth, found.rows, kind) for kind in ("bbox", "segm")}
    matches = {kind: match_detections(judgement.ious, truth, found.rows) for kind, judgement in judged.items()}
    return Metrics(
        box=judged["bbox"].precision,
        seg=judged["segm"].precision,
        names=dataset.names,
        pictures=len(dataset),
        objects=int(matches["segm"].objects.sum()),
        curves=curves_of(matches["segm"]),
        confusion=confusion_of(truth, found.rows),
        detections=found,
        matches=matches["segm"],
        box_matches=matches["bbox"],
        data=str(dataset.source),
        model=str(model.path),
        environment={
            "judge": judged["segm"].precision.judge,
            "runs_as": dict(model.runner.execution),
            "format": model.metadata.format,
            "precision": model.metadata.precision,
            "image_size": list(image_size or model.metadata.image_size),
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        crowds=sum(row["iscrowd"] for row in truth["annotations"]),
        data_sha256=dataset.sha256,
    )


def retention(reference: Metrics, found: Metrics, *, force: bool = False) -> tuple[Retention, Retention]:
    """Box and mask retention of an artifact, with paired bootstrap intervals.

    Args:
        reference: of the reference.
        found: of the artifact, on the same pictures.
        force: accept fewer than 32 pictures.

    Raises:
        UsageError: too few pictures.
    """
    require_pictures(reference.pictures, force=force)
    whose = (reference.model, artifact_sha256(Path(reference.model)))
    return (
        retention_of("box", reference.box_matches, found.box_matches, whose),
        retention_of("mask", reference.matches, found.matches, whose),
    )


def retention_of(kind: str, reference: Matches, found: Matches, whose: tuple[str, str]) -> Retention:
    """The retention of boxes or masks, from matches on the same pictures.

    Args:
        kind: ``box`` or ``mask``.
        reference: of the reference.
        found: of the artifact.
        whose: the reference's file and its sha256.
    """
    return Retention(kind, *bootstrap_retention(reference, found), reference.objects.shape[1], *whose)


def require_pictures(count: int, *, force: bool = False) -> None:
    """Refuse too few pictures for a retention: before two models run on them, too.

    Raises:
        UsageError: too few, and not forced.
    """
    if count < MIN_PICTURES and not force:
        raise UsageError(
            f"{count} pictures: a retention needs at least {MIN_PICTURES}",
            hint="give a larger set, or --force to get a number that says little",
        )


def _categories(names: tuple[str, ...], dataset: Dataset) -> tuple[int, ...]:
    """The data set's category id of each class of the model, -1 for classes that it does not have."""
    known = dict(zip(dataset.names, dataset.category_ids, strict=True))
    if names == dataset.names:
        return dataset.category_ids
    found = tuple(known.get(name, -1) for name in names)
    shared = sum(category >= 0 for category in found)
    if not shared:
        raise UsageError(
            f"{dataset.source}: none of its {len(dataset.names)} classes ({', '.join(dataset.names[:4])} ...) is one "
            f"of the model's {len(names)} ({', '.join(names[:4])} ...)",
            hint="validate on data of the model's classes",
        )
    lacking = sorted(set(known) - set(names))
    if lacking:
        logger.warning("the model has no class %s: their objects count as missed", ", ".join(lacking[:8]))
    logger.info("classes are matched by name: %d of the model's %d are in the data set", shared, len(names))
    return found


def _with_rle(dataset: Dataset) -> dict[str, Any]:
    """The judge's dictionary with every mask rasterised once, for both kinds and for the confusion."""
    truth = dataset.to_coco()
    sizes = {sample.image_id: sample.size for sample in dataset}
    masks = {(sample.image_id, a.id): a for sample in dataset for a in sample.annotations}
    for row in truth["annotations"]:
        row["segmentation"] = masks[(row["image_id"], row["id"])].to_rle(sizes[row["image_id"]])
    return truth


def worst_pictures(metrics: Metrics, dataset: Dataset, count: int = 12) -> list[tuple[Path, float, int]]:
    """The pictures that went worst: path, quality 0..1, image id."""
    paths = {sample.image_id: sample.path for sample in dataset}
    ranked = sorted(metrics.confusion.pictures, key=lambda score: score.quality)
    return [(paths[score.image_id], score.quality, score.image_id) for score in ranked[:count]]


def iou_histogram(metrics: Metrics, bins: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts and edges of the mask IoU of all right detections, from 0.5 to 1."""
    values = [iou for score in metrics.confusion.pictures for iou in score.mask_ious]
    counts, edges = np.histogram(values, bins=bins, range=(0.5, 1.0))
    return counts.astype(np.int64), edges


def remembered_data(model: Path, images: Path | None = None) -> tuple[Path, Path | None]:
    """The data set that weights remember from their training, and an artifact from its weights.

    Args:
        model: weights or an artifact.
        images: the folder of its pictures, where it is not the remembered one.

    Returns:
        The annotations, and the folder of their pictures; None where that is to be looked for.

    Raises:
        UsageError: it remembers none, or what it remembers is not there.
    """
    data, folder = _remembered(model)
    if not data:
        raise UsageError(
            f"{model}: no data set given, and it does not remember its data", hint="edgeseg val MODEL DATA"
        )
    images = images or (Path(folder) if folder else None)
    gone = data if not Path(data).is_file() else folder if images is not None and not images.is_dir() else ""
    if gone:
        raise UsageError(
            f"{model}: no data set given, and what it remembers is not here: {gone}",
            hint="put it there again, or name a set: edgeseg val MODEL DATA [--images DIR]",
        )
    return Path(data), images


def _remembered(model: Path) -> tuple[str, str]:
    from edgeseg import registry
    from edgeseg.model.weights import load_weights
    from edgeseg.predict import is_weights

    found = load_weights(model).metadata if is_weights(model) else registry.recognize(model).read_metadata(model)
    return found.data, found.images
