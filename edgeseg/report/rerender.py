"""The reports of a finished build made anew from what is in its folder, with results from devices folded in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.build_manifest import NAME, read_build, rows
from edgeseg.errors import UsageError, needs_extra
from edgeseg.files import write_atomically
from edgeseg.report.markdown import render_markdown
from edgeseg.report.merge import dump, merge, result_path, store
from edgeseg.report.result_schema import read_result
from edgeseg.signature import signature_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rerendered:
    """What was written.

    Attributes:
        content: of `build.json`.
        paths: `build.json`, `report.html`, `report.md`.
        merged: ids of the targets that a given result was folded into.
    """

    content: dict[str, Any]
    paths: tuple[Path, Path, Path]
    merged: tuple[str, ...]


def rerender(folder: Path, results: Sequence[Path] = ()) -> Rerendered:
    """Write a build's reports again; nothing is written where a result does not fit.

    Results that earlier calls put into the folder are folded in again, unless their target was built anew since.

    Args:
        folder: a build's.
        results: `result.json` files from devices; a later one replaces an earlier one of the same target.

    Raises:
        UsageError: no build is in the folder, or a result does not fit it.
        EnvironmentMissingError: jinja2 is not installed.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no folder of a build", hint="expected the --output of edgeseg build")
    content = read_build(folder)
    _fold_kept(content, folder)
    # All is read and checked before anything is written.
    given = [read_result(path) for path in results]
    targets = [merge(content, result, folder) for result in given]
    page, words = _pages(content, folder)
    for result, target in zip(given, targets, strict=True):
        store(result, target, folder)
    paths = _written(content, folder, page, words)
    return Rerendered(content, paths, tuple(dict.fromkeys(target["id"] for target in targets)))


def write_reports_of(content: dict[str, Any], folder: Path) -> tuple[Path, Path, Path]:
    """Write a new build's reports, with results from devices that its folder keeps and that still fit folded in.

    Args:
        content: of `build.json`; changed in place.
        folder: the build's.

    Returns:
        The paths of `build.json`, `report.html` and `report.md`.
    """
    _fold_kept(content, folder)
    return _written(content, folder, *_pages(content, folder))


def _written(content: dict[str, Any], folder: Path, page: str, words: str) -> tuple[Path, Path, Path]:
    paths = (folder / NAME, folder / "report.html", folder / "report.md")
    _write_manifest(paths[0], dump(content))
    write_atomically(paths[1], page.encode(errors="backslashreplace"))
    write_atomically(paths[2], words.encode(errors="backslashreplace"))
    return paths


def _fold_kept(content: dict[str, Any], folder: Path) -> None:
    for target in rows(content, "targets", folder / NAME):
        path = result_path(target, folder)
        if not path.is_file():
            continue
        try:
            merge(content, read_result(path), folder)
        except UsageError as error:
            logger.warning("%s is left out: %s", path, error.message)


def _pages(content: dict[str, Any], folder: Path) -> tuple[str, str]:
    from edgeseg.report.html import render

    try:
        from jinja2 import UndefinedError
    except ImportError as error:
        raise needs_extra("jinja2", "train", "an HTML page") from error
    try:
        return render(content, folder), render_markdown(content)
    except (LookupError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        # Files of other versions, or edited by hand; `edgeseg build` itself writes what the pages need.
        raise UsageError(
            f"{folder / NAME}: the pages need what is not there: {type(error).__name__}: {error}",
            hint="build or verify again with this version of edgeseg",
        ) from error


def _write_manifest(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    write_atomically(path, data)
    if signature_of(path).exists():
        logger.warning("%s has changed: its signature no longer holds, sign it again", path)
