"""The process that runs stages: requests come as files, one path a line on stdin; answers go to files.

What tools print goes to stderr and stdout, which the build keeps as the log: nothing is read from there.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from edgeseg.build.code_version import code_version
from edgeseg.build.stage import StageRequest, StageResult, attempt
from edgeseg.errors import ArtifactError
from edgeseg.files import write_atomically

REQUEST, ANSWER = "request.json", "answer.json"

ORPHANED = 1
"""Exit code of a worker whose build went away in the middle of a stage."""


def run_request(path: Path) -> StageResult:
    """Run the stage of a request file and write the answer beside it.

    Raises:
        ArtifactError: the file is no request, or names a stage that there is not.
        OutputError: the answer cannot be written.
    """
    from edgeseg.build.steps import STEPS

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        request = StageRequest.from_json(content["request"])
        step = STEPS[request.stage]
        module = str(content["module"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: is no request of a stage: {error!r}", hint="a build writes them") from error
    if module:
        # Its files count in the code's version.
        from edgeseg.registry import load

        load(module)
    start = time.perf_counter()
    result = attempt(request, step.work, step.failure)
    result = replace(result, seconds=time.perf_counter() - start)
    answer = {"result": result.to_json(request.folder), "code": code_version_of(module)}
    write_atomically(path.with_name(ANSWER), (json.dumps(answer, default=str) + "\n").encode())
    return result


def code_version_of(format_name: str) -> str:
    """`code_version` of the core and a registered target; of the core alone for an empty name."""
    if not format_name:
        return code_version()
    from edgeseg.registry import load

    return code_version(type(load(format_name)).__module__)


def serve() -> None:
    """Run requests until stdin ends; where it ends in the middle of a stage, end at once."""
    # A crash in native code leaves the Python lines that led to it in the log.
    faulthandler.enable()
    lines: queue.Queue[str | None] = queue.Queue()
    busy = threading.Event()
    threading.Thread(target=_read_lines, args=(lines, busy), daemon=True).start()
    while (line := lines.get()) is not None:
        busy.set()
        run_request(Path(line))
        busy.clear()


def _read_lines(lines: queue.Queue[str | None], busy: threading.Event) -> None:
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    if busy.is_set():
        # The build was killed: nobody waits for this stage.
        os._exit(ORPHANED)
    lines.put(None)
