"""Files for a browser on this machine: a server on the loopback interface, and two addresses for tensors."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
TENSORS = "/tensors"


class FileServer:
    """Serves folders until it is closed. What is written under `TENSORS` is kept, what is read there is given.

    Args:
        folders: first part of an address to the folder whose files lie behind it.
        files: whole addresses of single files.
    """

    def __init__(self, folders: Mapping[str, Path], files: Mapping[str, Path] | None = None) -> None:
        self.given, self.taken = b"", b""
        self._folders = {prefix: folder.resolve() for prefix, folder in folders.items()}
        self._files = dict(files or {})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def path_of(self, address: str) -> Path | None:
        """The file behind the path of an address; None where there is none, or where it lies outside."""
        path = unquote(urlsplit(address).path)
        if path in self._files:
            return self._files[path]
        for prefix, folder in self._folders.items():
            if path.startswith(f"{prefix}/"):
                file = (folder / path[len(prefix) + 1 :]).resolve()
                return file if file.is_file() and file.is_relative_to(folder) else None
        return None

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self) -> None:
                """A file, or the tensor that was given."""
                if self.path == TENSORS:
                    self._answer(200, "application/octet-stream", server.given)
                elif file := server.path_of(self.path):
                    self._answer(200, TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())
                else:
                    self._answer(404, "text/plain", b"")

            def do_POST(self) -> None:
                """Tensors, kept."""
                server.taken = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(200, "text/plain", b"")

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: a report tells what matters."""

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
