"""What tests of several files here share: pictures to calibrate with, and the file that was calibrated with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edgeseg.testing import tiny_picture
from edgeseg.testing.tiny import IMAGE_SIZE
from tests.targets.conftest import Exporter


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 drawn pictures."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(16):
        cv2.imwrite(str(folder / f"{seed}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    return folder


@pytest.fixture(scope="session")
def int8(exported: Exporter, pictures: Path) -> Path:
    """The tiny network as a quantised `.tflite` file."""
    return exported("tflite", "int8", calibration=pictures)
