"""Stages in a process of their own: a crash, a hang or a hunger for memory there is an outcome here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.build.worker import ANSWER, REQUEST
from edgeseg.card.limits import Limits
from edgeseg.environments.contract import Confinement, Environment
from edgeseg.errors import OutputError
from edgeseg.files import make_folder, write_atomically
from edgeseg.spinning import limit_spinning

if TYPE_CHECKING:
    import psutil
    from typing_extensions import Self

POLL_S = 0.02
MEMORY_POLL_S = 0.2
"""Between two looks at the answer, and at the memory, which takes longer."""

LAST_LINES = 20
"""Lines of a broken stage's log that are kept."""

MACHINERY = ("/click/", "/edgeseg/cli/", "/edgeseg/__main__.py", "<frozen runpy>", "/edgeseg/build/worker.py")
"""Files whose lines in a crash's trace say only how the stage was started."""

LONGEST_LINE = 300


class Session(Protocol):
    """Runs the stages of one target, one after the other."""

    def run(self, request: StageRequest, failure: str, limits: Limits) -> StageResult:
        """Run a stage; `request.folder` is its scratch folder. What breaks is an outcome: `failure`."""

    def close(self) -> None:
        """End what it holds."""


class ProcessSession:
    """A process that stays for all stages of a target, so that an SDK is loaded once.

    Args:
        environment: where it runs.
        format_name: the target's format; empty for stages of the core.
        scratch: the folder that it may write to, with those of its requests in it.
        readable: folders and files that its stages read.
    """

    def __init__(
        self, environment: Environment, format_name: str, scratch: Path, readable: Sequence[Path] = ()
    ) -> None:
        self._environment, self._format, self._readable = environment, format_name, tuple(readable)
        self._folder, self._scratch = _fresh_folder(scratch), scratch
        self._log = self._folder / "session.log"
        self._process: subprocess.Popen[str] | None = None
        self._name = f"edgeseg-{os.getpid()}-{self._folder.name}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, request: StageRequest, failure: str, limits: Limits) -> StageResult:
        """Run one stage.

        Args:
            request: what to run, written into its folder.
            failure: the outcome where the process breaks.
            limits: of time and memory.
        """
        work = self._folder / request.stage
        shutil.rmtree(work, ignore_errors=True)
        for folder in (work, request.folder):
            self._environment.prepare(make_folder(folder))
        content = {"request": request.to_json(), "module": self._format}
        write_atomically(work / REQUEST, json.dumps(content, default=str).encode())
        process = self._started(limits)
        offset = self._log.stat().st_size
        start = time.monotonic()
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{work / REQUEST}\n")
            process.stdin.flush()
        broken = self._wait(process, work / ANSWER, limits)
        seconds = time.monotonic() - start
        if broken:
            self._end()
            hint = "its last lines are in the report; limits of time and memory are the card's `limits`"
            return StageResult(failure, broken, hint, log=self._tail(offset), seconds=seconds)
        return self._answer(work / ANSWER, request, failure, offset)

    def close(self) -> None:
        """End the process and remove what it exchanged with the build."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self, limits: Limits) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        confinement = Confinement(self._name, self._readable, (self._scratch,), limits.memory_mb)
        command = self._environment.command(["stage", "run", "-"], confinement)
        variables = dict(os.environ)
        limit_spinning(variables, alone=False)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                # Ctrl-C ends the build, which then ends this; and one kill reaches all of its children.
                start_new_session=True,
                env=variables,
            )
        return self._process

    def _wait(self, process: subprocess.Popen[str], answer: Path, limits: Limits) -> str:
        """Wait for the answer; what broke in words, empty where it came."""
        deadline = time.monotonic() + limits.stage_s
        watched, look = _watched(process.pid), time.monotonic()
        while True:
            ended = process.poll() is not None
            if answer.is_file():
                return ""
            if ended:
                return _how(process.returncode, self._environment)
            if time.monotonic() > deadline:
                return f"took longer than {limits.stage_s:g} s, the limit of a stage, and was ended"
            if watched is not None and time.monotonic() >= look:
                look = time.monotonic() + MEMORY_POLL_S
                used = _memory_mb(watched)
                if used > limits.memory_mb:
                    return f"used {used:.0f} MB of memory, the limit of a stage is {limits.memory_mb}, and was ended"
            time.sleep(POLL_S)

    def _answer(self, path: Path, request: StageRequest, failure: str, offset: int) -> StageResult:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            result = StageResult.from_json(content["result"], request.folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return StageResult(failure, f"its answer is not readable: {error!r}", log=self._tail(offset))
        if content["code"] != request.code:
            message = f"{self._environment.describe()} has edgeseg {content['code']}, this build runs {request.code}"
            hint = "make that environment again with this edgeseg; or, where its files were just changed, build again"
            return StageResult("env_missing", message, hint)
        if result.passed or result.log:
            return result
        return StageResult.from_json({**content["result"], "log": self._tail(offset)}, request.folder)

    def _tail(self, offset: int) -> str:
        with self._log.open("rb") as file:
            file.seek(offset)
            text = file.read().decode(errors="replace")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        lines = [line for line in lines if not (line.startswith("  File ") and any(m in line for m in MACHINERY))]
        return "\n".join(line[:LONGEST_LINE] for line in lines[-LAST_LINES:])

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The container first: it does not end with its client.
        self._environment.kill(self._name)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        process.wait()


def _fresh_folder(scratch: Path) -> Path:
    make_folder(scratch)
    try:
        return Path(tempfile.mkdtemp(dir=scratch, prefix="session-"))
    except OSError as error:
        raise OutputError(f"{scratch}: cannot be written: {error.strerror}", hint="choose another --output") from error


def _how(code: int, environment: Environment) -> str:
    if code < 0:
        return f"the process that ran it was ended by {signal.Signals(-code).name}"
    return f"the process that ran it {environment.explain(code)}"


def _watched(pid: int) -> psutil.Process | None:
    import psutil

    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _memory_mb(process: psutil.Process) -> float:
    """Resident memory of a process and all below it, 10^6 bytes; 0 where it has just ended."""
    import psutil

    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for member in family:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total / 1e6
