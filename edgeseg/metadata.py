"""What an artifact says about itself: the content of `edgeseg.json`, and of the place inside the file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from edgeseg.errors import ArtifactError
from edgeseg.tensors import TensorSpec

SCHEMA_VERSION = 1
METADATA_KEY = "edgeseg"
"""Key of the JSON text inside a file that can carry key-value metadata."""

Head = Literal["raw", "decoded"]
CHANNEL_ORDERS = ("rgb", "bgr")
RESIZES = ("linear",)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input. One letterbox serves train, val, predict and calibration.

    Attributes:
        channel_order: order of the three input channels.
        pad_value: grey level 0..255 of the letterbox's border (114 in the published recipe).
        scale: factor on 8-bit values.
        resize: interpolation of the letterbox.
    """

    channel_order: str = "rgb"
    pad_value: int = 114
    scale: float = 1 / 255
    resize: str = "linear"


@dataclass(frozen=True)
class ArtifactMetadata:
    """The contract that an artifact carries; runners read it from here, never from flags.

    Attributes:
        format: the target's name, or the name of a foreign exporter's format.
        precision: as asked: fp32, fp16, int8 ...
        head: ``raw`` for the ten logit tensors, ``decoded`` for the peer's layout.
        names: class names, by class id.
        image_size: (height, width) in pixels; for a dynamic artifact the size to use by default.
        dynamic: which of ``batch`` and ``size`` may differ from the exported ones.
        batch: pictures per call of a fixed artifact.
        preprocessing: how to make the input.
        inputs: what goes in.
        outputs: what comes out.
        name: the card's or the weights' name.
        scale: n, s, m, l or x; empty where unknown.
        license: licence of the weights, as given on import or in the card.
        weights_sha256: of the reference's safetensors file.
        card_sha256: of the card, empty for a plain export.
        data: the annotations that the weights are validated on, as they remember it; empty where they do not.
        images: folder of that set's pictures; empty where it is to be looked for.
        options: the target's options, as resolved.
        tool_versions: package name to version.
        producer: who wrote the file.
    """

    format: str
    precision: str
    head: Head
    names: tuple[str, ...]
    image_size: tuple[int, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dynamic: tuple[str, ...] = ()
    batch: int = 1
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    name: str = ""
    scale: str = ""
    license: str = ""
    weights_sha256: str = ""
    card_sha256: str = ""
    data: str = ""
    images: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    tool_versions: dict[str, str] = field(default_factory=dict)
    producer: str = "edgeseg"

    @property
    def num_classes(self) -> int:
        """How many classes the head has."""
        return len(self.names)

    def to_json(self) -> str:
        """Sorted, compact JSON: the same content gives the same bytes."""
        return json.dumps({"schema": SCHEMA_VERSION, **asdict(self)}, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> ArtifactMetadata:
        """Read `to_json`'s text; `where` names the artifact in an error."""
        try:
            data = json.loads(text)
            version = data.pop("schema")
            if version != SCHEMA_VERSION:
                raise ArtifactError(
                    f"{where}: metadata of schema {version}, expected {SCHEMA_VERSION}",
                    hint="read it with the edgeseg that wrote it, or export again",
                )
            return cls(**_restored(data))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ArtifactError(f"{where}: metadata is not readable: {error!r}", hint="export again") from error


def _restored(data: dict[str, Any]) -> dict[str, Any]:
    specs = {
        key: tuple(TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in data[key])
        for key in ("inputs", "outputs")
    }
    tuples = {"names": tuple(data["names"]), "dynamic": tuple(data["dynamic"])}
    height, width = data["image_size"]
    if not all(isinstance(side, int) and side > 0 for side in (height, width)):
        raise ValueError(f"image_size {data['image_size']!r}, expected two positive integers")
    size = {"image_size": (height, width)}
    preprocessing = Preprocessing(**data["preprocessing"])
    _check_words(data, preprocessing)
    return {**data, **specs, **tuples, **size, "preprocessing": preprocessing}


def _check_words(data: dict[str, Any], preprocessing: Preprocessing) -> None:
    """What decides how pictures and outputs are read must be known: another word would be taken for the default."""
    known = {
        "head": (data["head"], get_args(Head)),
        "channel_order": (preprocessing.channel_order, CHANNEL_ORDERS),
        "resize": (preprocessing.resize, RESIZES),
    }
    for name, (found, words) in known.items():
        if found not in words:
            raise ValueError(f"{name} {found!r}, expected one of {', '.join(words)}")
    if not isinstance(data["names"], list) or not all(isinstance(name, str) for name in data["names"]):
        raise TypeError("names is no list of texts")
    if not all(isinstance(data.get(name, ""), str) for name in ("data", "images")):
        raise TypeError("data or images is no text")
