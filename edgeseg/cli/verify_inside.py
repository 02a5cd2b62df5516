"""The part of `edgeseg verify` behind --blame and --bisect: where an artifact that differs begins to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.bisect import Images
    from edgeseg.predict import Model
    from edgeseg.sources import Frame
    from edgeseg.verify import VerifyOptions


def looked_inside(artifact: Model, weights: Path, options: VerifyOptions, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Blame a step, find a layer, or both.

    Args:
        artifact: open.
        weights: of the reference.
        options: gates and thresholds.
        asked: options of the command by name.

    Returns:
        What goes into the report's JSON under ``blame`` and ``bisect``.

    Raises:
        UsageError: --bisect with a format that shows no intermediate tensors, or with a foreign graph.
        EnvironmentMissingError: a package that reading layers needs is not here.
    """
    from edgeseg.bisect import bisect
    from edgeseg.blame import blame
    from edgeseg.cli.output import parse_pairs
    from edgeseg.errors import EdgesegError
    from edgeseg.photos import shipped_photos
    from edgeseg.predict import load
    from edgeseg.report.schema import plain
    from edgeseg.sources import Frame, open_sources

    sources = list(asked["pictures"]) or [str(path) for path in shipped_photos()]
    frames = [frame for frame in open_sources(sources) if isinstance(frame, Frame)]
    run_options = parse_pairs(asked["option"], "--option")
    search = functools.cache(lambda: bisect(weights, artifact.path, images_of(artifact, frames[0]), **run_options))
    found: dict[str, Any] = {}
    if asked["bisect"]:
        found["bisect"] = plain(search().to_json())
    if asked["blame"]:
        with contextlib.ExitStack() as stack:
            reference = stack.enter_context(load(weights))
            try:
                inside = _inside(stack, artifact, weights, run_options)
            except EdgesegError as error:
                report = blame(reference, artifact, frames, options)
                report.because.append(f"its layers were not read: {error.message}")
            else:
                report = blame(reference, artifact, frames, options, inside, search)
        found["blame"] = plain(report.to_json())
    return found


def _inside(stack: contextlib.ExitStack, artifact: Model, weights: Path, run_options: Mapping[str, Any]) -> Any:
    from edgeseg.bisect import layers_of, open_probe
    from edgeseg.blame import Inside

    probe = stack.enter_context(open_probe(artifact.path, **run_options))
    _, layers = layers_of(weights, probe, str(artifact.path))
    return Inside(probe, {layer.path: layer for layer in layers})


def images_of(artifact: Model, frame: Frame) -> Images:
    """One picture as each side takes it."""
    from edgeseg.bisect import Images
    from edgeseg.data.letterbox import letterbox, to_input

    boxed, _ = letterbox(frame.picture, artifact.metadata.image_size)
    return Images(to_input([boxed]), artifact.input_of([boxed]), artifact.metadata.precision, frame.source)
