"""What is taken from an earlier build, what runs again, and the reason that is given."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeseg.build import cache
from edgeseg.build.file_hashes import remembered_sha256
from edgeseg.build.running import find_or_run, would_run
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.errors import OutputError


def _request(folder: Path, **changes: Any) -> StageRequest:
    source = folder / "input.bin"
    if not source.exists():
        source.write_bytes(b"input")
    request = StageRequest("export", "t", folder / "out", {"source": source}, {"precision": "fp32"}, {"at": "here"})
    return StageRequest(**{**vars(request), **changes})


class Work:
    """A stage's function that counts its runs."""

    def __init__(self, content: bytes = b"artifact", name: str = "n.bin") -> None:
        self.runs, self.content, self.name = 0, content, name

    def __call__(self, request: StageRequest) -> StageResult:
        self.runs += 1
        (request.folder / self.name).write_bytes(self.content)
        return StageResult(outputs={"artifact": request.folder / self.name}, facts={"size": len(self.content)})


def _run(request: StageRequest, work: Callable[[StageRequest], StageResult], *, force: bool = False) -> StageResult:
    return find_or_run(request, work, request.folder.parent / "scratch", force=force)


def test_second_run_takes_the_first_ones_result(tmp_path: Path) -> None:
    work = Work()
    first, second = (_run(_request(tmp_path), work) for _ in range(2))
    assert work.runs == 1
    assert (first.cached, second.cached) == (False, True)
    assert second.outputs == first.outputs == {"artifact": tmp_path / "out/n.bin"}
    assert second.facts == {"size": 8}
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parameters": {"precision": "int8"}}, "`precision` changed: fp32 -> int8"),
        ({"parameters": {"precision": "fp32", "opset": 17}}, "`opset` changed: none -> 17"),
        ({"versions": {"onnx": "2.0"}}, "the tool onnx changed: none -> 2.0"),
        ({"code": "0.2.0+abc"}, "the code changed:  -> 0.2.0+abc"),
    ],
    ids=["value", "new", "tool", "code"],
)
def test_change_runs_it_again_and_is_named(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    work = Work()
    _run(_request(tmp_path), work)
    changed = _request(tmp_path, **changes)
    assert would_run(changed) == (None, reason)
    assert not _run(changed, work).cached
    assert json.loads(changed.manifest.read_text())["ran_because"] == reason
    assert work.runs == 2


def test_changed_input_runs_it_again(tmp_path: Path) -> None:
    work = Work()
    request = _request(tmp_path)
    _run(request, work)
    request.inputs["source"].write_bytes(b"other")
    assert would_run(request) == (None, "the input `source` changed")


def test_nested_parameter_is_named_by_its_path(tmp_path: Path) -> None:
    _run(_request(tmp_path, parameters={"options": {"opset": 17, "batch": 1}}), Work())
    changed = _request(tmp_path, parameters={"options": {"opset": 18, "batch": 1}})
    assert would_run(changed)[1] == "`options.opset` changed: 17 -> 18"


def test_places_do_not_count(tmp_path: Path) -> None:
    work = Work()
    _run(_request(tmp_path), work)
    assert _run(_request(tmp_path, places={"at": "elsewhere"}), work).cached


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_output_that_is_not_what_it_was_is_made_again(damage: str, tmp_path: Path) -> None:
    work = Work()
    output = _run(_request(tmp_path), work).outputs["artifact"]
    if damage == "gone":
        output.unlink()
    else:
        stamp = output.stat()
        output.write_bytes({"changed": b"artifacT", "cut": b"arti"}[damage])
        # Size and time may be as they were: only the bytes tell.
        os.utime(output, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    result, reason = would_run(_request(tmp_path))
    assert result is None
    assert reason == f"its output n.bin {'is gone' if damage == 'gone' else 'was changed'}"
    assert _run(_request(tmp_path), work).outputs["artifact"].read_bytes() == b"artifact"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "key": "x"}'])
def test_broken_manifest_is_no_result(text: str, tmp_path: Path) -> None:
    work = Work()
    request = _request(tmp_path)
    _run(request, work)
    request.manifest.write_text(text)
    assert not _run(request, work).cached
    assert work.runs == 2


def test_manifest_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    request = _request(tmp_path)
    _run(request, Work())
    manifest = json.loads(request.manifest.read_text())
    manifest["outputs"] = {"artifact": "../input.bin"}
    request.manifest.write_text(json.dumps(manifest))
    assert "not readable" in would_run(request)[1]


def test_failed_stage_runs_again(tmp_path: Path) -> None:
    request = _request(tmp_path)
    _run(request, lambda _: StageResult("export_failed", "no"))
    assert would_run(request) == (None, "the last time it ended with export_failed")


def test_force_runs_it_in_any_case(tmp_path: Path) -> None:
    work = Work()
    _run(_request(tmp_path), work)
    assert not _run(_request(tmp_path), work, force=True).cached
    assert work.runs == 2


def test_killed_stage_leaves_no_manifest_and_no_output(tmp_path: Path) -> None:
    request = _request(tmp_path)
    _run(request, Work())

    def killed(inner: StageRequest) -> StageResult:
        (inner.folder / "n.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(request, killed, force=True)
    assert not request.manifest.exists()
    # What the run before had left is still whole: only finished work is moved there.
    assert (tmp_path / "out/n.bin").read_bytes() == b"artifact"
    assert not _run(request, Work()).cached


def test_files_of_an_older_run_go_when_it_leaves_others(tmp_path: Path) -> None:
    _run(_request(tmp_path), Work(name="old.bin"))
    (tmp_path / "out/notes.txt").write_text("mine")
    _run(_request(tmp_path, parameters={"stem": "new"}), Work(name="new.bin"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"new.bin", "notes.txt", "export.manifest.json"}


def test_failed_run_leaves_the_good_files_of_the_last_one_and_still_knows_them(tmp_path: Path) -> None:
    request = _request(tmp_path)
    _run(request, Work(name="good.bin"))
    _run(request, lambda _: StageResult("export_failed", "no"), force=True)
    assert (tmp_path / "out/good.bin").is_file()
    _run(request, Work(name="new.bin"))
    assert not (tmp_path / "out/good.bin").exists()


def test_output_folder_replaces_one_that_was_there(tmp_path: Path) -> None:
    def writes(name: str) -> Callable[[StageRequest], StageResult]:
        def work(request: StageRequest) -> StageResult:
            (request.folder / "model").mkdir()
            (request.folder / "model" / name).write_text(name)
            return StageResult(outputs={"artifact": request.folder / "model"})

        return work

    _run(_request(tmp_path), writes("a"))
    result = _run(_request(tmp_path), writes("b"), force=True)
    assert [path.name for path in result.outputs["artifact"].iterdir()] == ["b"]
    (tmp_path / "out/model/b").write_text("changed")
    assert would_run(_request(tmp_path))[1] == "its output model was changed"


def test_manifest_that_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = _request(tmp_path)
    request.folder.mkdir()
    # A folder cannot be unlinked, by root neither.
    request.manifest.mkdir()
    with pytest.raises(OutputError, match=r"export\.manifest\.json"):
        cache.forget(request)


def test_hash_of_a_picture_is_remembered_until_it_changes(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"one")
    os.utime(picture, (1, 1))
    first = remembered_sha256([picture])
    stamp = picture.stat()
    picture.write_bytes(b"two")
    # The same size and time: the inode's own change time, which nobody can set, tells.
    os.utime(picture, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert remembered_sha256([picture]) != first
