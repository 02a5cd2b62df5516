"""Whole `predict`, photo to instances with masks, beside a peer's in one run, runtime by runtime.

    python benchmarks/latency_peer.py PHOTOS WEIGHTS --peer-python PYTHON --cache DIR --calibration DATA.yaml
        [--rows onnx,ncnn] [--from file|array] [--photos 12] [--rounds 3] [--starts 4] [--threads 2] [--prepare]
        [--ours ROW=PYTHON] [--peer ROW=PYTHON]

By default both sides get decoded pixels; `--from file` starts from the file's name, so that reading and decoding it
counts on both. Each side of a row is a process with one runtime. In a round each goes through all photos, as it would
through a folder, the first in one round being the second in the next; while one works the other sleeps. Where memory
comes to lie moves a process's times by some percent, so both are started anew `--starts` times. Both run on the same
cores, with the same threads and in the same precision, which the table names as the runtime reports it. The ratio is
the median over all photos and rounds of ours through theirs; beside it the same of each photo's fastest time. Exports
are made once, into DIR (`--prepare` stops there). A row whose environment is not there is named with the reason.
Exit 1: a limit is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

WORKER = Path(__file__).with_name("latency_peer_worker.py")
ROOT = WORKER.parents[1]
PAUSE_S = 0.02
"""Between the sides: some runtimes' threads spin for some milliseconds after a run."""


@dataclass(frozen=True)
class Side:
    """What one side of a row runs.

    Attributes:
        name: of its export in the cache.
        export: our format and precision, or the peer's export options; ``data: None`` becomes the calibration set.
        precision: what it executes in, where the runtime does not report it.
        options: our run options, beside threads.
    """

    name: str
    export: dict[str, Any]
    precision: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of the table; `theirs` is the peer's, or another of ours where `own` says so."""

    name: str
    runtime: str
    ours: Side
    theirs: Side
    limit: float | None
    own: bool = False


def _of(name: str, precision: str, executes: str, export: str = "", **options: Any) -> Side:
    made = {"format": name, "precision": precision, "option": export}
    return Side("-".join(filter(None, (name, precision, export))), made, executes, options)


def _peer(name: str, executes: str, **export: Any) -> Side:
    return Side("-".join([name, *map(str, export)]), {"format": name, **export}, executes)


ROWS = (
    Row("onnx", "onnx", _of("onnx", "fp32", "fp32"), _peer("onnx", "fp32"), 0.8),
    Row("openvino-f32", "openvino", _of("openvino", "fp32", "f32", hint="f32"), _peer("openvino", "f32"), None),
    Row("openvino-bf16", "openvino", _of("openvino", "fp32", "bf16", hint="bf16"), _peer("openvino", "bf16"), 0.8),
    Row(
        "openvino-int8",
        "openvino",
        _of("openvino", "int8", "int8", "preset=performance", hint="bf16"),
        _of("openvino", "fp32", "bf16", hint="bf16"),
        1.0,
        own=True,
    ),
    # Its default asks for fp16, as ours does not; ncnn computes in fp32 on x86 all the same (targets/ncnn/README.md).
    Row("ncnn", "ncnn", _of("ncnn", "fp16", "fp32", arithmetic="fp32"), _peer("ncnn", "default"), 0.9),
    Row("paddle", "paddle", _of("paddle", "fp32", "fp32"), _peer("paddle", "fp32"), 0.9),
    Row("tflite-fp32", "tflite", _of("tflite", "fp32", "fp32"), _peer("litert", "fp32"), 0.8),
    Row("tflite-int8", "tflite", _of("tflite", "int8", "int8"), _peer("litert", "int8", quantize=8, data=None), 0.9),
)


class Missing(Exception):  # noqa: N818 - the row's word
    """A side cannot run here."""


class Process:
    """One side, ready to predict."""

    def __init__(self, python: str, asked: dict[str, Any]) -> None:
        words = [python, str(WORKER), json.dumps(asked)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(asked)
        )
        self.execution = self._answer()["execution"]

    def predict(self, index: int) -> dict[str, Any]:
        """One photo: milliseconds and instances."""
        assert self._process.stdin
        self._process.stdin.write(f"{index}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        content: dict[str, Any] = json.loads(line) if line else {"missing": "the process ended"}
        if "missing" in content:
            self.close()
            raise Missing(content["missing"])
        return content


def environment(asked: dict[str, Any]) -> dict[str, str]:
    """The same for both sides; the peer installs nothing and keeps its settings in the cache."""
    own = {"OMP_NUM_THREADS": str(asked["threads"]), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **own, "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": asked["cache"], "YOLO_OFFLINE": "true"}


def main() -> None:
    """Export, measure, print the table."""
    args = parsed()
    if hasattr(os, "sched_setaffinity"):
        # Children inherit it: whatever a runtime thinks of threads, both sides have the same cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if not args.rows or row.name in args.rows.split(",")]
    files = sorted(str(path.resolve()) for path in args.photos_from.iterdir() if path.suffix in (".jpg", ".png"))
    count = min(args.photos, len(files))
    print(f"{count} photos, {args.starts} starts of {args.rounds} rounds, {args.threads} threads, from {args.source}")
    head = "ours ms (least)   theirs ms (least)  ratio  of least  limit"
    print(f"{'row':14} {'executes: ours, theirs':24} {head}", flush=True)
    verdicts = []
    for row in rows:
        try:
            verdicts.append(measured(row, args, files[: args.photos]))
        except Missing as error:
            print(f"{row.name:14} env_missing: {error}", flush=True)
    sys.exit("NOT MET" in verdicts)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos_from", metavar="PHOTOS", type=Path)
    parser.add_argument("weights", metavar="WEIGHTS", type=Path)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--rows", default="")
    parser.add_argument("--from", dest="source", choices=["file", "array"], default="array")
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=4, help="of each process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prepare", action="store_true", help="make the exports and stop")
    parser.add_argument("--ours", action="append", default=[], metavar="ROW=PYTHON")
    parser.add_argument("--peer", action="append", default=[], metavar="ROW=PYTHON")
    return parser.parse_args()


def measured(row: Row, args: argparse.Namespace, files: list[str]) -> str:
    """One row, printed; says whether its limit is met."""
    own = dict(word.split("=", 1) for word in args.ours).get(row.name) or python_of(row.runtime)
    peers = dict(word.split("=", 1) for word in args.peer).get(row.name, args.peer_python)
    wanted = [(row.ours, "ours", own), (row.theirs, "ours" if row.own else "peer", own if row.own else peers)]
    sides = []
    for side, kind, python in wanted:
        path = (our_export if kind == "ours" else peer_export)(side, python, args)
        options = {**side.options, "threads": args.threads}
        asked = {"side": kind, "runtime": row.runtime, "path": path, "options": options, "precision": side.precision}
        sides.append((python, {**asked, "photos": files, "source": args.source, **shared(args)}))
    if args.prepare:
        print(f"{row.name:14} exports are made", flush=True)
        return ""
    turns: list[list[list[float]]] = [[[] for _ in files] for _ in sides]
    for _ in range(args.starts):
        processes: list[Process] = []
        try:
            processes += [Process(python, asked) for python, asked in sides]
            take(turns, processes, args.rounds)
            executions = [process.execution for process in processes]
        finally:
            for process in processes:
                process.close()
    return told(row, executions, turns)


def take(turns: list[list[list[float]]], processes: list[Process], rounds: int) -> None:
    """Add milliseconds by side, photo and round."""
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            time.sleep(PAUSE_S)
            for index, photo in enumerate(turns[side]):
                photo.append(processes[side].predict(index)["ms"])


def told(row: Row, executions: list[str], turns: list[list[list[float]]]) -> str:
    """Print the line."""
    flat = [[ms for photo in side for ms in photo] for side in turns]
    least = [[min(photo) for photo in side] for side in turns]
    ratio = median(a / b for a, b in zip(*flat, strict=True))
    of_least = median(a / b for a, b in zip(*least, strict=True))
    verdict = "" if row.limit is None else "met" if ratio <= row.limit else "NOT MET"
    limit = "-" if row.limit is None else f"{row.limit:.1f} {verdict}"
    times = "  ".join(f"{median(a):7.1f} ({median(b):7.1f})" for a, b in zip(flat, least, strict=True))
    sides = f"{executions[0]}, {executions[1]}{' (ours)' if row.own else ''}"
    print(f"{row.name:14} {sides:24} {times}  {ratio:5.2f}  {of_least:8.2f}  {limit}", flush=True)
    return verdict


def shared(args: argparse.Namespace) -> dict[str, Any]:
    """What every process is told."""
    return {"threads": args.threads, "cache": str(args.cache.resolve())}


def python_of(runtime: str) -> str:
    """The interpreter of a target's own environment where it has one (`edgeseg targets install`), else this one."""
    own = ROOT / ".environments" / runtime / "bin" / "python"
    return str(own) if own.is_file() else sys.executable


def our_export(side: Side, python: str, args: argparse.Namespace) -> str:
    """The artifact in the cache, exported where it is not there yet."""
    note = args.cache / "ours" / f"{side.name}.path"
    note.parent.mkdir(exist_ok=True)
    if not note.is_file():
        words = [python, "-m", "edgeseg", "export", str(args.weights.resolve()), "-f", side.export["format"], "-q"]
        words += ["--precision", side.export["precision"], "-o", str((args.cache / "ours" / side.name).resolve())]
        if side.export["option"]:
            words += ["--option", side.export["option"]]
        if side.export["precision"] == "int8":
            if not args.calibration:
                raise Missing("int8 needs --calibration")
            words += ["--calibration", str(args.calibration.resolve())]
        done = subprocess.run(words, env=environment(shared(args)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing((done.stderr.strip() or "export ended").splitlines()[0])
        note.write_text(done.stdout.strip().splitlines()[0])
    return note.read_text()


def peer_export(side: Side, python: str, args: argparse.Namespace) -> str:
    """The peer's artifact in the cache, made by its own export where it is not there yet."""
    folder = args.cache / "peer" / side.name
    note = folder / "path"
    if not note.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        weights = Path(shutil.copy(args.weights, folder)).resolve()
        export = dict(side.export)
        if "data" in export:
            if not args.calibration:
                raise Missing("int8 needs --calibration")
            export["data"] = str(with_place(args.calibration, args.cache))
        asked = {"side": "export", "weights": str(weights), "export": export, **shared(args)}
        words = [python, str(WORKER), json.dumps(asked)]
        done = subprocess.run(words, cwd=folder, env=environment(asked), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"the peer's export: {(done.stderr.strip() or 'ended').splitlines()[-1]}")
        note.write_text(json.loads(done.stdout.splitlines()[-1])["path"])
    return note.read_text()


def with_place(calibration: Path, cache: Path) -> Path:
    """A copy of the description that says where its pictures are: the peer looks for them in a folder of its own."""
    content = yaml.safe_load(calibration.read_text())
    content["path"] = str((calibration.parent / content.get("path", ".")).resolve())
    copy = (cache / calibration.name).resolve()
    copy.write_text(yaml.safe_dump(content))
    return copy


if __name__ == "__main__":
    main()
