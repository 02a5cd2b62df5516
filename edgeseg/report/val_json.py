"""The JSON and CSV of a validation: plain values only."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from edgeseg.export import artifact_sha256
from edgeseg.metrics.average_precision import AveragePrecision
from edgeseg.report.schema import plain
from edgeseg.validate import Metrics, Retention, iou_histogram


def val_json(metrics: Metrics, retained: tuple[Retention, ...] = ()) -> dict[str, Any]:
    """A validation as JSON; NaN (a class without objects) is null.

    Args:
        metrics: from `edgeseg.validate.validate`.
        retained: retention against a reference, where one was asked.
    """
    counts, edges = iou_histogram(metrics)
    curves = metrics.curves
    content = {
        "model": metrics.model,
        "model_sha256": known_sha256(metrics.model),
        "data": metrics.data,
        "data_sha256": metrics.data_sha256,
        "pictures": metrics.pictures,
        "objects": metrics.objects,
        "crowds": metrics.crowds,
        "detections": len(metrics.detections.rows),
        "box": _numbers(metrics.box),
        "seg": _numbers(metrics.seg),
        "classes": [
            {
                "name": name,
                "objects": int(objects),
                "box_ap": float(metrics.box.maps[i]),
                "box_ap50": float(metrics.box.ap50s[i]),
                "mask_ap": float(metrics.seg.maps[i]),
                "mask_ap50": float(metrics.seg.ap50s[i]),
            }
            for i, (name, objects) in enumerate(zip(metrics.names, metrics.matches.objects.sum(axis=1), strict=True))
        ],
        "curves": {
            "score": curves.thresholds.tolist(),
            "precision": curves.precision.tolist(),
            "recall": curves.recall.tolist(),
            "f1": curves.f1.tolist(),
            "best_score": float(curves.thresholds[curves.best]),
            "best_f1": float(curves.f1[curves.best]),
        },
        "confusion": metrics.confusion.table.tolist(),
        "mask_iou_histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
        "milliseconds_a_picture": metrics.speed,
        "seconds": metrics.detections.seconds,
        "environment": metrics.environment,
        "retention": [vars(one) for one in retained],
    }
    result: dict[str, Any] = plain(content)
    return result


def val_csv(metrics: Metrics) -> str:
    """One row per class, then one for all."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["class", "objects", "box_ap", "box_ap50", "mask_ap", "mask_ap50"])
    content = val_json(metrics)
    for row in content["classes"]:
        writer.writerow(row.values())
    box, seg = metrics.box, metrics.seg
    writer.writerow(["all", metrics.objects, box.map, box.map50, seg.map, seg.map50])
    return file.getvalue()


def known_sha256(model: str) -> str:
    """Hex sha256 of a model's file or folder; empty where it is not there any more."""
    return artifact_sha256(Path(model)) if Path(model).exists() else ""


def _numbers(precision: AveragePrecision) -> dict[str, Any]:
    return {**precision.stats, "judge": precision.judge}
