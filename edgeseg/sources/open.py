"""`open_sources`: one lazy, bounded, ordered stream of frames from everything that predict can read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Generator, Iterable, Iterator, Sequence

from edgeseg.errors import SourceError
from edgeseg.sources.ahead import read_ahead
from edgeseg.sources.frames import BrokenFrame, Frame, Limits, Source
from edgeseg.sources.resolve import Deferred, SourceLike, resolve
from edgeseg.sources.stills import Still


def open_sources(sources: SourceLike, *, limits: Limits | None = None) -> Sources:
    """Find out what the arguments are, and give their frames as they are asked for.

    What does not exist, or is nothing readable by its name, raises here, before anything runs. A file that exists
    and turns out broken becomes a `BrokenFrame` in its place.

    Args:
        sources: one of `SUPPORTED` (edgeseg.sources.resolve) or a list, tuple or iterator of them. **Arrays are RGB.**
            An iterator is read by the reading thread, and only as far as its frames are asked for.
        limits: what a source may cost; None for the defaults.

    Raises:
        SourceError: naming the argument.
    """
    limits = limits or Limits()
    return Sources(resolve(sources, limits), limits)


class Sources:
    """Frames of resolved sources. Iterating starts one reading thread, which ends with the iteration; a single
    picture needs none.

    `close()` of the iterator, or dropping it, releases the video, camera and thread.
    """

    def __init__(self, sources: Sequence[Source | Deferred], limits: Limits) -> None:
        self._sources = sources
        self._limits = limits

    @functools.cached_property
    def total(self) -> int | None:
        """How many frames will come, for a progress bar: a video's own count may be an estimate.

        None where a camera, an iterator or a video that does not say is among them. Opens every video once.
        """
        total = 0
        for source in self._sources:
            count = source.count()
            if count is None:
                return None
            total += count
        return total

    def __iter__(self) -> Generator[Frame | BrokenFrame, None, None]:
        read = _read(self._sources, self._limits)
        # Of one picture there is nothing to read ahead: a thread would only cost its start.
        alone = len(self._sources) == 1 and isinstance(self._sources[0], Still)
        frames = (frame for frame, _ in read) if alone else read_ahead(read, self._limits.read_ahead)
        try:
            for index, frame in enumerate(frames):
                yield dataclasses.replace(frame, index=index)
        finally:
            frames.close()


def _read(
    sources: Iterable[Source | Deferred], limits: Limits
) -> Generator[tuple[Frame | BrokenFrame, bool], None, None]:
    for source in _leaves(sources):
        try:
            for frame in source.frames(limits):
                yield frame, source.live
        except SourceError as error:
            # Never dropped, not even from a camera's queue: it is the last thing that the camera says.
            yield BrokenFrame(source.name, 0, error), False


def _leaves(sources: Iterable[Source | Deferred]) -> Iterator[Source]:
    for source in sources:
        if isinstance(source, Deferred):
            yield from source.leaves()
        else:
            yield source
