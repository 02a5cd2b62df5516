"""What the sources of a run have in common: the frame, the broken frame, the limits, the contract of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from edgeseg.data.picture import MAX_PIXELS, Picture
from edgeseg.errors import SourceError


@dataclass(frozen=True)
class Limits:
    """What a source may cost.

    Attributes:
        max_pixels: largest picture or video frame, checked before it is decoded.
        url_seconds: longest wait for a server, and longest download.
        url_bytes: largest download, and largest picture on stdin.
        read_ahead: pictures decoded before they are asked for. At most ``read_ahead + 2`` are alive at a time:
            one more in the reader's hand and one in the caller's.
    """

    max_pixels: int = MAX_PIXELS
    url_seconds: float = 10.0
    url_bytes: int = 64 * 2**20
    read_ahead: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a run.

    Attributes:
        picture: (H, W, 3) uint8 RGB, upright.
        source: file name or URL as it was given or found, ``camera:0``, ``stdin`` or ``array:0``.
        index: position in the run, broken frames counted.
        frame_index: position in its video or camera stream, None for a still picture. A camera's has gaps where
            frames were dropped.
        time_s: seconds since the start of the video or since the camera was opened, None for a still picture.
        frames_per_second: of the video or camera, None where it does not say.
    """

    picture: Picture
    source: str
    index: int = 0
    frame_index: int | None = None
    time_s: float | None = None
    frames_per_second: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BrokenFrame:
    """A picture, or the rest of a video, that could not be read. The run goes on.

    Attributes:
        source: as in `Frame`.
        index: as in `Frame`.
        error: what is wrong with it.
    """

    source: str
    index: int
    error: SourceError


class Source(Protocol):
    """One thing to read: it gives its frames lazily, and raises `SourceError` where it is broken."""

    @property
    def name(self) -> str:
        """What `Frame.source` says."""

    @property
    def live(self) -> bool:
        """Whether old frames are worth less than new ones and may be dropped."""

    def count(self) -> int | None:
        """How many frames it gives, None where that is unknown. May open the file."""

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """The frames in order; closing the iterator releases what it holds."""
