"""One stage, from the question whether it has to run to its manifest."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgeseg.build import cache
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.errors import OutputError
from edgeseg.files import make_folder

logger = logging.getLogger(__name__)

Runner = Callable[[StageRequest], StageResult]
"""Runs a stage whose folder is a scratch folder."""


def find_or_run(request: StageRequest, run: Runner, scratch: Path, *, force: bool = False) -> StageResult:
    """Take the result of an earlier run of the very same request, or run it.

    Args:
        request: what to run.
        run: runs it, in a folder below `scratch`.
        scratch: on the same file system as the request's folder.
        force: run it in any case.

    Raises:
        OutputError: the folder cannot be written.
    """
    content = request.content()
    earlier, reason = cache.find(request, content)
    if earlier is not None and not force:
        return earlier
    reason = cache.FORCED if force else reason
    logger.info("%s runs: %s", f"{request.target} {request.stage}".strip(), reason)
    make_folder(request.folder)
    before = cache.files_of(request)
    cache.forget(request)
    work = scratch / f"{request.target or 'shared'}-{request.stage}"
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    result = run(replace(request, folder=work))
    files = sorted(path.name for path in work.iterdir())
    result = replace(result, outputs=_published(work, request.folder, result))
    left = before - set(files)
    if result.passed:
        for name in left:
            remove(request.folder / name)
    # What a failed stage does not replace stays, and stays known.
    cache.keep(request, content, result, reason, files if result.passed else sorted({*files, *left}))
    return result


def would_run(request: StageRequest, *, force: bool = False) -> tuple[StageResult | None, str]:
    """The earlier result that `find_or_run` would take, or why it would run."""
    earlier, reason = cache.find(request, request.content())
    return (None, cache.FORCED) if force else (earlier, reason)


def _published(work: Path, folder: Path, result: StageResult) -> dict[str, Path]:
    """Move everything that a stage wrote to its place, and remove the scratch folder; the outputs there.

    A kill in the middle leaves no manifest, so that whatever is there is never taken for a result.
    """
    try:
        for source in sorted(work.iterdir()):
            place = folder / source.name
            if place.is_dir():
                # A folder replaces only an empty one.
                remove(place)
            source.replace(place)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    shutil.rmtree(work, ignore_errors=True)
    return {name: folder / path.relative_to(work) for name, path in result.outputs.items()}


def remove(path: Path) -> None:
    """Remove a file or a folder; a link itself, never what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
