"""A build.json made by hand, and a page taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

GATE_LIMITS = {
    "score_error_max": 1e-4,
    "box_error_px_max": 0.02,
    "matched_fraction_min": 1.0,
    "mask_iou_min": 0.99,
    "mask_iou_median_min": 0.999,
    "ap_retention_min": 0.999,
    "mask_ap_min": 0.3,
    "mask_ap50_min": 0.5,
    "latency_p50_ms_max": 30.0,
    "latency_p95_ms_max": 45.0,
    "artifact_mb_max": 20.0,
    "peak_rss_mb_max": 900.0,
}

SEPARATE = {"td", "th", "dt", "dd", "li", "caption"}
"""Elements that stand apart on a page although no space is between their texts."""

VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


def tensor(name: str, error: float | None, sqnr_db: float | None, cosine: float | None = 1.0) -> dict[str, Any]:
    """Statistics as `TensorError.summary` gives them, not finite ones as null."""
    return {"name": name, "max_abs": error, "mean_abs": error, "mean_signed": error, "sqnr_db": sqnr_db} | {
        "cosine": cosine,
        "reference_rms": 2.0,
    }


GATES = [
    {"name": "score_error_max", "limit": 1e-4, "value": 7.867813e-06, "margin": 9.2132e-05, "met": True},
    {"name": "mask_iou_min", "limit": 0.99, "value": 0.98125, "margin": -0.00875, "met": False},
]
"""What the stage `gates` tells of a target that misses one."""


def verified(**changes: Any) -> dict[str, Any]:
    """The facts of a `verify` stage."""
    masks = {
        "pictures": 3,
        "reference_instances": 9,
        "matched": 7,
        "missing": 2,
        "extra": 1,
        "matched_fraction": 0.7,
        "mask_iou_min": 0.98125,
        "mask_iou_p05": 0.985,
        "mask_iou_median": 0.99996,
        "mask_iou_mean": 0.9967,
        "score_error_max": 0.004,
        "mask_iou_histogram_edges": [0.0, 0.9, 0.99, 1.0],
        "mask_iou_histogram": [0, 2, 5],
    }
    facts = {
        "score": 0.25,
        "iou": 0.7,
        "artifact_runs_as": {"provider": "CPUExecutionProvider", "threads": "4 threads"},
        "reference_runs_as": {"device": "cpu"},
    }
    return {
        "problems": ["the contract is broken"],
        "diagnosis": ["the artifact mirrors the picture"],
        "tensors": [tensor("p3_box", 0.0, None), tensor("proto", 2.5e-05, 57.25, 0.9999999)],
        "points": {"score_error_max": 7.867813e-06, "box_error_px_max": 0.00125},
        "masks": masks,
        "worst": [],
        "facts": facts,
        **changes,
    }


def validated(kept: float = 0.9975, **changes: Any) -> dict[str, Any]:
    """The facts of a `validate` stage beside `REFERENCE`."""
    interval = {"value": kept, "low": kept - 0.004, "high": kept + 0.003}
    whose = {"pictures": 500, "reference": "weights.safetensors", "reference_sha256": "ef" * 32}
    numbers = {"box_ap": 0.36, "mask_ap": 0.3, "mask_ap50": 0.49, "judge": "faster-coco-eval 1.6.8"}
    return {
        "pictures": 500,
        "objects": 3600,
        **numbers,
        "ap_retention": kept,
        "retention": [{"kind": kind, **interval, **whose} for kind in ("box", "mask")],
        **changes,
    }


REFERENCE = {"pictures": 500, "objects": 3600, "box_ap": 0.3671, "mask_ap": 0.3048, "mask_ap50": None}
"""AP of the reference; null where there was nothing to measure."""


def timed(p50: float = 36.123, **changes: Any) -> dict[str, Any]:
    """The facts of a `benchmark` stage."""
    return {
        "latency_ms": {"p50": p50, "p95": 41.5, "mean": 37.25, "min": 30.5},
        "steps_p50_ms": {"letterbox": 1.5, "network": 30.0, "decode": 0.5, "masks": 4.0, "total": p50},
        "runs": 30,
        "open_ms": 197.6,
        "peak_rss_mb": 209.4,
        "runs_as": {"threads": "3 timed threads"},
        "pictures": 3,
        "machine": {"cpu": "Cortex-A76", "board": "Raspberry Pi 5", "cores": 4, "system": "Linux aarch64"},
        "load_before": 0.25,
        **changes,
    }


def device_result(**changes: Any) -> dict[str, Any]:
    """What a device told of a target, as it is merged."""
    gates = [
        {"name": "mask_iou_min", "limit": 0.99, "value": 0.9925, "margin": 0.0025, "met": True},
        {"name": "latency_p50_ms_max", "limit": 30.0, "value": 8.5, "margin": 21.5, "met": True},
    ]
    machine = {"cpu": "Apple M2", "board": "", "cores": 8, "system": "Darwin arm64"}
    return {
        "outcome": "passed",
        "message": "",
        "hint": "",
        "gates": gates,
        "verify": verified(problems=[], diagnosis=[]),
        "benchmark": timed(8.5, machine=machine, runs_as={"compute": "ALL"}),
        "environment": {"edgeseg": "0.1.0", "coremltools": "9.0"},
        "finished": "2026-07-02T08:00:00+00:00",
        **changes,
    }


def target(name: str = "onnx-fp32", outcome: str = "parity_failed", **changes: Any) -> dict[str, Any]:
    """One target that has been through all stages."""
    export = {
        "head": "raw",
        "batch": 1,
        "dynamic": ["size"],
        "license": "Apache-2.0",
        "options": {"opset": 17, "simplify": "onnxsim"},
        "tool_versions": {"onnx": "1.23.2"},
    }
    inspected = {"nodes": 249, "half_inputs": True}
    stages = {"export": export, "inspect": inspected, "verify": verified(), "gates": {"gates": GATES}}
    return {
        "id": name,
        "format": "onnx",
        "device": "raspberry-pi-5",
        "precision": "fp32",
        "outcome": outcome,
        "message": "the message",
        "hint": "the hint",
        "log": "",
        "skipped": [],
        "environment": {"kind": "process", "description": "/venv/bin/python", "versions": {"onnxruntime": "1.31.1"}},
        "seconds": {"export": 5.469, "verify": 75.2, "gates": 0.0},
        "gates": GATE_LIMITS,
        "artifact": {"path": f"{name}/n.onnx", "bytes": 13_700_123, "sha256": "ab" * 32},
        "bundle": None,
        "stages": stages,
        **changes,
    }


def absent(name: str, hint: str = "pip install something") -> dict[str, Any]:
    """A target whose SDK is not there."""
    message = f"{name} has no SDK here"
    return target(name, "env_missing", message=message, hint=hint, artifact=None, stages={}, seconds={}, environment={})


def build(*targets: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The content of a build.json."""
    return {
        "schema": 1,
        "name": "n-seg",
        "finished": "2026-07-01T10:20:30+00:00",
        "command": ["edgeseg", "build", "/cards/n seg.yaml", "--weights", "/w/n.pt", "--output", "/runs/n"],
        "card": {"path": "/cards/n seg.yaml", "sha256": "cd" * 32, "file_sha256": "ce" * 32},
        "family": "yolov8-seg",
        "scale": "n",
        "image_size": [480, 640],
        "classes": 2,
        "class_names": ["cat", "dog"],
        "weights": {
            "path": "weights.safetensors",
            "sha256": "ef" * 32,
            "license": "CC-BY-4.0",
            "from": "/w/n.pt",
            "from_sha256": "01" * 32,
            "source": {"file": "n.pt", "sha256": "01" * 32, "date": "2023-01-04"},
        },
        "pictures": {"count": 3, "from": "shipped with edgeseg"},
        "data": [
            {"name": "verify", "annotations": "", "sha256": "", "pictures": 3}
            | {"list_sha256": "d3" * 32, "list": "data/verify.json"},
            {"name": "val", "annotations": "/d/val.json", "sha256": "d1" * 32, "pictures": 500}
            | {"list_sha256": "d2" * 32, "list": "data/val.json"},
        ],
        "reference": {},
        "targets": list(targets),
        "environment": {"edgeseg": "0.1.0", "python": "3.11.7"},
        **changes,
    }


def older(content: dict[str, Any]) -> dict[str, Any]:
    """A build.json as versions before the stage `gates` wrote it, with the gates where they judged them."""
    targets = []
    for one in content["targets"]:
        new = ("log", "skipped", "environment", "seconds", "bundle")
        stages = {name: facts for name, facts in one["stages"].items() if name != "gates"}
        if "verify" in stages:
            stages["verify"] = {**stages["verify"], "gates": one["stages"]["gates"]["gates"], "not_judged": []}
        targets.append({**{key: value for key, value in one.items() if key not in new}, "stages": stages})
    return {
        **{key: value for key, value in content.items() if key not in ("data", "reference")},
        "card": {key: value for key, value in content["card"].items() if key != "file_sha256"},
        "weights": {key: value for key, value in content["weights"].items() if key != "from_sha256"},
        "targets": targets,
    }


@dataclass
class Element:
    """One element of a page; `text` is of itself and of everything inside, single-spaced."""

    tag: str
    attributes: dict[str, str]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


class Page(HTMLParser):
    """A page as a flat list of elements in document order; every end tag must close the innermost open element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert [element.tag for element in self._open] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop().tag == tag
        if tag in SEPARATE:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.pieces.append(data)

    def all(self, *tags: str) -> list[Element]:
        """The elements of these tags."""
        return [element for element in self.elements if element.tag in tags]

    @property
    def text(self) -> str:
        """The text that a reader sees or hears."""
        return self.all("body")[0].text

    @property
    def rows(self) -> list[str]:
        """The text of each table row."""
        return [element.text for element in self.all("tr")]
