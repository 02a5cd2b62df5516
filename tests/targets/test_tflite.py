"""What the TensorFlow Lite target does where none of its packages is installed; the rest is in own/test_tflite.py."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from edgeseg_targets.tflite.flatbuffer import IDENTIFIER, read_network
from edgeseg_targets.tflite.options import TfliteOptions

from edgeseg import registry
from edgeseg.errors import ArtifactError, UsageError

START = struct.pack("<I", 8) + IDENTIFIER
"""A file's first bytes: the root table lies behind them."""


@pytest.mark.parametrize("seed", range(40))
def test_noise_is_a_value_error_and_nothing_else(seed: int) -> None:
    with pytest.raises(ValueError, match=r"cut off|no subgraph"):
        read_network(START + np.random.default_rng(seed).bytes(4096))


def test_offsets_that_point_to_themselves_end() -> None:
    with pytest.raises(ValueError, match=r"cut off|no subgraph"):
        read_network(START + struct.pack("<i", 0) * 64)


def test_another_identifier_is_named() -> None:
    with pytest.raises(ValueError, match="PK"):
        read_network(b"\0\0\0\0PK\3\4" + bytes(64))


def test_damaged_file_is_recognized_and_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "n.bin"
    path.write_bytes(START + bytes(20))
    target = registry.load("tflite")
    assert target.recognizes(path)
    with pytest.raises(ArtifactError, match=r"n\.bin"):
        target.read_metadata(path)


@pytest.mark.parametrize(
    ("options", "precision"),
    [({"edges": "uint8"}, "fp32"), ({"edges": "int8"}, "w8a16"), ({"ranges": "minmax"}, "fp16")],
)
def test_option_of_another_precision_is_refused(options: dict[str, str], precision: str) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        TfliteOptions.model_validate(options).require_fitting(precision)


def test_check_env_says_what_running_and_what_exporting_needs() -> None:
    report = registry.load("tflite").check_env()
    absent = {"litert-torch", "ai-edge-quantizer"} - report.versions.keys()
    assert all(any(name in problem and "exporting" in problem for problem in report.problems) for name in absent)
    assert any("running" in problem for problem in report.problems) == (
        not {"ai-edge-litert", "tflite-runtime"} & report.versions.keys()
    )
