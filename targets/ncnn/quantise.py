"""int8 by ncnn's own programs, where they are on PATH. No package index has them: they come with ncnn's sources.

Their command lines are those of ncnn's documentation, how-to-use-and-FAQ/quantized-int8-inference. The programs
themselves were not to be had where this was written: a real one has not run yet. What they leave is checked.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseg.data.letterbox import letterbox
from edgeseg.data.picture import read_picture
from edgeseg.errors import ArtifactError, StageError

from .network import BIN_FILE, CONVOLUTIONS, PARAM_FILE, read_layers, stored_types
from .tools import TABLE_TOOL, WRITE_TOOL

LIST_FILE = "pictures.txt"
TABLE_FILE = "network.table"
SCALE = 1 / 255


def quantise(folder: Path, pictures: Sequence[Path], image_size: tuple[int, int]) -> None:
    """Turn the fp32 network in `folder` into one with int8 convolutions, under the same names.

    Args:
        folder: holds `PARAM_FILE` and `BIN_FILE`.
        pictures: that set the ranges.
        image_size: (height, width) in pixels.

    Raises:
        StageError: a program fails, or leaves no whole network with int8 convolutions.
        SourceError: a picture cannot be read.
    """
    work = folder / "quantising"
    work.mkdir()
    try:
        names = [_letterboxed(path, work / f"{index}.png", image_size) for index, path in enumerate(pictures)]
        (work / LIST_FILE).write_text("".join(f"{name}\n" for name in names))
        for name in (PARAM_FILE, BIN_FILE):
            (folder / name).rename(work / name)
        _run(_table_command(image_size), work)
        _run([WRITE_TOOL, PARAM_FILE, BIN_FILE, f"int8.{PARAM_FILE}", f"int8.{BIN_FILE}", TABLE_FILE], work)
        for name in (PARAM_FILE, BIN_FILE):
            if not (work / f"int8.{name}").is_file():
                raise StageError("export_failed", f"{WRITE_TOOL} wrote no {name}")
            (work / f"int8.{name}").rename(folder / name)
    finally:
        shutil.rmtree(work)
    _check(folder)


def _letterboxed(picture: Path, path: Path, image_size: tuple[int, int]) -> str:
    """Written at the network's size, which `TABLE_TOOL` then does not change: it would stretch the picture."""
    import cv2

    boxed, _ = letterbox(read_picture(picture), image_size)
    if not cv2.imwrite(str(path), np.ascontiguousarray(boxed[..., ::-1])):
        raise StageError("export_failed", f"{path}: cannot be written", hint="is there space left?")
    return path.name


def _table_command(image_size: tuple[int, int]) -> list[str]:
    height, width = image_size
    scales = ",".join([f"{SCALE:.9f}"] * 3)
    asked = ["mean=[0,0,0]", f"norm=[{scales}]", f"shape=[{width},{height},3]", "pixel=RGB", "thread=1", "method=kl"]
    return [TABLE_TOOL, PARAM_FILE, BIN_FILE, LIST_FILE, TABLE_FILE, *asked]


def _run(command: list[str], work: Path) -> None:
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-3:])
        raise StageError("export_failed", f"{command[0]} ended with {done.returncode}: {said}")


def _check(folder: Path) -> None:
    """The programs end with 0 where they cannot write, too."""
    try:
        layers = read_layers(folder)
        types = stored_types(folder, layers)
    except ArtifactError as error:
        raise StageError("export_failed", f"{WRITE_TOOL} left no whole network: {error.message}") from error
    if "int8" not in types.values():
        kinds = ", ".join(sorted({layer.kind for layer in layers if layer.kind in CONVOLUTIONS}))
        raise StageError("export_failed", f"{WRITE_TOOL} left every one of {kinds} as it was")
