"""Sources of many frames through OpenCV: a video file and a camera."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.data.picture import Picture
from edgeseg.errors import EnvironmentMissingError, SourceError
from edgeseg.sources.frames import Frame, Limits

if TYPE_CHECKING:
    import cv2

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
"""File suffixes that count as videos in a folder, lower case."""

_COMPLETE = 0.9
"""A video that stops before this part of its announced length is broken. Some containers state no frame count and
OpenCV estimates it from the length of the longest track, so the last tenth is not held against the file."""

_FASTEST = 1000.0
"""Frame rates above this are a container's clock and not a rate (OpenCV passes 90000 through)."""


@dataclass(frozen=True)
class Video:
    """A video file. Its frames are turned upright by its orientation metadata."""

    path: Path
    live = False

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def count(self) -> int | None:
        """What the container announces, which may be an estimate; None where it says nothing."""
        with _capture(self.name) as capture:
            return _announced_frames(capture)

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Decode one frame after the other; raise after the last one where the file ends early."""
        import cv2

        with _capture(self.name) as capture:
            if not capture.isOpened():
                raise SourceError(
                    f"{self.name}: no video that OpenCV {cv2.__version__} can open: damaged, or of an unknown codec",
                    hint="re-encode it as MP4 with H.264",
                )
            rate = _rate(capture)
            announced = _announced_frames(capture)
            read, time_s = 0, 0.0
            for picture in _pictures(capture, self.name, limits):
                time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                yield Frame(picture, self.name, 0, read, time_s, rate)
                read += 1
            if read == 0 or (announced and max(read, time_s * (rate or 0)) < _COMPLETE * announced):
                raise SourceError(
                    f"{self.name}: the video breaks off after {read} of about {announced or 'an unknown number of'}"
                    " frames; the file is cut short or damaged"
                )


@dataclass(frozen=True)
class Camera:
    """A camera of this machine. It never ends; frames that nobody takes in time are dropped."""

    device: int
    live = True

    @property
    def name(self) -> str:
        """``camera:`` and its number."""
        return f"camera:{self.device}"

    def count(self) -> int | None:
        """Unknown."""
        return None

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Grab frames until the camera stops giving any, which is an error.

        Raises:
            EnvironmentMissingError: there is no such camera, or it is in use.
            SourceError: it stopped.
        """
        with _capture(self.device) as capture:
            if not capture.isOpened():
                raise EnvironmentMissingError(
                    f"{self.name}: no such camera, or another program uses it",
                    hint="plug it in; on Linux `ls /dev/video*` lists cameras, and you must be in the group `video`",
                )
            rate = _rate(capture)
            start = time.monotonic()
            for index, picture in enumerate(_pictures(capture, self.name, limits)):
                yield Frame(picture, self.name, 0, index, time.monotonic() - start, rate)
        raise SourceError(f"{self.name}: the camera stopped giving frames", hint="check its cable")


@contextlib.contextmanager
def _capture(what: str | int) -> Iterator[cv2.VideoCapture]:
    import cv2

    capture = cv2.VideoCapture(what)
    try:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def _pictures(capture: cv2.VideoCapture, name: str, limits: Limits) -> Iterator[Picture]:
    import cv2

    width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > limits.max_pixels:
        raise SourceError(f"{name}: frames of {width}x{height}, expected at most {limits.max_pixels} pixels")
    while True:
        found, bgr = capture.read()
        if not found:
            return
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]


def _rate(capture: cv2.VideoCapture) -> float | None:
    import cv2

    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if math.isfinite(rate) and 0 < rate <= _FASTEST else None


def _announced_frames(capture: cv2.VideoCapture) -> int | None:
    import cv2

    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if math.isfinite(count) and count > 0 else None
