"""The pictures of a converted set: where each goes, and copies or links there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from edgeseg.data.convert_options import Pictures
from edgeseg.data.dataset import Dataset
from edgeseg.data.notes import Notes
from edgeseg.errors import OutputError, SourceError
from edgeseg.files import make_folder


def place_pictures(parts: Mapping[str, Dataset], folder: Path, how: Pictures, notes: Notes) -> dict[str, list[Path]]:
    """Put the pictures of each part into ``images/<part>/`` of a folder, below their common folder as they were.

    Args:
        parts: part name to its pictures.
        folder: of the new set.
        how: copied, linked, or left where they are.
        notes: where to count those that got another name.

    Returns:
        Part name to the absolute path of each picture, in order.

    Raises:
        SourceError: pictures are not there.
        OutputError: the part is in the folder already, or cannot be written.
    """
    sources = {part: _paths(dataset) for part, dataset in parts.items()}
    if how == "absolute":
        return sources
    for part in parts:
        place = folder / "images" / part
        if place.exists() and any(place.iterdir()):
            raise OutputError(f"{place}: is not empty, expected a new part", hint="name another folder or --split")
    placed = {part: _targets(paths, folder.absolute() / "images" / part, notes) for part, paths in sources.items()}
    for part, targets in placed.items():
        for source, target in zip(sources[part], targets, strict=True):
            _put(source, target, how)
    return placed


def _paths(dataset: Dataset) -> list[Path]:
    paths = [Path(os.path.normpath(sample.path.absolute())) for sample in dataset]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise SourceError(
            f"{dataset.source}: {len(missing)} of {len(paths)} pictures are not there, such as {missing[0]}",
            hint="`edgeseg data check` lists them all",
        )
    return paths


def _targets(paths: list[Path], folder: Path, notes: Notes) -> list[Path]:
    """New paths, unique without their suffix, since label files differ in nothing else."""
    top = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    taken: set[Path] = set()
    targets = []
    for path in paths:
        relative = path.relative_to(top)
        stem, number = relative.stem, 2
        while relative.with_suffix("") in taken:
            relative, number = relative.with_name(f"{stem}-{number}{relative.suffix}"), number + 1
        notes.count("pictures that differ from another in their suffix alone: renamed", relative.stem != stem)
        taken.add(relative.with_suffix(""))
        targets.append(folder / relative)
    return targets


def _put(source: Path, target: Path, how: Pictures) -> None:
    make_folder(target.parent)
    try:
        if how == "link":
            target.symlink_to(source)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
