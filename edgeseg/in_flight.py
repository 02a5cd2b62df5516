"""Groups of frames through the network, in order, with as many runs under way as the runner takes.

While the network works on one group, the next is letterboxed and the one before is decoded. What waits is bounded by
the runner, so that memory is too.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.data.letterbox import Geometry, letterbox
from edgeseg.quantised import Outputs
from edgeseg.sources import BrokenFrame, Frame
from edgeseg.tensors import INPUT_NAME, Array

if TYPE_CHECKING:
    from edgeseg.predict import Model

Group = list[Frame | BrokenFrame]


@dataclass(frozen=True)
class Ran:
    """A group that the network has run on.

    Attributes:
        frames: as they came, broken ones in their place.
        places: letterbox of each frame that is not broken.
        outputs: of the network, for the frames that are not broken; empty where all are.
        letterbox_ms: milliseconds of making the input.
        network_ms: milliseconds from the start of the run to its outputs, waiting for runs before it included.
    """

    frames: Group
    places: list[Geometry]
    outputs: Outputs
    letterbox_ms: float
    network_ms: float


@dataclass(frozen=True)
class _Started:
    """A group whose run has begun; `wait` gives its outputs."""

    frames: Group
    places: list[Geometry]
    begin: float
    ready: float
    wait: Callable[[], Outputs]

    def ran(self) -> Ran:
        outputs = self.wait()
        done = time.perf_counter()
        return Ran(self.frames, self.places, outputs, 1e3 * (self.ready - self.begin), 1e3 * (done - self.ready))


def run_groups(model: Model, groups: Iterable[Group], size: tuple[int, int]) -> Iterator[Ran]:
    """Run the network on each group.

    Args:
        model: open.
        groups: frames of one run each; read only as far as runs are begun.
        size: (height, width) of the letterbox, which the model takes.

    Yields:
        The groups in order. An error of a group, or of `groups` itself, is raised after those before it.
    """
    waiting: deque[_Started | Exception] = deque()
    room = model.runner.in_flight
    try:
        for begun in _begun(model, groups, size):
            waiting.append(begun)
            if len(waiting) >= room:
                yield _ran(waiting.popleft())
        while waiting:
            yield _ran(waiting.popleft())
    finally:
        # Where the caller stops early, or a run fails: none may go on with arrays that nobody holds any more.
        for begun in waiting:
            if isinstance(begun, _Started):
                with contextlib.suppress(Exception):
                    begun.wait()


def _begun(model: Model, groups: Iterable[Group], size: tuple[int, int]) -> Iterator[_Started | Exception]:
    try:
        for group in groups:
            yield _start(model, group, size)
    except Exception as error:  # noqa: BLE001 - raised again in its turn
        yield error


def _start(model: Model, group: Group, size: tuple[int, int]) -> _Started:
    begin = time.perf_counter()
    pad = model.metadata.preprocessing.pad_value
    boxed = [letterbox(frame.picture, size, pad) for frame in group if isinstance(frame, Frame)]
    places = [place for _, place in boxed]
    if not boxed:
        return _Started(group, places, begin, begin, dict)
    images = model.input_of([picture for picture, _ in boxed], _spare_input(model))
    ready = time.perf_counter()
    wait = model.runner.start({INPUT_NAME: images})

    def ended() -> Outputs:
        outputs = wait()
        model.spare_inputs.append(images)
        return outputs

    return _Started(group, places, begin, ready, ended)


def _spare_input(model: Model) -> Array | None:
    try:
        return model.spare_inputs.pop()
    except IndexError:
        return None


def _ran(begun: _Started | Exception) -> Ran:
    if isinstance(begun, Exception):
        raise begun
    return begun.ran()
