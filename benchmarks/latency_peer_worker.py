"""One side of a row of `latency_peer.py`: a process that opens a model, then times one prediction for each line read.

Run by the interpreter of the side's own environment; the peer is a black box. Answers are JSON lines. What its runtime
is told about threads and precision is told to the runtime's own public classes.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Predict = Callable[[Any], int]
"""A photo, as `--from` says, to the number of instances in it."""


def main() -> None:
    """Serve, or export where asked to."""
    asked = json.loads(sys.argv[1])
    if asked["side"] == "export":
        answer({"path": exported(asked)})
        return
    try:
        predict, execution = {"ours": ours, "peer": peer}[asked["side"]](asked)
    except Exception as error:  # noqa: BLE001 - the other process says it in the table
        answer({"missing": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    photos = asked["photos"] if asked["source"] == "file" else [pixels(asked, path) for path in asked["photos"]]
    for photo in photos[:3]:
        predict(photo)
    answer({"execution": execution()})
    for line in sys.stdin:
        photo = photos[int(line)]
        start = time.perf_counter()
        count = predict(photo)
        answer({"ms": 1e3 * (time.perf_counter() - start), "instances": count})


def answer(content: dict[str, Any]) -> None:
    """One line on the real stdout; libraries print on the other."""
    os.write(ANSWERS, (json.dumps(content) + "\n").encode())


def pixels(asked: dict[str, Any], path: str) -> Any:
    """A decoded photo in the order that the side takes."""
    if asked["side"] == "ours":
        from edgeseg.data.picture import read_picture

        return read_picture(Path(path))
    import cv2

    return cv2.imread(path)


def ours(asked: dict[str, Any]) -> tuple[Predict, Callable[[], str]]:
    """`edgeseg.load(...).predict`."""
    import edgeseg

    model = edgeseg.load(asked["path"], **asked["options"])

    def predict(photo: Any) -> int:
        return sum(len(result.instances) for result in model.predict(photo, score=0.25, iou=0.7))

    def execution() -> str:
        said = model.runner.execution
        return str(said.get("precision") or said.get("arithmetic") or asked["precision"])

    return predict, execution


def peer(asked: dict[str, Any]) -> tuple[Predict, Callable[[], str]]:
    """The peer's `predict`, with masks at the photo's own size as ours are."""
    found = {"precision": asked["precision"]}
    SETTINGS.get(asked["runtime"], lambda *_: None)(asked, found)
    import torch
    from ultralytics import YOLO

    torch.set_num_threads(asked["threads"])
    model = YOLO(asked["path"], task="segment")

    def predict(photo: Any) -> int:
        (result,) = model.predict(
            photo, imgsz=640, rect=False, conf=0.25, iou=0.7, retina_masks=True, verbose=False, save=False
        )
        return len(result)

    return predict, lambda: found["precision"]


def _openvino(asked: dict[str, Any], found: dict[str, str]) -> None:
    """Precision as the row says (bf16 is what the peer takes by itself here), and what the network then reports."""
    import openvino

    compile_model = openvino.Core.compile_model

    @functools.wraps(compile_model)
    def compiled(core: Any, model: Any, device_name: Any = None, config: Any = None, **more: Any) -> Any:
        own = {"INFERENCE_PRECISION_HINT": asked["precision"], "INFERENCE_NUM_THREADS": asked["threads"]}
        network = compile_model(core, model, "CPU", {**(config or {}), **own}, **more)
        found["precision"] = network.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return network

    openvino.Core.compile_model = compiled


def _onnx(asked: dict[str, Any], found: dict[str, str]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession

    def opened(path: Any, sess_options: Any = None, *args: Any, **more: Any) -> Any:
        options = sess_options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = asked["threads"]
        return session(path, options, *args, **more)

    onnxruntime.InferenceSession = opened


def _tflite(asked: dict[str, Any], found: dict[str, str]) -> None:
    from ai_edge_litert import interpreter

    class Threaded(interpreter.Interpreter):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **{**more, "num_threads": asked["threads"]})

    interpreter.Interpreter = Threaded


SETTINGS: dict[str, Callable[[dict[str, Any], dict[str, str]], None]] = {
    "openvino": _openvino,
    "onnx": _onnx,
    "tflite": _tflite,
}


def exported(asked: dict[str, Any]) -> str:
    """The peer's own export of its weights."""
    from ultralytics import YOLO

    return str(Path(YOLO(asked["weights"], task="segment").export(imgsz=640, **asked["export"])).resolve())


if __name__ == "__main__":
    ANSWERS = os.dup(1)
    os.dup2(2, 1)
    main()
