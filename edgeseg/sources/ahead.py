"""Reading ahead in a thread: decoding overlaps the network's work, order is kept, memory stays bounded."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Generator
from typing import Generic, TypeVar

T = TypeVar("T")

_JOIN_SECONDS = 2.0
"""How long to wait for the thread when the caller stops early; it may sit in a download or a camera."""

_log = logging.getLogger(__name__)


def read_ahead(items: Generator[tuple[T, bool], None, None], size: int) -> Generator[T, None, None]:
    """Run `items` in a thread and yield what it gives, in order.

    Args:
        items: gives (value, live). It runs, and is closed, in the thread only.
        size: values that may wait; at least 1. A live value pushes the oldest one out of a full queue, any other
            waits for room.

    Raises:
        BaseException: whatever `items` raises, after the values before it.
    """
    queue: _Queue[T] = _Queue(size)
    thread = threading.Thread(target=_pump, args=(items, queue), name="edgeseg-read-ahead", daemon=True)
    thread.start()
    try:
        while queue.wait():
            yield queue.take()
        queue.reraise()
    finally:
        queue.close()
        thread.join(_JOIN_SECONDS)
        if thread.is_alive():
            _log.debug("the reading thread still waits for its source; it ends with it")


class _Queue(Generic[T]):
    """A bounded queue that either side can end: the writer by `finish`, the reader by `close`."""

    def __init__(self, size: int) -> None:
        self._values: deque[T] = deque()
        self._size = size
        self._changed = threading.Condition()
        self._finished = False
        self._closed = False
        self._error: BaseException | None = None

    def put(self, value: T, live: bool) -> bool:
        """Add a value; False once the reader has gone."""
        with self._changed:
            if live and len(self._values) >= self._size:
                self._values.popleft()
            self._changed.wait_for(lambda: self._closed or len(self._values) < self._size)
            if not self._closed:
                self._values.append(value)
            self._changed.notify_all()
            return not self._closed

    def finish(self, error: BaseException | None) -> None:
        """No more values come; `error` is why, None at the regular end."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def wait(self) -> bool:
        """Wait for a value; False where none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._values or self._finished)
            return bool(self._values)

    def take(self) -> T:
        """The oldest value. Only after `wait`."""
        with self._changed:
            value = self._values.popleft()
            self._changed.notify_all()
            return value

    def reraise(self) -> None:
        """Raise the writer's error in the reader."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """The reader goes: forget what waits and let the writer stop."""
        with self._changed:
            self._closed = True
            self._values.clear()
            self._changed.notify_all()


def _pump(items: Generator[tuple[T, bool], None, None], queue: _Queue[T]) -> None:
    error: BaseException | None = None
    try:
        for value, live in items:
            if not queue.put(value, live):
                break
    except BaseException as caught:  # noqa: BLE001 - it is raised again in the caller's thread
        error = caught
    finally:
        items.close()
        queue.finish(error)
