"""The few calls of the CUDA driver that running an engine takes, by ctypes: a Jetson has no Python package for them.

Names, arguments and attribute numbers are those of cuda.h (CUDA Driver API, docs.nvidia.com/cuda/cuda-driver-api);
that interface is the same from CUDA 4 on.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Any

from edgeseg.errors import StageError
from edgeseg.tensors import Array

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
NONE_VISIBLE = ("", "-1", "none", "NoDevFiles")
"""What hides every GPU: the driver reads the list up to its first wrong entry (CUDA programming guide)."""

_Pointer = ctypes.c_uint64
"""CUdeviceptr; handles are plain pointers."""


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number in the driver, its name, its compute capability such as ``8.7``."""

    index: int
    name: str
    compute_capability: str


def lacking() -> str:
    """Why there is no GPU to work on, in words; empty where there is one."""
    if os.environ.get(VISIBLE, "all").strip() in NONE_VISIBLE:
        return f"{VISIBLE} hides every GPU"
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return f"there is no NVIDIA driver here ({LIBRARY})"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver here finds no GPU"
    return ""


class Device:
    """A GPU, with a stream of its own and two events around what runs on it.

    Args:
        index: of the GPU in the driver.

    Raises:
        StageError: a call fails, as every method's may; the message has the driver's name for the error.
    """

    def __init__(self, index: int) -> None:
        self._driver = ctypes.CDLL(LIBRARY)
        self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._stream, self._start, self._end = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self._buffers: dict[str, tuple[ctypes.c_uint64, int]] = {}
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), index)
        # The primary context is the one that TensorRT itself works in.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.enter()
        self._call("cuStreamCreate", ctypes.byref(self._stream), 1)
        for event in (self._start, self._end):
            self._call("cuEventCreate", ctypes.byref(event), 0)
        self.gpu = Gpu(index, self._name(), f"{self._attribute(MAJOR)}.{self._attribute(MINOR)}")

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.value or 0)

    def enter(self) -> None:
        """Make this GPU the current one of the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def buffer(self, name: str, size: int) -> int:
        """Address of a tensor's memory of at least `size` bytes, which is kept from run to run."""
        address, held = self._buffers.get(name, (_Pointer(), 0))
        if held < size:
            if self._buffers.pop(name, None):
                self._call("cuMemFree_v2", address)
            self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
            self._buffers[name] = (address, size)
        return int(address.value)

    def upload(self, name: str, array: Array) -> None:
        """Copy a contiguous array into its tensor's memory, in the stream."""
        address, _ = self._buffers[name]
        source = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyHtoDAsync_v2", address, source, ctypes.c_size_t(array.nbytes), self._stream)

    def download(self, name: str, array: Array) -> None:
        """Copy a tensor's memory into a contiguous array, in the stream: it is there after `wait`."""
        address, _ = self._buffers[name]
        target = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyDtoHAsync_v2", target, address, ctypes.c_size_t(array.nbytes), self._stream)

    def mark(self, *, start: bool) -> None:
        """Note the time on the GPU, in the stream."""
        self._call("cuEventRecord", self._start if start else self._end, self._stream)

    def wait(self) -> float:
        """Wait for the stream; milliseconds between the two marks, by the GPU's clock, to about half a microsecond."""
        self._call("cuStreamSynchronize", self._stream)
        elapsed = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(elapsed), self._start, self._end)
        return elapsed.value

    def close(self) -> None:
        """Give back memory, stream, events and the context."""
        self.enter()
        for address, _ in self._buffers.values():
            self._call("cuMemFree_v2", address)
        self._buffers = {}
        for event in (self._start, self._end):
            self._call("cuEventDestroy_v2", event)
        self._call("cuStreamDestroy_v2", self._stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    def _name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), self._device)
        return text.value.decode(errors="replace")

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(code, ctypes.byref(text))
            word = text.value.decode() if text.value else f"error {code}"
            raise StageError("run_failed", f"the NVIDIA driver's {name} gives {word}", hint="nvidia-smi, or dmesg")
