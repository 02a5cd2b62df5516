"""The target's container image: no network, a read-only root, no privileges, a limit on memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.environments.contract import Confinement, Environment
from edgeseg.environments.engine import call, explain_exit, find_engine, is_podman
from edgeseg.environments.recipe import Recipe, recipe_of
from edgeseg.errors import EnvironmentMissingError

IMAGE_USER = 10001
"""User and group of the Dockerfiles: a container started by root has no root inside."""

PIDS_LIMIT = 4096
"""Processes and threads: above what runtimes start on large machines, below what a fork bomb needs."""

SHARED_MEMORY = "512m"
"""For data loaders' workers, which crash in the usual 64 MB; it counts as memory of the container."""

LABEL = "edgeseg."


@dataclass(frozen=True)
class ImageEnvironment(Environment):
    """A built image.

    Attributes:
        engine: the client's argument list.
        tag: for people.
        image: its id, by which it is run: a tag may move on during a build.
    """

    engine: tuple[str, ...] = ()
    tag: str = ""
    image: str = ""

    @property
    def kind(self) -> str:
        """``docker``, whatever the engine's name is."""
        return "docker"

    def describe(self) -> str:
        """Tag and id."""
        return f"{self.tag} ({self.image})"

    def command(self, arguments: Sequence[str], confinement: Confinement) -> list[str]:
        """The engine's command line; where root is the caller, writable folders become the image's user's."""
        for folder in confinement.writable:
            self.prepare(folder)
        user = _caller() or f"{IMAGE_USER}:{IMAGE_USER}"
        command = [*self.engine, "run", "--rm", "--interactive", "--init", "--pull", "never"]
        command += ["--name", confinement.name, "--network", "none", "--read-only"]
        command += ["--tmpfs", "/tmp", "--shm-size", SHARED_MEMORY, "--workdir", "/tmp"]  # noqa: S108 - in the container
        command += ["--user", user, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        command += ["--pids-limit", str(PIDS_LIMIT)]
        if is_podman(self.engine) and _caller():
            # Else a rootless podman maps the caller to the container's root.
            command += ["--userns", "keep-id"]
        if confinement.memory_mb is not None:
            # Both alike: no swap.
            limit = f"{confinement.memory_mb * 1_000_000}b"
            command += ["--memory", limit, "--memory-swap", limit]
        command += _mounts(confinement)
        command += ["--env", "HOME=/tmp", "--env", "OMP_WAIT_POLICY=PASSIVE"]
        return [*command, self.image, "edgeseg", *arguments]

    def kill(self, name: str) -> None:
        """End and remove the container, which outlives a killed client; one that is gone already is no error."""
        call(self.engine, "rm", "--force", name)

    def explain(self, code: int) -> str:
        """With what the engine's own codes mean."""
        meaning = explain_exit(code)
        return f"ended with exit code {code}" + (f": {meaning}" if meaning else "")

    def prepare(self, folder: Path) -> None:
        """Where root is the caller, give the folder and all that is in it to the image's user."""
        if not _caller() and hasattr(os, "chown"):
            for path in _tree(folder):
                if path.lstat().st_uid != IMAGE_USER:
                    os.chown(path, IMAGE_USER, IMAGE_USER, follow_symlinks=False)


def image_tag(recipe: Recipe) -> str:
    """``edgeseg-TARGET:VERSION``; a local version's plus sign is none of the letters of a tag."""
    return f"edgeseg-{recipe.target.lower()}:{re.sub(r'[^A-Za-z0-9_.-]', '-', __version__)}"


def image_labels(recipe: Recipe) -> dict[str, str]:
    """What an image was made from; the keys are words for its user."""
    return {
        f"{LABEL}target": recipe.target,
        f"{LABEL}requirements": recipe.sha256,
        f"{LABEL}packages": json.dumps(recipe.versions, sort_keys=True),
        f"{LABEL}code": json.dumps(dict(recipe.code), sort_keys=True),
    }


def find(target: str, engine: str = "") -> ImageEnvironment | None:
    """The image of a target; None where there is none.

    Args:
        target: its name.
        engine: as `find_engine` takes it.

    Raises:
        EnvironmentMissingError: there is no engine, it fails, or the image is outdated.
    """
    client = find_engine(engine)
    recipe = recipe_of(target)
    tag = image_tag(recipe)
    facts = _inspect(client, tag)
    if facts is None:
        return None
    labels = facts.get("Config", {}).get("Labels") or {}
    changed = [key.removeprefix(LABEL) for key, value in image_labels(recipe).items() if labels.get(key) != value]
    if changed:
        raise EnvironmentMissingError(
            f"the image {tag} is outdated ({', '.join(changed)} changed)",
            hint=f"build it again: edgeseg targets image {target}",
        )
    image = str(facts["Id"])
    return ImageEnvironment(target, {"image": image}, client, tag, image)


def _inspect(engine: Sequence[str], tag: str) -> dict[str, Any] | None:
    done = call(engine, "image", "inspect", tag)
    if done.returncode == 0:
        (facts,) = json.loads(done.stdout)
        return dict(facts)
    # Docker: "No such image"; podman: "image not known".
    if re.search(r"no such image|not known", done.stderr, re.IGNORECASE):
        return None
    raise EnvironmentMissingError(
        f"{' '.join(engine)} cannot look for the image {tag}: {done.stderr.strip()}",
        hint="start the engine's daemon, or name another engine with --engine",
    )


def _caller() -> str:
    """``UID:GID`` of this process; empty for root, and where there are no such numbers."""
    if not hasattr(os, "getuid") or os.getuid() == 0:
        return ""
    return f"{os.getuid()}:{os.getgid()}"


def _tree(folder: Path) -> Iterator[Path]:
    yield folder
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *names))


def _mounts(confinement: Confinement) -> list[str]:
    """Bind mounts at their own paths; what is both readable and writable is writable."""
    modes = {**dict.fromkeys(confinement.readable, ",readonly"), **dict.fromkeys(confinement.writable, "")}
    # Not `--volume`: it would make a missing folder, as root, and stumble over a colon. The value is a line of CSV.
    options = (f"type=bind,{_quoted('source', path)},{_quoted('target', path)}{mode}" for path, mode in modes.items())
    return [word for option in options for word in ("--mount", option)]


def _quoted(key: str, path: Path) -> str:
    text = str(path).replace('"', '""')
    return f'"{key}={text}"'
