"""The page of a graph model, as a person uses it: in a browser that a test drives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeseg_targets.tfjs.chromium import Chromium
from edgeseg_targets.tfjs.server import FileServer

KEYS: Mapping[str, int] = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
"""Names of keys to their codes in the protocol."""

FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A moving picture that the browser makes itself, and the answer yes to whether a page may see it."""


class Page:
    """An open page."""

    def __init__(self, browser: Chromium, address: str) -> None:
        self.browser, self.address = browser, address

    def load(self, query: str = "backend=wasm") -> None:
        """Open it, wait until the network is there."""
        self.browser.command("Network.enable")
        # The worker waits until its requests are seen too.
        self.browser.command("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        self.browser.open(f"{self.address}/index.html?{query}")
        session = self._worker()
        for method in ("Network.enable", "Runtime.runIfWaitingForDebugger"):
            self.browser.command(method, session=session)
        self.wait("!document.getElementById('file').disabled")

    def _worker(self) -> str:
        """The session of the page's worker, which is about to start."""
        while True:
            attached = [event for event in self.browser.events if event.get("method") == "Target.attachedToTarget"]
            for params in (event["params"] for event in attached):
                if params["targetInfo"]["type"] == "worker":
                    return str(params["sessionId"])
            self.wait("true")

    def wait(self, expression: str, seconds: float = 120) -> Any:
        return self.browser.wait(expression, seconds)

    def text(self, selector: str) -> str:
        return str(self.browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def label(self) -> str:
        """What a screen reader says of the picture."""
        return str(self.browser.evaluate("document.getElementById('overlay').getAttribute('aria-label')"))

    def give(self, file: Path) -> None:
        """Choose a file."""
        root = self.browser.command("DOM.getDocument")["root"]["nodeId"]
        node = self.browser.command("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.browser.command("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def choose(self, file: Path) -> list[dict[str, Any]]:
        """Choose a picture, wait for what is in it; returns what `Save JSON` writes."""
        self.give(file)
        self.wait(
            f"document.getElementById('overlay').getAttribute('aria-label').startsWith({json.dumps(f'{file.name}. ')})"
            " && !document.getElementById('file').disabled"
        )
        return self.saved()

    def saved(self) -> list[dict[str, Any]]:
        """What `Save JSON` writes, caught before it becomes a download."""
        rows: list[dict[str, Any]] = json.loads(
            self.browser.evaluate(
                "(() => { const real = URL.createObjectURL; let blob;"
                " URL.createObjectURL = (given) => { blob = given; return '#'; };"
                " document.getElementById('save-json').click(); URL.createObjectURL = real;"
                " return blob.text(); })()"
            )
        )
        return rows

    def press(self, key: str, times: int = 1) -> None:
        """Press a key."""
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                text = {"text": key} if key == " " and kind == "keyDown" else {}
                self.browser.command(
                    "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], **text
                )

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        self.browser.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    def requested(self) -> set[str]:
        """Addresses that the page and its worker have asked for."""
        events = [event for event in self.browser.events if event.get("method") == "Network.requestWillBeSent"]
        return {event["params"]["request"]["url"] for event in events}

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader finds."""
        nodes = self.browser.command("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]


@contextmanager
def opened_page(folder: Path, switches: tuple[str, ...] = ()) -> Iterator[Page]:
    """A browser, and a server that has nothing but an artifact's folder."""
    server = FileServer({"": folder})
    try:
        with Chromium("the test", switches) as browser:
            yield Page(browser, server.address)
    finally:
        server.close()
