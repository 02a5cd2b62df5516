"""Pictures and videos on disk for the tests of predict."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.testing.tiny import IMAGE_SIZE, tiny_picture


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = IMAGE_SIZE) -> Path:
    """A drawn picture of (height, width); its suffix decides its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), tiny_picture(*size, seed)[..., ::-1]):
        raise AssertionError(f"cannot write {path}")
    return path


def write_video(path: Path, frames: int, size: tuple[int, int] = IMAGE_SIZE, rate: float = 10.0) -> Path:
    """A Motion JPEG video in an AVI, which may have odd sides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # OpenCV's own writer: the one of FFmpeg cuts odd sides.
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, size[::-1])
    if not writer.isOpened():
        raise AssertionError(f"cannot write {path}, expected a name that ends in .avi")
    for seed in range(frames):
        writer.write(np.ascontiguousarray(tiny_picture(*size, seed)[..., ::-1]))
    writer.release()
    return path


def read_video(path: Path) -> tuple[list[NDArray[np.uint8]], float]:
    """All frames, BGR, and the rate."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    frames: list[NDArray[np.uint8]] = []
    while True:
        found, frame = capture.read()
        if not found:
            capture.release()
            return frames, rate
        frames.append(np.asarray(frame, np.uint8))
