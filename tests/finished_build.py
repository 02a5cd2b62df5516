"""A finished build's folder made by hand, with hashes taken by hashlib here and not by what is tested."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.report.example import build, target, verified


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(path: Path, data: bytes) -> str:
    """Write a file; returns the hash of its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256(data)


def save(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "build.json"
    path.write_text(json.dumps(content))
    return path


def finished(root: Path) -> tuple[Path, dict[str, Any]]:
    """A build in `root/run` of a card, weights and data beside it: one passed file artifact, one deferred folder."""
    run, data = root / "run", root / "data"
    onnx = put(run / "onnx-fp32" / "n.onnx", b"the graph")
    parts = {name: put(run / "coreml-fp16" / "n.mlpackage" / name, name.encode()) for name in ("a.bin", "sub/b.bin")}
    annotations = put(data / "val.json", b'{"images": []}')
    pictures = {data / "images" / name: put(data / "images" / name, name.encode()) for name in ("1.jpg", "2.jpg")}
    # As `sha256sum 1.jpg 2.jpg` prints it.
    listing = "".join(f"{of}  {path.name}\n" for path, of in pictures.items()).encode()
    put(run / "data" / "val.json", json.dumps([[str(path), of] for path, of in pictures.items()]).encode())
    content = build(
        target("onnx-fp32", "passed", message="", hint="", artifact=_artifact("onnx-fp32/n.onnx", onnx)),
        target(
            "coreml-fp16",
            "deferred",
            format="coreml",
            precision="fp16",
            message="",
            hint="take its bundle to the device",
            artifact=_artifact("coreml-fp16/n.mlpackage", "", parts),
            stages={"export": {}},
            bundle={"path": "coreml-fp16/b.zip", "sha256": put(run / "coreml-fp16" / "b.zip", b"bundle")},
        ),
    )
    content["card"] |= {"path": str(root / "card.yaml"), "file_sha256": put(root / "card.yaml", b"schema: 1\n")}
    content["weights"] |= {
        "sha256": put(run / "weights.safetensors", b"weights"),
        "from": str(root / "n.pt"),
        "from_sha256": put(root / "n.pt", b"given"),
    }
    content["data"] = [
        {"name": "val", "annotations": str(data / "val.json"), "sha256": annotations}
        | {"pictures": 2, "list": "data/val.json", "list_sha256": sha256(listing)}
    ]
    save(run, content)
    return run, content


def result_of(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a device wrote about the deferred target."""
    found = next(target for target in content["targets"] if target["outcome"] == "deferred")
    gates = [
        {"name": "mask_iou_min", "limit": 0.9, "value": 0.95, "margin": 0.05, "met": True},
        {"name": "latency_p50_ms_max", "limit": 30.0, "value": 12.5, "margin": 17.5, "met": True},
    ]
    return {
        "schema": 1,
        "kind": "edgeseg-result",
        "target": found["id"],
        "format": found["format"],
        "precision": found["precision"],
        "bundle_sha256": found["bundle"]["sha256"],
        "artifact_sha256": found["artifact"]["sha256"],
        "weights_sha256": content["weights"]["sha256"],
        "outcome": "passed",
        "message": "",
        "hint": "",
        "gates": gates,
        "verify": verified(gates=gates, problems=[], diagnosis=[]),
        "benchmark": {
            "latency_ms": {"p50": 12.5, "p95": 14.0, "mean": 12.8, "min": 12.1},
            "runs": 30,
            "peak_rss_mb": 210.0,
            "open_ms": 80.0,
        },
        "environment": {"edgeseg": "0.1.0", "system": "Darwin arm64"},
        "finished": "2026-07-02T10:00:00+00:00",
        **changes,
    }


def _artifact(path: str, sha: str, parts: dict[str, str] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"path": path, "bytes": 9, "sha256": sha}
    return row | {"files": {name: {"bytes": 5, "sha256": of} for name, of in parts.items()}} if parts else row
