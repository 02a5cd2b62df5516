"""Edge TPUs and the library that drives them, looked for without opening either."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from edgeseg.errors import EnvironmentMissingError

LIBRARIES = {"linux": "libedgetpu.so.1", "darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}
"""System to the library's name: https://coral.ai/docs/edgetpu/tflite-python/."""

INSTALL = (
    "install Coral's libedgetpu1-std, built for the TensorFlow Lite of your interpreter: "
    "https://coral.ai/docs/accelerator/get-started/#1-install-the-edge-tpu-runtime"
)

USB_IDS = (("1a6e", "089a"), ("18d1", "9302"))
"""Vendor and product of a USB Accelerator before and after it got its firmware."""

USB_FOLDER = Path("/sys/bus/usb/devices")
PCI_FOLDER = Path("/dev")


def library() -> str:
    """The library's name on this system."""
    return LIBRARIES.get(sys.platform, LIBRARIES["linux"])


def find_devices(usb: Path = USB_FOLDER, pci: Path = PCI_FOLDER) -> list[str]:
    """``usb`` and ``pci`` once for each Edge TPU that Linux shows; empty on other systems, which do not tell.

    Args:
        usb: folder of one folder for each USB device.
        pci: folder with a file ``apex_N`` for each Edge TPU on PCI.
    """
    found = ["usb" for folder in sorted(usb.glob("*")) if _ids(folder) in USB_IDS]
    return found + ["pci" for _ in sorted(pci.glob("apex_*"))]


def _ids(folder: Path) -> tuple[str, str]:
    try:
        return (folder / "idVendor").read_text().strip(), (folder / "idProduct").read_text().strip()
    except OSError:
        return "", ""


def require_library(purpose: str) -> str:
    """The library's name, where it can be loaded.

    Args:
        purpose: what it is needed for, for the message.

    Raises:
        EnvironmentMissingError: it is not installed, or not for this processor.
    """
    name = library()
    try:
        ctypes.CDLL(name)
    except OSError as error:
        raise EnvironmentMissingError(f"{purpose} needs {name}: {error}", hint=INSTALL) from error
    return name


def lacking() -> str:
    """Why nothing runs on an Edge TPU here: a sentence; empty where one is plugged in and has its library."""
    if not find_devices():
        return "no Edge TPU is plugged in"
    try:
        require_library("running on the Edge TPU")
    except EnvironmentMissingError as error:
        return error.message
    return ""
