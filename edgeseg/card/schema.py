"""What a model card may say: one flat YAML file (design.md, section 5).

A card knows no other file and no installed target; `edgeseg.card.resolve` looks those up.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from edgeseg.card.limits import Limits
from edgeseg.card.train import Section, Train
from edgeseg.devices import catalogue
from edgeseg.gates import Gates

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""Names become file names: no path separator, no leading dot."""

Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
# A coarsest stride of 32 cuts the picture into whole cells only at multiples of 32.
ImageSize = Annotated[tuple[Side, Side], Strict(False)]
ClassName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
ClassNames = Annotated[tuple[ClassName, ...], Strict(False), Field(min_length=1, max_length=10_000)]
Classes = Annotated[
    Annotated[Literal["coco80"], Tag("<name>")] | Annotated[ClassNames, Tag("<names>")],
    Discriminator(lambda value: "<name>" if isinstance(value, str) else "<names>"),
]


class Model(Section):
    """The network."""

    family: Literal["yolov8-seg"] = Field("yolov8-seg", description="family of networks")
    scale: Literal["n", "s", "m", "l", "x"] = Field(description="size of the network, n the smallest")
    classes: Classes = Field(description="coco80, or the list of class names in the order of their ids")
    image_size: ImageSize = Field(
        (640, 640), description="input [height, width] in pixels, multiples of 32 such as [640, 640]"
    )

    @field_validator("classes")
    @classmethod
    def _names_are_distinct(cls, classes: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for index, name in enumerate(classes if isinstance(classes, tuple) else ()):
            first = classes.index(name)
            if first != index:
                context = {"at": index, "hint": f"it is class {first} already; every class needs its own name"}
                raise PydanticCustomError("repeated_class", f"class name {name!r} a second time", context)
        return classes


class Weights(Section):
    """A file of trained weights."""

    path: str = Field(min_length=1, description="a .safetensors or .pt file; relative to the card's folder")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="hash of that file, 64 lower-case hex digits; checked before use"
    )


class DataSet(Section):
    """A set of annotated pictures whose pictures lie elsewhere than beside the annotations."""

    annotations: str = Field(min_length=1, description="COCO json or YOLO-seg yaml; relative to data.root")
    images: str = Field(min_length=1, description="folder of its pictures; relative to data.root")


DataSource = Annotated[
    Annotated[str, Field(min_length=1), Tag("<path>")] | Annotated[DataSet, Tag("<set>")],
    Discriminator(lambda value: "<set>" if isinstance(value, dict | DataSet) else "<path>"),
]


class Calibration(Section):
    """Pictures that set the ranges of quantised tensors."""

    source: str = Field(
        "train", alias="from", min_length=1, description="train, val, or a data set or folder of pictures under root"
    )
    images: int = Field(256, ge=1, le=100_000, description="how many pictures are drawn")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the draw")


class Data(Section):
    """Where pictures and annotations lie."""

    root: str | None = Field(
        None,
        min_length=1,
        description="folder of the data sets; default: the environment variable EDGESEG_DATA, else the card's folder",
    )
    train: DataSource | None = Field(
        None, description="training set: a COCO json or YOLO-seg yaml, or {annotations: ..., images: ...}"
    )
    val: DataSource | None = Field(
        None, description="validation set: a COCO json or YOLO-seg yaml, or {annotations: ..., images: ...}"
    )
    calibration: Calibration = Field(
        default_factory=Calibration, description="pictures that set the ranges of quantised tensors"
    )
    images: str | None = Field(
        None, min_length=1, description="folder of the pictures of every set that names none; relative to root"
    )


def _names(*names: str) -> dict[str, Any]:
    return {"examples": list(names)}


class CardTarget(Section):
    """One artifact to build: for a device of the catalogue, or in a format."""

    device: str | None = Field(
        None,
        description="a device of `edgeseg devices`, which implies the format",
        json_schema_extra=_names(*catalogue().devices),
    )
    format: str | None = Field(
        None, description="a format of `edgeseg targets`", json_schema_extra=_names(*catalogue().formats)
    )
    precision: str | None = Field(
        None,
        description="a precision that device and format support; default: the first one of the device, or format",
        json_schema_extra=_names("fp32", "fp16", "bf16", "int8", "w8a16"),
    )
    options: dict[str, Any] = Field(default_factory=dict, description="the target's own options, by name")
    gates: Gates = Field(
        default_factory=Gates, description="numbers that must hold; over the defaults of the precision"
    )
    name: str | None = Field(
        None, pattern=NAME_PATTERN, description="name of this target's results; default: <format>-<precision>"
    )
    limits: Limits | None = Field(None, description="limits of this target's stages; default: those of the card")
    require: Literal["device"] | None = Field(
        None, description="device: a build that must defer this target to its device fails; default: it passes"
    )

    @model_validator(mode="after")
    def _device_or_format(self) -> Self:
        if (self.device is None) == (self.format is None):
            found = "neither" if self.device is None else "both"
            context = {"hint": "a device implies its format: write one of the two"}
            raise PydanticCustomError("target_kind", f"a target names a device or a format, got {found}", context)
        return self


class Card(Section):
    """A model card: what to train, what to build from it, for which devices, and what must hold."""

    schema_version: Literal[1] = Field(alias="schema", description="version of this schema: 1")
    name: str = Field(pattern=NAME_PATTERN, description="lower-case letters, digits, '.', '_', '-'; at most 64")
    license: str = Field(
        min_length=1, max_length=200, description="licence of the weights, such as Apache-2.0; goes into each artifact"
    )
    model: Model = Field(description="the network")
    weights: Weights | None = Field(None, description="trained weights; absent: trained from scratch")
    data: Data = Field(default_factory=Data, description="where pictures and annotations lie")
    train: Train | None = Field(None, description="how to train; absent: the weights are used as they are")
    limits: Limits = Field(default_factory=Limits, description="what a stage may use, and how long it may take")
    targets: Annotated[tuple[CardTarget, ...], Strict(False), Field(min_length=1, max_length=100)] = Field(
        description="what to build: a list of {device: ...} or {format: ...}"
    )

    def content(self, *, defaults: bool = True) -> dict[str, Any]:
        """Plain values, as a card file would hold them; with `defaults`, every default is written out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=not defaults)

    def sha256(self) -> str:
        """Hash of the content with every default: comments, order and defaults written out do not change it."""
        text = json.dumps(self.content(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a card (draft 2020-12), for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Card.model_json_schema(by_alias=True)}
