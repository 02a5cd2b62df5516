"""Metadata keys of the peer's exporter: read from its files, and written into ours of the decoded layout.

Its keys were read off files that it exported, as a black box.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError
from edgeseg.metadata import ArtifactMetadata
from edgeseg.tensors import NUM_COEFFICIENTS, STRIDES, Dimension, TensorSpec, decoded_output_specs, input_spec

TASK = "segment"


def peer_keys(metadata: ArtifactMetadata) -> dict[str, str]:
    """The keys by which clients of the peer's files find class names, size and stride."""
    return {
        "description": f"{metadata.name or 'edgeseg'}, {metadata.precision}",
        "author": metadata.producer,
        "license": metadata.license,
        "task": TASK,
        "stride": str(STRIDES[-1]),
        "batch": str(metadata.batch),
        "imgsz": str(list(metadata.image_size)),
        "names": str(dict(enumerate(metadata.names))),
        "channels": "3",
    }


def typed_peer_keys(metadata: ArtifactMetadata) -> dict[str, Any]:
    """`peer_keys` as values of JSON or YAML, which its files other than ONNX hold, and not as texts."""
    return {
        **peer_keys(metadata),
        "stride": STRIDES[-1],
        "batch": metadata.batch,
        "imgsz": list(metadata.image_size),
        "names": dict(enumerate(metadata.names)),
        "channels": 3,
    }


def read_peer_keys(file: Path) -> dict[str, Any]:
    """The keys that the peer writes in YAML beside a network; none where there is no file.

    Raises:
        ArtifactError: it is damaged.
    """
    import yaml

    try:
        keys = yaml.safe_load(file.read_bytes()) if file.is_file() else {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ArtifactError(f"{file}: is not readable: {error}", hint="export it again") from error
    if not isinstance(keys, dict):
        raise ArtifactError(f"{file}: holds no keys", hint="export it again")
    return keys


def from_peer_keys(
    keys: Mapping[str, Any],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    file_format: str,
    where: str,
) -> ArtifactMetadata:
    """Metadata of a foreign file in the decoded layout, as far as it tells.

    Args:
        keys: its key-value metadata; values may be text or already parsed.
        inputs: its inputs, as its runtime sees them.
        outputs: its outputs.
        file_format: the target's name.
        where: the file, for errors.

    Raises:
        ArtifactError: the tensors are not those of a segmentation network in the decoded layout.
    """
    if keys.get("task", TASK) != TASK:
        raise ArtifactError(f"{where}: a network for the task {keys['task']!r}, expected {TASK!r}")
    _check_layout(inputs, outputs, where)
    channels = outputs[0].shape[1]
    names = _names(keys.get("names"), int(channels) - 4 - NUM_COEFFICIENTS, where)
    batch, _, height, width = inputs[0].shape
    # A runtime shows an open dimension as its name, or as None where the file gives it none.
    open_batch = not isinstance(batch, int)
    fixed = isinstance(height, int) and isinstance(width, int)
    size = (int(height), int(width)) if fixed else _size(keys.get("imgsz"), where)
    dynamic = ("batch",) * open_batch + ("size",) * (not fixed)
    shape: tuple[Any, Any] = size if fixed else ("height", "width")
    batches: Dimension = "batch" if open_batch else batch
    return ArtifactMetadata(
        format=file_format,
        precision="fp16" if inputs[0].dtype == "float16" else "fp32",
        head="decoded",
        names=names,
        image_size=size,
        dynamic=dynamic,
        batch=1 if open_batch else int(batch),
        inputs=(input_spec(shape, batches),),
        outputs=decoded_output_specs(len(names), shape, batches),
        license=str(keys.get("license", "")),
        producer=str(keys.get("author", "unknown")),
    )


def _check_layout(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], where: str) -> None:
    found = "; ".join(f"{spec.name} {spec.shape} {spec.dtype}" for spec in (*inputs, *outputs))
    fits = (
        len(inputs) == 1
        and len(inputs[0].shape) == 4
        and inputs[0].shape[1] == 3
        and [len(spec.shape) for spec in outputs] == [3, 4]
        and isinstance(outputs[0].shape[1], int)
        and outputs[0].shape[1] > 4 + NUM_COEFFICIENTS
        and outputs[1].shape[1] == NUM_COEFFICIENTS
    )
    if not fits:
        raise ArtifactError(
            f"{where}: no edgeseg metadata, and its tensors are not of the known layout: {found}",
            hint="expected images (B, 3, H, W); output0 (B, 4 + classes + 32, points); output1 (B, 32, H/4, W/4)",
        )


def _names(value: Any, count: int, where: str) -> tuple[str, ...]:
    if value is None:
        return tuple(f"class{i}" for i in range(count))
    parsed = _parsed(value, where)
    if isinstance(parsed, list | tuple):
        parsed = dict(enumerate(parsed))
    if not isinstance(parsed, dict) or set(parsed) != set(range(len(parsed))):
        raise _unreadable(value, where)
    if len(parsed) != count:
        raise ArtifactError(f"{where}: {len(parsed)} class names for {count} classes in output0")
    return tuple(str(parsed[index]) for index in range(count))


def _size(value: Any, where: str) -> tuple[int, int]:
    if value is None:
        raise ArtifactError(f"{where}: dynamic size and no `imgsz` in its metadata", hint="give --image-size H W")
    parsed = _parsed(value, where)
    sides = parsed if isinstance(parsed, list | tuple) else (parsed, parsed)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise _unreadable(value, where)
    return sides[0], sides[1]


def _parsed(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _unreadable(value, where) from error


def _unreadable(value: Any, where: str) -> ArtifactError:
    return ArtifactError(f"{where}: metadata {str(value)[:80]!r} is not readable", hint="export it again")
