"""Chromium without a window, driven through two pipes; a server on the loopback interface gives it the files.

The pipes carry the DevTools protocol, one JSON message before each zero byte
(https://chromedevtools.github.io/devtools-protocol): no port, no library.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError, EnvironmentMissingError
from edgeseg.tensors import Array

from .modules import INSTALL_CHROMIUM, find_chromium, require_modules
from .node import unpacked
from .server import FileServer
from .static_page import LIBRARY, PAGE, SCRIPTS, library_files

HOST = Path(__file__).with_name("host")
COMMAND_S = 300
"""For one command: a network of 640 x 640 takes seconds where graphics are computed by a processor."""

CLOSE_S = 10

SWITCHES = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    # WebGL without a graphics card: allowed only where it is asked for.
    "--enable-unsafe-swiftshader",
)

LAUNCHER = """
import fcntl, os, sys
# Out of the way first: one of them may have the other's number.
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for wanted, pipe in zip((3, 4), pipes):
    os.dup2(pipe, wanted)
    os.close(pipe)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""The browser reads commands from file 3 and answers in file 4. A process that starts it there needs no shell, whose
numbers of files end at 9, and no code between fork and exec, which threads forbid."""


class Chromium:
    """A browser with one page. A context manager.

    Args:
        purpose: for the error where there is no browser.
        switches: further ones.

    Raises:
        EnvironmentMissingError: no browser is here, or it does not start.
    """

    def __init__(self, purpose: str, switches: tuple[str, ...] = ()) -> None:
        binary = find_chromium()
        if not binary or os.name == "nt":
            raise EnvironmentMissingError(
                f"{purpose} needs Chromium on Linux or macOS, which is not here", hint=INSTALL_CHROMIUM
            )
        self._profile = Path(tempfile.mkdtemp(prefix="edgeseg-chromium-"))
        self._errors = (self._profile / "errors.txt").open("w+b")
        their_input, self._out = os.pipe()
        self._in, their_output = os.pipe()
        # A browser run by root refuses its sandbox. It loads nothing but files of our own here.
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
        command = [binary, *SWITCHES, *sandbox, *switches, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, str(their_input), str(their_output), *command],
            pass_fds=(their_input, their_output),
            stderr=self._errors,
            stdout=subprocess.DEVNULL,
        )
        os.close(their_input)
        os.close(their_output)
        self._buffer, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        try:
            self._session = self._attached()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send one command, wait for its answer; events that come before it are kept in `events`.

        Args:
            method: of the protocol.
            session: of a page or worker; None for the one page, empty for the browser itself.
            **params: of the method.

        Raises:
            ArtifactError: the browser ended, answers with an error, or not in time.
        """
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is None:
            session = self._session
        if session:
            message["sessionId"] = session
        self._write(json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + COMMAND_S
        while (answer := self._read(deadline)).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise ArtifactError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, address: str) -> None:
        """Go to an address; returns when the page has loaded."""
        self.command("Page.enable")
        self.command("Runtime.enable")
        self.events.clear()
        if text := self.command("Page.navigate", url=address).get("errorText"):
            raise ArtifactError(f"{address}: {text}")
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, awaited where it is a promise.

        Raises:
            ArtifactError: it throws; the message is its own.
        """
        answer = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            said = details.get("exception", {}).get("description", details.get("text", ""))
            raise ArtifactError(str(said).splitlines()[0])
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = COMMAND_S) -> Any:
        """The first value of an expression that counts as true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise ArtifactError(f"{expression}: not within {seconds:.0f} s")
            time.sleep(0.05)
        return value

    def close(self) -> None:
        """End the browser, and remove its profile."""
        for handle in (self._out, self._in):
            with contextlib.suppress(OSError):
                os.close(handle)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _attached(self) -> str:
        pages = self.command("Target.getTargets", session="")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        answer = self.command("Target.attachToTarget", session="", targetId=target, flatten=True)
        return str(answer["sessionId"])

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._out, view) :]
        except BrokenPipeError as error:
            raise self._ended() from error

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next message."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._in, selectors.EVENT_READ)
            while b"\0" not in self._buffer:
                if not ready.select(max(deadline - time.monotonic(), 0)):
                    raise ArtifactError(f"Chromium gives no answer within {COMMAND_S} s")
                chunk = os.read(self._in, 1 << 20)
                if not chunk:
                    raise self._ended()
                self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _ended(self) -> EnvironmentMissingError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return EnvironmentMissingError("Chromium ended: " + ("\n".join(lines[-3:]) or str(self._process.returncode)))


class ChromiumHost:
    """A graph model loaded in a page of its own.

    Args:
        folder: the graph model.
        backend: of TensorFlow.js.

    Raises:
        EnvironmentMissingError: the browser or a package is missing.
        ArtifactError: the model does not load.
    """

    def __init__(self, folder: Path, backend: str) -> None:
        require_modules(f"running {folder.name}")
        self._folder = folder
        self._browser = Chromium(f"running {folder.name} with runtime=chromium")
        files = {f"/{name}": path for name, path in library_files().items()}
        self._server = FileServer({"/model": folder, f"/{SCRIPTS}": PAGE, "/host": HOST}, files)
        try:
            self._browser.open(f"{self._server.address}/host/host.html")
            self._said(f"window.start({json.dumps(backend)}, {json.dumps(f'../{LIBRARY}/')})")
            about: dict[str, str] = self._browser.evaluate("window.execution()")
            version = self._browser.command("Browser.getVersion", session="")["product"]
            self.execution: Mapping[str, str] = {**about, "runtime": version.replace("/", " ")}
        except BaseException:
            self.close()
            raise

    def run(self, images: Array) -> dict[str, Array]:
        """One picture, (1, H, W, 3) float32, to (1, h, w, C) outputs by name."""
        self._server.given = images.tobytes()
        header = self._said("window.run()")
        return unpacked(header, self._server.taken)

    def close(self) -> None:
        """End browser and server."""
        self._browser.close()
        self._server.close()

    def _said(self, expression: str) -> Any:
        try:
            return self._browser.evaluate(expression)
        except ArtifactError as error:
            raise ArtifactError(f"{self._folder}: TensorFlow.js cannot run it: {error.message}") from error
