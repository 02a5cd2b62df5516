"""Weights: tensors under our names with what is known about them, from safetensors or a foreign checkpoint.

Reading needs no torch; only `shape_problems` builds the network, on the meta device, to compare every shape.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import WeightsError
from edgeseg.model.checkpoint import Checkpoint, read_checkpoint
from edgeseg.model.config import FAMILY, SCALES, STRIDE_MULTIPLE, NetworkConfig, scale_of
from edgeseg.model.safetensors_file import is_safetensors, read_weights, write_weights
from edgeseg.tensors import Array

logger = logging.getLogger(__name__)

METADATA_KEY = "edgeseg"
MASK_BRANCHES = ("head.coef.", "head.proto.")
MAX_CHANNELS = 65_535
MAX_REPEATS = 100
"""Far above any network of the family (640 channels, 6 repeats); a hostile file could ask for one without end."""

SUPPORTED = f"supported: {FAMILY} and yolov8 detection checkpoints, scales " + ", ".join(SCALES)

FLAT_NAMES: Mapping[str, str] = {
    "0": "backbone.stem",
    "1": "backbone.down2",
    "2": "backbone.stage2",
    "3": "backbone.down3",
    "4": "backbone.stage3",
    "5": "backbone.down4",
    "6": "backbone.stage4",
    "7": "backbone.down5",
    "8": "backbone.stage5",
    "9": "backbone.sppf",
    "12": "neck.fine4",
    "15": "neck.fine3",
    "16": "neck.down3",
    "18": "neck.coarse4",
    "19": "neck.down4",
    "21": "neck.coarse5",
    "22.cv2": "head.box",
    "22.cv3": "head.cls",
    "22.cv4": "head.coef",
    "22.proto": "head.proto",
}
"""Module path in a foreign checkpoint, after ``model.``, to ours; 10, 11, 13, 14, 17 and 20 hold no tensors."""

IGNORED = re.compile(r"model\.22\.dfl\.conv\.weight|.*\.num_batches_tracked")
"""The 16 fixed bins of the box distribution, and counters that evaluation never reads."""


@dataclass(frozen=True)
class WeightsMetadata:
    """What a weights file says about itself.

    Attributes:
        names: class names by id.
        scale: n, s, m, l or x; empty for a network of other sizes.
        license: licence text or identifier, as found or given; empty where nobody said.
        image_size: (height, width) in pixels that the weights were trained at.
        missing: prefixes of our names that the file lacks, such as the mask branches of a detector.
        train_args: training arguments, as found.
        data: the data set: of our training the annotations to validate on, an absolute path; else as found.
        images: folder of that set's pictures; empty where it is to be looked for.
        source: where they came from: file name, sha256, date and version of the exporter.
    """

    names: tuple[str, ...]
    scale: str = ""
    license: str = ""
    image_size: tuple[int, int] = (640, 640)
    missing: tuple[str, ...] = ()
    train_args: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    images: str = ""
    source: dict[str, str] = field(default_factory=dict)
    family: str = FAMILY

    def to_json(self) -> str:
        """Sorted JSON, the same bytes for the same content."""
        return json.dumps({"schema": 1, **asdict(self)}, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: Path) -> WeightsMetadata:
        """Read `to_json`'s text."""
        try:
            data = json.loads(text)
            if data.pop("schema") != 1:
                raise WeightsError(f"{where}: weights metadata of another schema", hint="update edgeseg")
            height, width = data.pop("image_size")
            names, missing = data.pop("names"), tuple(data.pop("missing"))
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise TypeError("names is no list of texts")
            if not all(isinstance(data.get(name, ""), str) for name in ("data", "images")):
                raise TypeError("data or images is no text")
            return cls(names=tuple(names), missing=missing, image_size=(int(height), int(width)), **data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{where}: weights metadata is not readable: {error!r}") from error


@dataclass(frozen=True)
class Weights:
    """Tensors under the names of `SegmentationNetwork`, float32, and their metadata."""

    tensors: dict[str, Array]
    metadata: WeightsMetadata
    config: NetworkConfig


def load_weights(path: Path) -> Weights:
    """Read our safetensors, or import a foreign checkpoint through the restricted reader.

    Raises:
        WeightsError: neither, unsafe, broken, of another family, or without metadata.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if not is_safetensors(path):
        return import_checkpoint(path)
    tensors, metadata = read_weights(path)
    if METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path}: safetensors without edgeseg metadata (class names, scale)",
            hint="weights come from `edgeseg weights import` or from training",
        )
    return checked(tensors, WeightsMetadata.from_json(metadata[METADATA_KEY], path), path)


def save_weights(weights: Weights, path: Path) -> None:
    """Write safetensors, atomically; the same content gives the same bytes."""
    write_weights(path, weights.tensors, {METADATA_KEY: weights.metadata.to_json()})


def import_checkpoint(path: Path) -> Weights:
    """A foreign YOLOv8 checkpoint under our names, in float32.

    A detection checkpoint gives everything but the mask branches; the metadata's `missing` and the log say so.
    """
    checkpoint = read_checkpoint(path)
    tensors = {_our_name(name, path, checkpoint): array.astype("float32") for name, array in _kept(checkpoint)}
    missing = () if any(name.startswith(MASK_BRANCHES) for name in tensors) else MASK_BRANCHES
    config = _config_of(tensors, path)
    args = checkpoint.train_args
    metadata = WeightsMetadata(
        names=checkpoint.names or tuple(f"class{i}" for i in range(config.num_classes)),
        scale=scale_of(config.channels[0], config.inner_repeats) or "",
        license=checkpoint.license,
        image_size=_trained_size(args),
        missing=missing,
        train_args=args,
        data=str(args.get("data") or ""),
        source={
            "file": path.name,
            "sha256": checkpoint.source_sha256,
            "date": checkpoint.date,
            "version": checkpoint.version,
        },
    )
    weights = checked(tensors, metadata, path)
    if missing:
        logger.warning(
            "%s is a detection checkpoint: everything but the mask branches (%s) was read", path, ", ".join(missing)
        )
    return weights


def checked(tensors: dict[str, Array], metadata: WeightsMetadata, where: Path) -> Weights:
    """Weights whose every name and shape fits the network that their own shapes describe, all values finite.

    Raises:
        WeightsError: a name, shape or value does not fit.
    """
    if metadata.family != FAMILY:
        raise WeightsError(f"{where}: weights of the family {metadata.family!r}", hint=SUPPORTED)
    if metadata.missing not in ((), MASK_BRANCHES):
        raise WeightsError(f"{where}: lacks {metadata.missing}, expected nothing or {MASK_BRANCHES}", hint=SUPPORTED)
    config = _config_of(tensors, where)
    if len(metadata.names) != config.num_classes:
        raise WeightsError(f"{where}: {len(metadata.names)} class names for a head of {config.num_classes} classes")
    problems = shape_problems(tensors, config, metadata.missing)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise WeightsError(f"{where}: not {FAMILY} weights: {shown}", hint=SUPPORTED)
    broken = [name for name, array in tensors.items() if not np.isfinite(array).all()]
    if broken:
        raise WeightsError(
            f"{where}: {len(broken)} tensors hold values that are not finite, {broken[0]} first",
            hint="the training that wrote them diverged: take an earlier checkpoint",
        )
    return Weights(tensors, metadata, config)


def shape_problems(tensors: Mapping[str, Array], config: NetworkConfig, missing: tuple[str, ...] = ()) -> list[str]:
    """Every name and shape at which `tensors` differ from the network of `config`."""
    from edgeseg.model.reference import expected_shapes

    expected = {n: s for n, s in expected_shapes(config).items() if not n.startswith(missing or ("\0",))}
    problems = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"{name} is not expected" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"{name} has shape {tensors[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    return problems


def _kept(checkpoint: Checkpoint) -> list[tuple[str, Array]]:
    return [(name, array) for name, array in checkpoint.tensors.items() if not IGNORED.fullmatch(name)]


def _our_name(name: str, path: Path, checkpoint: Checkpoint) -> str:
    match = re.fullmatch(r"model\.(\d+(?:\.(?:cv[234]|proto))?)\.(.+)", name)
    flat, rest = (match[1], match[2]) if match else ("", "")
    if flat not in FLAT_NAMES and "." in flat:
        # cv2 of a C2f is part of the rest; only the head's branches have names of their own.
        flat, _, branch = flat.partition(".")
        rest = f"{branch}.{rest}"
    if flat not in FLAT_NAMES:
        kinds = ", ".join(sorted(set(checkpoint.module_classes.values()))[:20]) or "unknown modules"
        raise WeightsError(
            f"{path}: another family: the tensor {name!r} has no place in {FAMILY} (found: {kinds})", hint=SUPPORTED
        )
    return f"{FLAT_NAMES[flat]}.{rest}"


def _config_of(tensors: Mapping[str, Array], where: Path) -> NetworkConfig:
    """The sizes of a network, read from its tensors' shapes."""

    def out_channels(name: str) -> int:
        if name not in tensors:
            raise WeightsError(f"{where}: not {FAMILY} weights: {name} is missing", hint=SUPPORTED)
        shape = tensors[name].shape
        if not shape or not 1 <= shape[0] <= MAX_CHANNELS:
            raise WeightsError(
                f"{where}: not {FAMILY} weights: {name} has shape {shape}, expected 1 to {MAX_CHANNELS} channels first",
                hint=SUPPORTED,
            )
        return int(shape[0])

    def repeats(stage: str) -> int:
        found = len({n.split(".m.")[1].split(".")[0] for n in tensors if n.startswith(f"{stage}.m.")})
        if not 1 <= found <= MAX_REPEATS:
            raise WeightsError(f"{where}: not {FAMILY} weights: {stage} has {found} bottlenecks", hint=SUPPORTED)
        return found

    stages = ("stem", "down2", "down3", "down4", "down5")
    c1, c2, c3, c4, c5 = (out_channels(f"backbone.{stage}.conv.weight") for stage in stages)
    has_masks = "head.proto.cv1.conv.weight" in tensors
    return NetworkConfig(
        channels=(c1, c2, c3, c4, c5),
        outer_repeats=repeats("backbone.stage2"),
        inner_repeats=repeats("backbone.stage3"),
        box_hidden=out_channels("head.box.0.0.conv.weight"),
        cls_hidden=out_channels("head.cls.0.0.conv.weight"),
        coef_hidden=out_channels("head.coef.0.0.conv.weight") if has_masks else max(c3 // 4, 32),
        proto_hidden=out_channels("head.proto.cv1.conv.weight") if has_masks else c3,
        num_classes=out_channels("head.cls.0.2.weight"),
    )


def _trained_size(args: Mapping[str, Any]) -> tuple[int, int]:
    """What the arguments tell, rounded up to what the network takes, as the trainer did; else the published 640."""
    size = args.get("imgsz")
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        return (640, 640)
    height, width = (-(-side // STRIDE_MULTIPLE) * STRIDE_MULTIPLE for side in sides)
    return (height, width)
