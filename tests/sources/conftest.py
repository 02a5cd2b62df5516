"""Real files and a real server for the sources."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest


def write_picture(path: Path, value: int = 0) -> Path:
    """A PNG of 6 x 8 pixels of one grey, whatever its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((6, 8, 3), value, np.uint8))[1].tobytes())
    return path


@dataclass
class Site:
    """What a test's server answers: path to (status, headers, chunks, seconds between chunks)."""

    url: str
    answers: dict[str, tuple[int, dict[str, str], list[bytes], float]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, path: str, body: bytes) -> str:
        """Serve a body; returns its URL."""
        self.answers[path] = (200, {"Content-Length": str(len(body))}, [body], 0.0)
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        """Serve a redirect; returns its URL."""
        self.answers[path] = (302, {"Location": to, "Content-Length": "0"}, [], 0.0)
        return self.url + path


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            status, headers, chunks, pause = served.answers.get(self.path, (404, {"Content-Length": "0"}, [], 0.0))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(chunk)
                    self.wfile.flush()
                    time.sleep(pause)
            except OSError:
                self.close_connection = True  # the client gave up, as some tests want

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
