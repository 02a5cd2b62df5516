"""The ONNX image on a real engine: built without network, and confined as promised.

The TorchScript image is the same Dockerfile with fewer packages (`test_recipe` sees to that); building it too would
cost most of a minute, so it is left out here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg import registry
from edgeseg.environments import image
from edgeseg.environments.choose import choose
from edgeseg.environments.contract import Confinement
from edgeseg.environments.engine import call, explain_exit
from edgeseg.environments.image import IMAGE_USER, ImageEnvironment
from edgeseg.environments.recipe import recipe_of
from edgeseg.errors import EnvironmentMissingError
from edgeseg.registry import Entry
from edgeseg.target import EnvReport
from tests.cli.running import run
from tests.environments.engine import ROOT

pytestmark = pytest.mark.slow


def inside(
    environment: ImageEnvironment, *program: str, confinement: Confinement | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in place of `edgeseg`, in a container made as for it."""
    command = environment.command([], confinement or Confinement(name_of_test()))
    assert command[-1] == "edgeseg"
    return subprocess.run([*command[:-1], *program], capture_output=True, text=True, timeout=120)


def name_of_test() -> str:
    return f"edgeseg-test-{os.getpid()}-{threading.get_ident()}"


def test_edgeseg_runs_and_finds_its_target_usable(onnx_image: ImageEnvironment) -> None:
    for arguments, expected in ((["--version"], "edgeseg, version"), (["targets", "check", "onnx"], "onnx: usable")):
        command = onnx_image.command(arguments, Confinement(name_of_test()))
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(expected)


def test_tools_inside_are_those_that_are_pinned(onnx_image: ImageEnvironment) -> None:
    command = onnx_image.command(["targets", "check", "onnx", "--json"], Confinement(name_of_test()))
    row = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120).stdout)
    pins = dict(line.split("==") for line in (ROOT / "targets" / "onnx" / "requirements.txt").read_text().splitlines())
    assert row["versions"]
    assert {name: version.partition("+")[0] for name, version in row["versions"].items()}.items() <= pins.items()


def test_stdin_reaches_the_command(onnx_image: ImageEnvironment) -> None:
    command = onnx_image.command([], Confinement(name_of_test()))[:-1]
    done = subprocess.run([*command, "cat"], input="a request\n", capture_output=True, text=True, timeout=120)
    assert done.stdout == "a request\n"


def test_user_is_not_root_and_has_no_capability(onnx_image: ImageEnvironment) -> None:
    done = inside(
        onnx_image, "sh", "-c", "id -u; grep CapBnd /proc/self/status; grep NoNewPrivs /proc/self/status; echo $HOME"
    )
    # Tests of an engine run as root; another caller keeps its own number.
    assert done.stdout.split() == [str(IMAGE_USER), "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "/tmp"]


def test_root_is_read_only_but_tmp_is_not(onnx_image: ImageEnvironment) -> None:
    done = inside(onnx_image, "sh", "-c", "touch /tmp/a && touch /var/tmp/b")
    assert done.returncode != 0
    assert "/tmp/a" not in done.stderr.replace("/var/tmp", "")
    assert "Read-only file system" in done.stderr


def test_network_of_the_host_is_out_of_reach(onnx_image: ImageEnvironment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        subprocess.run(["python3", "-c", program], check=True, timeout=60)
        done = inside(onnx_image, "python", "-c", program)
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert inside(onnx_image, "ls", "/sys/class/net").stdout.split() == ["lo"]


def test_only_the_writable_folder_can_be_written(onnx_image: ImageEnvironment, tmp_path: Path) -> None:
    # Names that a shell, a colon-separated option or a comma-separated one would trip over.
    read, write = tmp_path / 'in, "a": b', tmp_path / "out:c"
    for folder in (read, write / "sub"):
        folder.mkdir(parents=True)
    (read / "file").write_text("content")
    (write / "sub" / "old").write_text("older")
    confinement = Confinement(name_of_test(), (read, write), (write,))
    program = (
        "import pathlib, sys\n"
        "read, write = map(pathlib.Path, sys.argv[1:])\n"
        "(write / 'sub' / 'old').write_text((read / 'file').read_text())\n"
        "(write / 'new').touch()\n"
        "(read / 'new').touch()\n"
    )
    done = inside(onnx_image, "python", "-c", program, str(read), str(write), confinement=confinement)
    assert "Read-only file system" in done.stderr
    assert (write / "sub" / "old").read_text() == "content"
    assert (write / "new").exists()
    assert not (read / "new").exists()


def test_folder_made_later_is_prepared(onnx_image: ImageEnvironment, tmp_path: Path) -> None:
    command = onnx_image.command([], Confinement(name_of_test(), (), (tmp_path,)))[:-1]
    folder = tmp_path / "later"
    folder.mkdir()
    onnx_image.prepare(folder)
    done = subprocess.run([*command, "touch", str(folder / "file")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_folder_that_is_missing_is_not_made(onnx_image: ImageEnvironment, tmp_path: Path) -> None:
    done = inside(onnx_image, "true", confinement=Confinement(name_of_test(), (tmp_path / "no",)))
    assert done.returncode == 125
    assert not (tmp_path / "no").exists()


def test_memory_limit_kills_with_137(onnx_image: ImageEnvironment) -> None:
    program = ("python", "-c", "print(len(bytearray(400_000_000)))")
    enough = inside(onnx_image, *program, confinement=Confinement(name_of_test(), memory_mb=600))
    assert (enough.returncode, enough.stdout) == (0, "400000000\n")
    done = inside(onnx_image, *program, confinement=Confinement(name_of_test(), memory_mb=200))
    assert done.returncode == 137
    assert "more memory than its limit" in explain_exit(137)


def test_kill_by_name_ends_the_container_of_a_dead_client(onnx_image: ImageEnvironment) -> None:
    name = name_of_test()
    command = onnx_image.command([], Confinement(name))[:-1]
    with subprocess.Popen(
        [*command, "sh", "-c", "echo started; exec sleep 300"], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "started\n"
        client.kill()
        client.wait(60)
        assert running(onnx_image, name)
        onnx_image.kill(name)
        assert not running(onnx_image, name)
    onnx_image.kill(name)


def test_kill_is_137_for_a_waiting_client(onnx_image: ImageEnvironment) -> None:
    name = name_of_test()
    command = onnx_image.command([], Confinement(name))[:-1]
    with subprocess.Popen(
        [*command, "sh", "-c", "echo started; exec sleep 300"], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        client.stdout.readline()
        onnx_image.kill(name)
        assert client.wait(60) == 137


@pytest.mark.parametrize(("program", "code"), [("/etc/passwd", 126), ("/no/such", 127)])
def test_exit_codes_of_what_cannot_run(onnx_image: ImageEnvironment, program: str, code: int) -> None:
    assert inside(onnx_image, program).returncode == code
    assert explain_exit(code)


def test_absent_image_is_not_fetched(onnx_image: ImageEnvironment) -> None:
    done = inside(replace(onnx_image, image="edgeseg-no-such:1"), "true")
    assert done.returncode == 125
    assert explain_exit(125)


def test_exit_codes_of_edgeseg_are_not_explained_away() -> None:
    assert [explain_exit(code) for code in range(6)] == [""] * 6
    assert explain_exit(135).endswith("signal 7")


def test_image_is_chosen_where_nothing_else_is_there(onnx_image: ImageEnvironment) -> None:
    entry = registry.entries()["onnx"]
    assert choose(entry, "docker") == onnx_image
    assert choose(entry, "auto").kind == "process"
    lacking = replace(entry, report=EnvReport(("onnxruntime is not installed",), "pip install onnxruntime"))
    assert choose(lacking, "auto").versions == {"image": onnx_image.image}


def test_check_tells_of_the_image(onnx_image: ImageEnvironment) -> None:
    assert run("targets", "check", "onnx").out.startswith(f"onnx: docker: {onnx_image.tag} ({onnx_image.image})\n")


def test_caller_that_is_not_root_keeps_its_own_number(onnx_image: ImageEnvironment, tmp_path: Path) -> None:
    program = (
        "import json, os, pathlib, sys\n"
        "from edgeseg.environments.contract import Confinement\n"
        "from edgeseg.environments.image import ImageEnvironment\n"
        # After the imports: the interpreter may lie where that user cannot read.
        "os.setgid(23456), os.setuid(12345)\n"
        "engine, image, name, folder = sys.argv[1:]\n"
        "made = ImageEnvironment('onnx', {}, (engine,), '', image)\n"
        "print(json.dumps(made.command([], Confinement(name, (), (pathlib.Path(folder),)))))\n"
    )
    os.chown(tmp_path, 12345, 23456)
    arguments = [sys.executable, "-c", program, *onnx_image.engine, onnx_image.image, name_of_test(), str(tmp_path)]
    # That user cannot reach the engine here: the command is made as that user, and run by us.
    made = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    command = json.loads(made.stdout)[:-1]
    done = subprocess.run(
        [*command, "sh", "-c", f"id -u; id -g; touch '{tmp_path}/file'"], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.split(), done.stderr) == (["12345", "23456"], "")
    assert (tmp_path / "file").stat().st_uid == 12345


def test_image_of_other_making_is_outdated(onnx_image: ImageEnvironment, small: Entry) -> None:
    recipe = recipe_of("small")
    assert image.find("small") is None
    tag = image.image_tag(recipe)
    assert call(onnx_image.engine, "tag", onnx_image.tag, tag).returncode == 0
    try:
        with pytest.raises(EnvironmentMissingError, match=r"outdated \(target, requirements, packages, code changed\)"):
            image.find("small")
    finally:
        call(onnx_image.engine, "rmi", tag)


def test_target_without_a_dockerfile_says_so(engine: None, small: Entry) -> None:
    done = run("targets", "image", "small")
    assert done.code == 3
    assert "'small' brings no Dockerfile" in done.err
    assert "edgeseg targets install small" in done.err


def test_folder_without_wheels_is_a_usage_error(engine: None, tmp_path: Path) -> None:
    done = run("targets", "image", "onnx", "--wheelhouse", tmp_path)
    assert done.code == 2
    assert "no folder with wheels" in done.err


def test_build_that_fails_shows_the_end_of_the_log(engine: None, small: Entry, third_party_dockerfile: Path) -> None:
    third_party_dockerfile.write_text(
        "ARG BASE=python:3.11-slim-bookworm\nFROM ${BASE}\nRUN echo nobody home; exit 7\n"
    )
    done = run("targets", "image", "small", "--no-cache")
    assert done.code == 3
    assert "building the image of 'small' failed" in done.err
    assert "nobody home" in done.err


def test_wrong_build_argument_is_a_usage_error() -> None:
    done = run("targets", "image", "onnx", "--build-arg", "BASE")
    assert (done.code, "--build-arg 'BASE': expected KEY=VALUE" in done.err) == (2, True)


def test_engine_that_does_not_answer_is_no_missing_image(engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    with pytest.raises(EnvironmentMissingError, match="cannot look for the image edgeseg-onnx"):
        image.find("onnx")
    row = json.loads(run("targets", "check", "onnx", "--json").out)
    assert "cannot look for the image" in row["environments"]["docker"]["problem"]


@pytest.fixture
def third_party_dockerfile(small: Entry) -> Iterator[Path]:
    path = recipe_of("small").folder / "Dockerfile"
    yield path
    path.unlink()


def running(environment: ImageEnvironment, name: str) -> bool:
    return name in call(environment.engine, "ps", "--all", "--format", "{{.Names}}").stdout.split()
