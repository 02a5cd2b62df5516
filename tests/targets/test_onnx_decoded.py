"""A decoded ONNX file in the hands of plain clients: ONNX Runtime, OpenCV, and us without our own metadata."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

import edgeseg
from edgeseg.data.letterbox import letterbox, to_input
from edgeseg.data.picture import read_picture
from edgeseg.export import export
from edgeseg.metadata import METADATA_KEY


@pytest.fixture(scope="module")
def decoded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoded")
    return export(shared / "weights/yolov8n-seg.pt", "onnx", output_dir=folder, outputs="decoded").path


@pytest.fixture(scope="module")
def images(shared: Path) -> Any:
    boxed, _ = letterbox(read_picture(shared / "media/bus.jpg"), (640, 640))
    return to_input([boxed])


def test_plain_session_sees_the_known_layout_and_keys(decoded: Path, images: Any, shared: Path) -> None:
    session = onnxruntime.InferenceSession(str(decoded), providers=["CPUExecutionProvider"])
    output0, output1 = session.run(["output0", "output1"], {"images": images})
    golden = np.load(shared / "golden/bus.npz")
    np.testing.assert_allclose(output0[0, :4], golden["decoded"][0, :4], atol=0.02)
    np.testing.assert_allclose(output0[0, 4:84], golden["decoded"][0, 4:84], atol=1e-4)
    np.testing.assert_allclose(output1, golden["proto"], atol=1e-3)
    keys = session.get_modelmeta().custom_metadata_map
    assert ast.literal_eval(keys["names"])[5] == "bus"
    assert ast.literal_eval(keys["imgsz"]) == [640, 640]
    assert (keys["stride"], keys["task"], keys["batch"]) == ("32", "segment", "1")


def test_opencv_runs_it_as_onnx_runtime_does(decoded: Path, images: Any) -> None:
    session = onnxruntime.InferenceSession(str(decoded), providers=["CPUExecutionProvider"])
    expected = dict(zip(("output0", "output1"), session.run(["output0", "output1"], {"images": images}), strict=True))
    network = cv2.dnn.readNetFromONNX(str(decoded))
    network.setInput(images)
    found = network.forward(["output0", "output1"])
    for name, array in zip(("output0", "output1"), found, strict=True):
        np.testing.assert_allclose(array, expected[name], atol=5e-3)


def test_file_with_the_common_keys_only_predicts_the_same(decoded: Path, shared: Path, tmp_path: Path) -> None:
    model = onnx.load(decoded)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != METADATA_KEY}
    onnx.helper.set_model_props(model, kept)
    foreign = tmp_path / "foreign.onnx"
    onnx.save(model, foreign)
    results = []
    for path in (decoded, foreign, shared / "weights/yolov8n-seg.pt"):
        with edgeseg.load(path) as opened:
            results.append(next(opened.predict(shared / "media/bus.jpg")).instances)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].class_ids, other.class_ids)
        np.testing.assert_allclose(results[0].xyxy, other.xyxy, atol=0.05)
        np.testing.assert_allclose(results[0].scores, other.scores, atol=1e-4)
    assert len(results[0]) == 6
