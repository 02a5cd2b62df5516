"""The device catalogue and its two commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from edgeseg.cli import cli
from edgeseg.devices import Catalogue, Device, Format, catalogue
from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.registry import entries

DEVICES = (
    "jetson-orin-nano jetson-orin-nx jetson-agx-orin jetson-nano coral-usb coral-pcie coral-dev-board raspberry-pi-4 "
    "raspberry-pi-5 iphone mac android browser intel-cpu intel-igpu intel-npu x86-cpu nvidia-gpu"
)
FORMATS = "onnx torchscript openvino tensorrt coreml saved_model graphdef tflite edgetpu tfjs paddle ncnn"


def test_catalogue_names_the_promised_devices_and_formats() -> None:
    assert " ".join(catalogue().devices) == DEVICES
    assert " ".join(catalogue().formats) == FORMATS


@pytest.mark.parametrize("device", catalogue().devices.values(), ids=lambda device: device.name)
def test_device_size_is_one_the_network_takes(device: Device) -> None:
    assert all(side % 32 == 0 for side in device.image_size or ())


@pytest.mark.parametrize("name", ["coral-usb", "coral-pcie", "coral-dev-board"])
def test_coral_takes_int8_only(name: str) -> None:
    device = catalogue().devices[name]
    assert (device.format, device.precisions, device.image_size) == ("edgetpu", ("int8",), (320, 320))


def test_jetson_nano_has_no_int8() -> None:
    assert "int8" not in catalogue().devices["jetson-nano"].precisions


@pytest.mark.parametrize(
    ("format_name", "device", "resource"),
    [
        ("tensorrt", "jetson-orin-nano", "jetson-orin-nano"),
        ("tensorrt", "nvidia-gpu", "nvidia-gpu"),
        ("tensorrt", None, "nvidia-gpu"),
        ("coreml", "iphone", "mac"),
        ("edgetpu", "coral-usb", "coral"),
        ("onnx", "x86-cpu", ""),
        ("ncnn", "raspberry-pi-5", ""),
        ("of-a-third-party", None, ""),
    ],
)
def test_worker_of_a_cluster_is_named_by_the_device_before_the_format(
    format_name: str, device: str | None, resource: str
) -> None:
    assert catalogue().resource_of(format_name, device) == resource


def test_jetson_boards_are_told_apart_on_a_cluster() -> None:
    boards = [name for name in DEVICES.split() if name.startswith("jetson")]
    assert [catalogue().devices[name].resource for name in boards] == boards


def test_device_of_an_unknown_format_is_refused() -> None:
    device = Device(name="x", title="X", format="none", precisions=("fp32",), notes="")
    with pytest.raises(ValidationError, match="unknown or lacks a precision"):
        Catalogue(devices={"x": device}, format_rows={"onnx": Format(summary="", precisions=("fp32",))})


@pytest.mark.parametrize("name", DEVICES.split())
def test_device_is_in_the_documentation(name: str) -> None:
    text = (Path(__file__).parents[1] / "docs/devices.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    device = catalogue().devices[name]
    assert f"| {device.format} | {', '.join(device.precisions)} |" in row


def test_devices_prints_every_device_in_80_columns() -> None:
    result = CliRunner().invoke(cli, ["devices"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert all(any(line.startswith(name) for line in result.stdout.splitlines()) for name in DEVICES.split())
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_devices_json_holds_the_catalogue() -> None:
    rows = json.loads(CliRunner().invoke(cli, ["devices", "--json"]).stdout)["devices"]
    assert {row["name"]: row["format"] for row in rows}["coral-usb"] == "edgetpu"
    assert len(rows) == 18


def test_targets_prints_every_format_in_80_columns() -> None:
    result = CliRunner().invoke(cli, ["targets"], env={"COLUMNS": "80"})
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert all(any(line.startswith(name) for line in lines) for name in entries())
    assert max(len(line) for line in lines) <= 80


def test_targets_json_says_what_to_do_where_not_usable() -> None:
    rows = json.loads(CliRunner().invoke(cli, ["targets", "--json"]).stdout)["targets"]
    assert [row["name"] for row in rows] == sorted(entries())
    assert all(row["usable"] or row["remedy"] for row in rows)


@pytest.mark.parametrize("name", sorted(entries()))
def test_targets_check_exits_0_or_3(name: str) -> None:
    result = CliRunner().invoke(cli, ["targets", "check", name, "--json"], standalone_mode=False)
    usable = entries()[name].target is not None and entries()[name].report.usable
    assert json.loads(result.stdout)["usable"] == usable
    if usable:
        assert result.exception is None
    else:
        assert isinstance(result.exception, EnvironmentMissingError)
        assert result.exception.exit_code == 3
        assert result.exception.hint


def test_targets_check_names_the_nearest_for_an_unknown_target() -> None:
    result = CliRunner().invoke(cli, ["targets", "check", "tflit"])
    assert isinstance(result.exception, UsageError)
    assert "did you mean 'tflite'?" in result.exception.hint
