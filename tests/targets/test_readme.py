"""The READMEs of the targets say what the code has, and their example programs work as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg import registry
from edgeseg.testing import tiny_picture
from edgeseg.testing.suite import copied
from edgeseg.testing.tiny import NAMES
from tests.targets.conftest import Exporter, predicted

TARGETS = Path(__file__).resolve().parents[2] / "targets"
REGISTERED = sorted(path.parent.name for path in TARGETS.glob("*/README.md"))
SECTIONS = ["What it is", "What it needs", "Export options", "Run options", "Limits", "How to run on the device"]


@pytest.mark.parametrize("name", REGISTERED)
def test_readme_has_the_sections(name: str) -> None:
    text = (TARGETS / name / "README.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("name", REGISTERED)
def test_readme_lists_every_option_and_no_other(name: str) -> None:
    text = (TARGETS / name / "README.md").read_text()
    target = registry.load(name)
    for title, kind in (("Export options", target.options_type), ("Run options", target.run_options_type)):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(kind.model_fields)
        for option, field in kind.model_fields.items():
            default = {"True": "true", "False": "false", "None": ""}.get(str(field.default), field.default)
            assert re.search(rf"^\| `{option}` ?{default} ", section, re.MULTILINE), option


@pytest.mark.parametrize(
    ("name", "outputs"), [("ncnn", "decoded"), ("onnx", "decoded"), ("openvino", "decoded"), ("torchscript", "raw")]
)
def test_example_without_edgeseg_finds_the_same(exported: Exporter, tmp_path: Path, name: str, outputs: str) -> None:
    path = exported(name, outputs=outputs)
    copied(path, tmp_path / f"n.{name}")
    cv2.imwrite(str(tmp_path / "street.png"), np.ascontiguousarray(tiny_picture(150, 200, 1)[..., ::-1]))
    (program,) = re.findall(r"```python\n(.+?)```", (TARGETS / name / "README.md").read_text(), re.DOTALL)
    (tmp_path / "plain.py").write_text(program)
    # "CI" keeps OpenVINO's telemetry silent.
    environment = {**os.environ, "CI": "true"}
    done = subprocess.run([sys.executable, "plain.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = predicted(path)[1]
    lines = done.stdout.splitlines()
    assert len(lines) == len(wanted) == 13
    for line in lines:
        label, score, *sides = line.rsplit(maxsplit=5)
        # Its letterbox has one scale for both axes, edgeseg's has one each: boxes differ by less than a pixel.
        close = np.abs(wanted.xyxy - np.array(sides, float)).max(axis=1) < 1
        same = close & (np.abs(wanted.scores - float(score)) < 1e-3)
        assert [NAMES[class_id] for class_id in wanted.class_ids[same]] == [label]
    assert _masks_of(tmp_path) == pytest.approx(sum(mask.bitmap.sum() for mask in wanted.masks or ()), rel=0.03)


def _masks_of(folder: Path) -> int:
    """Pixels of all masks that the program wrote."""
    pictures = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in folder.glob("mask*.png")]
    assert len(pictures) == 13
    return sum(int(np.count_nonzero(picture)) for picture in pictures if picture is not None)
