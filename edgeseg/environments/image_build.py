"""Builds a target's image from a context of its own: Dockerfile, pinned lines, wheels."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from edgeseg.environments.engine import find_engine
from edgeseg.environments.image import ImageEnvironment, find, image_labels, image_tag
from edgeseg.environments.logged import Log
from edgeseg.environments.recipe import REQUIREMENTS, Recipe, recipe_of
from edgeseg.environments.venv import Progress, environments_folder
from edgeseg.errors import EnvironmentMissingError, UsageError

DOCKERFILE = "Dockerfile"


@dataclass(frozen=True)
class ImageRequest:
    """How to build.

    Attributes:
        target: its name.
        engine: as `find_engine` takes it.
        arguments: of the Dockerfile (``BASE``, ``PIP_EXTRA_INDEX_URL`` ...).
        wheelhouse: a folder of wheels; with it nothing is downloaded.
        cache: whether layers of earlier builds may be used.
    """

    target: str
    engine: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    wheelhouse: Path | None = None
    cache: bool = True


def build(request: ImageRequest, progress: Progress) -> ImageEnvironment:
    """Build the image of a target.

    Raises:
        UsageError: the wheelhouse is no folder with wheels.
        EnvironmentMissingError: no engine, no Dockerfile, or a step failed.
    """
    engine = find_engine(request.engine)
    recipe = recipe_of(request.target)
    log = Log(environments_folder() / f"{request.target}-image.log")
    tag = image_tag(recipe)
    with tempfile.TemporaryDirectory(prefix="edgeseg-image-") as scratch:
        context = Path(scratch)
        progress("making the wheel of edgeseg")
        dockerfile = fill_context(recipe, context, request.wheelhouse, log)
        progress(f"building {tag}")
        command = [*engine, "build", "--file", str(dockerfile), "--tag", tag, *_flags(request)]
        for key, value in image_labels(recipe).items():
            command += ["--label", f"{key}={value}"]
        # Docker 20 needs to be told to use BuildKit, which the Dockerfiles' mounts need.
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        log.run([*command, str(context)], f"building the image of {request.target!r}", environment)
    built = find(request.target, request.engine)
    if built is None:
        raise EnvironmentMissingError(
            f"the engine built {tag}, but does not have it now", hint=f"the whole log: {log.path}"
        )
    return built


def fill_context(recipe: Recipe, context: Path, wheelhouse: Path | None, log: Log) -> Path:
    """Lay out a build context as the source tree has it, so that a Dockerfile works from both; returns its path."""
    text = _dockerfile(recipe)
    folder = context / "docker" / recipe.target
    pins = context / "targets" / recipe.target
    core = context / "edgeseg" / "environments"
    for path in (folder / "wheelhouse", pins, core, context / "dist"):
        path.mkdir(parents=True)
    (folder / DOCKERFILE).write_text(text)
    (pins / REQUIREMENTS).write_text("\n".join([*recipe.requirements, ""]))
    (core / "core.txt").write_text("\n".join([*recipe.core, ""]))
    for package in recipe.packages:
        package.make_wheel(context / "dist", log)
    if wheelhouse is not None:
        wheels = sorted(wheelhouse.glob("*.whl"))
        if not wheels:
            raise UsageError(
                f"{wheelhouse}: no folder with wheels", hint="docs/environments.md says how `pip download` fills it"
            )
        for wheel in wheels:
            _link(wheel, folder / "wheelhouse" / wheel.name)
    return folder / DOCKERFILE


def _flags(request: ImageRequest) -> list[str]:
    arguments = dict(request.arguments)
    flags = [] if request.cache else ["--no-cache"]
    if request.wheelhouse is not None:
        arguments.setdefault("PIP_NO_INDEX", "1")
        flags += ["--network", "none"]
    return flags + [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]


def _dockerfile(recipe: Recipe) -> str:
    """The target's own beside its requirements, else the one that edgeseg ships for it."""
    for path in (recipe.folder / DOCKERFILE, files("edgeseg_docker") / recipe.target / DOCKERFILE):
        if path.is_file():
            return path.read_text()
    raise EnvironmentMissingError(
        f"the target {recipe.target!r} brings no {DOCKERFILE} in its package",
        hint=f"a venv needs none: edgeseg targets install {recipe.target}",
    )


def _link(source: Path, path: Path) -> None:
    """A hard link where the file system has them across these folders: wheels of runtimes are large."""
    with contextlib.suppress(OSError):
        os.link(source.resolve(), path)
        return
    shutil.copyfile(source, path)
