"""The device catalogue: boards, phones and browsers that a card may name, and the formats they imply."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from typing_extensions import Self

# The file holds YAML lists, so tuples must take them although the rest is strict.
Strings = Annotated[tuple[str, ...], Strict(False)]
Size = Annotated[tuple[int, int], Strict(False)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Device(_Row):
    """One row of the catalogue.

    Attributes:
        name: what a card writes after ``device:``.
        title: the product's name.
        format: the format it implies.
        precisions: what it may run, the default first.
        notes: memory and limits that decide what fits.
        image_size: recommended (height, width) in pixels, None where nothing is known to be better than 640.
        resource: of a Ray cluster, that a worker with this device offers; empty where the format's holds.
    """

    name: str
    title: str
    format: str
    precisions: Strings = Field(min_length=1)
    notes: str
    image_size: Size | None = None
    resource: str = ""

    @property
    def default_precision(self) -> str:
        """What a card that names no precision gets."""
        return self.precisions[0]


class Format(_Row):
    """What is known of a format before its target is installed.

    Attributes:
        summary: one line.
        precisions: what its target is expected to offer, the default first; an installed target's own list wins.
        resource: of a Ray cluster, that a worker which runs it offers; empty where any worker does.
    """

    summary: str
    precisions: Strings = Field(min_length=1)
    resource: str = ""


class Catalogue(_Row):
    """All devices and formats.

    Attributes:
        devices: by name, grouped by family.
        format_rows: by format name.
    """

    devices: Mapping[str, Device]
    format_rows: Mapping[str, Format]

    @property
    def formats(self) -> Mapping[str, str]:
        """Format name to its one-line summary."""
        return {name: row.summary for name, row in self.format_rows.items()}

    def resource_of(self, format_name: str, device: str | None) -> str:
        """The resource of a Ray cluster that stages on the device need; empty where any worker does."""
        own = self.devices[device].resource if device is not None and device in self.devices else ""
        row = self.format_rows.get(format_name)
        return own or (row.resource if row is not None else "")

    @model_validator(mode="after")
    def _devices_fit_their_formats(self) -> Self:
        for device in self.devices.values():
            row = self.format_rows.get(device.format)
            if row is None or not set(device.precisions) <= set(row.precisions):
                raise ValueError(f"device {device.name}: its format {device.format} is unknown or lacks a precision")
        return self


@functools.cache
def catalogue() -> Catalogue:
    """The shipped catalogue, `devices.yaml`."""
    import yaml

    data = yaml.safe_load(files("edgeseg").joinpath("devices.yaml").read_text(encoding="utf-8"))
    devices = {name: Device(name=name, **row) for name, row in data["devices"].items()}
    return Catalogue(
        devices=devices, format_rows={name: Format.model_validate(row) for name, row in data["formats"].items()}
    )
