"""Targets that break as vendor SDKs do: in native code, for ever, or by taking all memory; and one for a far device."""

from __future__ import annotations

import ctypes
import sys
import time
import zipfile
from pathlib import Path

from edgeseg.target import Artifact, Capabilities, ExportRequest, Options, Runner
from tests.conformance.plain_target import METADATA_FILE, PlainTarget


class RoughTarget(PlainTarget):
    """Knows its own files by their suffix inside: those of the others are plain files, too."""

    def recognizes(self, path: Path) -> bool:
        if not super().recognizes(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return f'"format": "{self.name}"' in archive.read(METADATA_FILE).decode()


class Plain(RoughTarget):
    name = "plain"


class Crashing(RoughTarget):
    """Its converter reads address 0."""

    name = "crashing"

    def export(self, request: ExportRequest) -> Artifact:
        sys.stderr.write("crashing: converting 216 nodes\n")
        ctypes.string_at(0)
        raise AssertionError("unreachable")


class Hanging(RoughTarget):
    """Its runtime never returns."""

    name = "hanging"

    def open(self, artifact: Artifact, options: Options) -> Runner:
        sys.stderr.write("hanging: waiting for the device\n")
        time.sleep(3600)
        raise AssertionError("unreachable")


class Hungry(RoughTarget):
    """Its converter takes memory until there is none."""

    name = "hungry"

    def export(self, request: ExportRequest) -> Artifact:
        sys.stderr.write("hungry: optimising\n")
        taken = []
        # Bounded, so that a build that does not watch fails the test and not the machine.
        for _ in range(60):
            taken.append(b"\1" * 50_000_000)
            time.sleep(0.02)
        return super().export(request)


class Faraway(RoughTarget):
    """Runs on its device only."""

    name = "faraway"
    capabilities = Capabilities(precisions=("fp32",), suffix=".plain", run_hardware="a far device")

    def deferral(self) -> str:
        return "it runs on a far device, which this machine is not"


plain, crashing, hanging, hungry, faraway = Plain(), Crashing(), Hanging(), Hungry(), Faraway()
