"""An OpenVINO network leaves a thread the stack that its signal handlers run on."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path

import cv2
import pytest

import edgeseg
from edgeseg.export import export
from edgeseg.predict import Model
from edgeseg.testing import tiny_picture
from edgeseg.testing.tiny import IMAGE_SIZE
from tests.targets.conftest import Exporter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the signal stack is read as Linux keeps it")


def signal_stack() -> tuple[int, int, int]:
    """Address, flags and size of this thread's, as the system has them (sigaltstack(2))."""
    kept = (ctypes.c_uint64 * 3)()
    assert ctypes.CDLL(None).sigaltstack(None, kept) == 0
    return kept[0], kept[1] & 0xFFFFFFFF, kept[2]


def _close(*models: Model) -> None:
    for model in models:
        model.close()


@pytest.mark.parametrize("apart", [False, True], ids=["first closed first", "closed on another thread"])
def test_a_network_leaves_the_signal_stack(exported: Exporter, apart: bool) -> None:
    path, before = exported("openvino"), signal_stack()
    models = [edgeseg.load(path) for _ in range(2)]
    assert signal_stack() == before
    if apart:
        closing = threading.Thread(target=_close, args=models)
        closing.start()
        closing.join()
    else:
        _close(*models)
    assert signal_stack() == before


def test_quantising_leaves_the_signal_stack(tiny_weights: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(16):
        cv2.imwrite(str(pictures / f"{seed}.png"), tiny_picture(*IMAGE_SIZE, seed=seed))
    before = signal_stack()
    export(tiny_weights, "openvino", output_dir=tmp_path, precision="int8", calibration=pictures)
    assert signal_stack() == before
