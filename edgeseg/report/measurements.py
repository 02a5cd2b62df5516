"""What a report shows of numbers that were measured, here or on a target's device: as text, with their units."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from edgeseg.report import numbers
from edgeseg.report.words import counted

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ABSENT = "–"

LATENCIES = (
    ("p50", "Median"),
    ("p95", "95th percentile"),
    ("p99", "99th percentile"),
    ("mean", "Mean"),
    ("min", "Fastest"),
)
"""Key of `latency_ms`, and its name on the page; older builds have no p99."""

ON_DEVICE = (("p50", "median"), ("p95", "95th percentile"), ("p99", "99th percentile"))
"""Of the network alone by the accelerator's own clock."""

PRECISIONS = (("mask_ap", "Mask AP", "mask"), ("mask_ap50", "Mask AP50", ""), ("box_ap", "Box AP", "box"))
"""Key of the AP, its name on the page, and the kind of its retention, which is measured for two of them."""


def parity_of(verify: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a comparison with the reference found.

    Args:
        verify: facts of the stage, empty where it did not run.
        folder: the build's; pictures of worst instances are read from it, and from nowhere else.
    """
    masks = verify.get("masks") or {}
    points = verify.get("points") or {}
    return {
        "masks": list(_mask_rows(masks)) if masks else [],
        "instances": masks.get("reference_instances", 0),
        "bins": _bins(masks) if masks.get("matched") else [],
        "tensors": _tensors(verify.get("tensors") or []),
        "points": {
            "score": numbers.number(points["score_error_max"]),
            "box": numbers.number(points["box_error_px_max"]),
        }
        if points
        else {},
        "iou": {key: numbers.overlap(masks[f"mask_iou_{key}"]) for key in ("min", "median")} if masks else {},
        "worst": [_worst(worst, folder) for worst in verify.get("worst") or []],
        "problems": verify.get("problems") or [],
        "diagnosis": verify.get("diagnosis") or [],
    }


def speed_of(benchmark: Mapping[str, Any]) -> dict[str, Any] | None:
    """Times, memory and the machine; None where nothing was timed."""
    times = benchmark.get("latency_ms")
    if not times:
        return None
    steps = {name: spent for name, spent in (benchmark.get("steps_p50_ms") or {}).items() if name != "total"}
    whole = max(sum(steps.values()), 1e-9)
    return {
        "p50": numbers.milliseconds(times["p50"]),
        "rows": [(label, numbers.milliseconds(times[key])) for key, label in LATENCIES if times.get(key) is not None]
        + list(_costs(benchmark)),
        "steps": [
            {"name": name, "value": numbers.milliseconds(spent), "width": round(100 * spent / whole, 2)}
            for name, spent in steps.items()
        ],
        "machine": _machine(benchmark.get("machine") or {}),
    }


def accuracy_of(validate: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any] | None:
    """AP of an artifact beside its reference's; None where it was not validated."""
    if "mask_ap" not in validate:
        return None
    kept = {one["kind"]: one for one in validate.get("retention") or []}
    return {
        "kept": numbers.percent(validate["ap_retention"]) if "ap_retention" in validate else "",
        "rows": [
            {
                "label": label,
                "reference": _share(reference.get(key)),
                "artifact": _share(validate.get(key)),
                "kept": numbers.percent(kept[kind]["value"]) if kind in kept else "",
                "interval": _interval(kept[kind]) if kind in kept else "",
            }
            for key, label, kind in PRECISIONS
        ],
        "on": f"{counted(validate['objects'], 'object')} in {counted(validate['pictures'], 'picture')}",
        "judge": validate.get("judge") or "",
    }


def reference_rows(reference: Mapping[str, Any]) -> list[tuple[str, str]]:
    """AP of the reference as names and values; none where it was not judged."""
    if not reference:
        return []
    on = f"{counted(reference['objects'], 'object')} in {counted(reference['pictures'], 'picture')}"
    rows = [(f"{label} of the reference", _share(reference.get(key))) for key, label, _ in PRECISIONS]
    return [*rows, ("Judged on", on)]


def _interval(retention: Mapping[str, Any]) -> str:
    """Both ends with one unit."""
    low, high = (numbers.percent(retention[end]) for end in ("low", "high"))
    return f"{low.removesuffix(f'{numbers.JOINED}%')} to {high}"


def _share(value: float | None) -> str:
    """An AP; a dash where nothing was there to measure."""
    return ABSENT if value is None else f"{value:.4f}"


def _costs(benchmark: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The network alone where the device counts it, memory and time of no single run, and how it was timed."""
    counted_there = benchmark.get("device_ms") or {}
    for key, label in ON_DEVICE:
        if counted_there.get(key) is not None:
            yield f"Network by the device's clock, {label}", numbers.milliseconds(counted_there[key])
    if (peak := benchmark.get("peak_rss_mb")) is not None:
        yield "Peak memory", f"{peak:.0f} MB"
    if (opened := benchmark.get("open_ms")) is not None:
        yield "To open the model", numbers.milliseconds(opened)
    over = f" over {counted(benchmark['pictures'], 'picture')}" if benchmark.get("pictures") else ""
    yield "Timed", f"{counted(benchmark['runs'], 'run')}{over}" if "runs" in benchmark else "not given"
    if (load := benchmark.get("load_before")) is not None:
        yield "Load in the minute before", f"{load:.2f}"


def _machine(machine: Mapping[str, Any]) -> str:
    """Board, processor, cores and system in a line; empty where nothing is known."""
    cores = counted(machine["cores"], "core") if machine.get("cores") else ""
    return ", ".join(
        str(part) for part in (machine.get("board"), machine.get("cpu"), cores, machine.get("system")) if part
    )


def _mask_rows(masks: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Pictures", str(masks["pictures"])
    yield "Instances of the reference", str(masks["reference_instances"])
    yield "Matched / missing / extra", f"{masks['matched']} / {masks['missing']} / {masks['extra']}"
    if masks["matched"]:
        yield "Mask IoU, smallest", numbers.overlap(masks["mask_iou_min"])
        yield "Mask IoU, 5th percentile", numbers.overlap(masks["mask_iou_p05"])
        yield "Mask IoU, median", numbers.overlap(masks["mask_iou_median"])
        yield "Mask IoU, mean", numbers.overlap(masks["mask_iou_mean"])
        yield "Score error, largest", numbers.number(masks["score_error_max"])


def _bins(masks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The mask IoU histogram, best bin first; widths in percent of the largest bin."""
    edges, counts = masks.get("mask_iou_histogram_edges", []), masks.get("mask_iou_histogram", [])
    largest = max(counts, default=0) or 1
    return [
        {"name": f"{low:g} to {high:g}", "value": str(count), "width": round(100 * count / largest, 2)}
        for low, high, count in reversed(list(zip(edges[:-1], edges[1:], counts, strict=True)))
    ]


def _tensors(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows, and a sentence that sums them up."""
    rows = [
        {
            "name": tensor["name"],
            "identical": tensor["max_abs"] == 0,
            "max": numbers.number(tensor["max_abs"]),
            "mean": numbers.number(tensor["mean_abs"]),
            "sqnr": numbers.decibels(tensor["sqnr_db"]) if tensor["max_abs"] is not None else numbers.NOT_FINITE,
            "cosine": numbers.cosine(tensor["cosine"]),
        }
        for tensor in tensors
    ]
    noisy = [tensor for tensor in tensors if tensor["sqnr_db"] is not None and tensor["max_abs"] != 0]
    broken = [tensor for tensor in tensors if tensor["max_abs"] is None]
    identical = sum(row["identical"] for row in rows)
    same = {0: "none identical to the reference", len(rows): "all identical to the reference"}
    parts = [f"{len(rows)}, {same.get(identical, f'{identical} identical to the reference')}"]
    if broken:
        parts.append(f"{len(broken)} with values that are no numbers")
    if noisy:
        least = min(noisy, key=lambda tensor: float(tensor["sqnr_db"]))
        parts.append(f"least signal to noise in {least['name']}, {numbers.decibels(least['sqnr_db'])} dB")
    return {"rows": rows, "summary": "; ".join(parts)}


def _worst(worst: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "what": worst["what"],
        "mask_iou": numbers.overlap(worst["mask_iou"]),
        "source": PurePath(worst["source"]).name,
        "picture": _embedded(folder / worst["picture"], folder) if worst["picture"] else "",
    }


def _embedded(path: Path, folder: Path) -> str:
    """A PNG of the build's folder as base64; empty for anything else, so that a page never takes in other files."""
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        return ""
    data = path.read_bytes()
    return base64.b64encode(data).decode() if data.startswith(PNG_SIGNATURE) else ""
