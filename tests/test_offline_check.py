"""A finished build checked against its manifest: what changed is named, what moved still holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.build_manifest import is_build_manifest
from edgeseg.data.open import open_dataset
from edgeseg.errors import UsageError
from edgeseg.offline_check import OfflineReport, check_offline
from tests.finished_build import finished, result_of, save, sha256


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    return finished(tmp_path)


def failed(report: OfflineReport) -> dict[str, str]:
    return {one.path: one.state for one in report.failures}


def test_an_untouched_build_is_the_same_in_all_entries(made: tuple[Path, dict[str, Any]]) -> None:
    report = check_offline(made[0] / "build.json", strict=True)
    assert (report.failures, report.notes, report.error()) == ([], [], None)
    # Card, weights and given weights; a file, a folder of two files and a bundle; a list, annotations, two pictures.
    assert len(report.found) == 11
    assert check_offline(made[0]).found == report.found


@pytest.mark.parametrize(
    "name",
    [
        "weights.safetensors",
        "onnx-fp32/n.onnx",
        "coreml-fp16/n.mlpackage/sub/b.bin",
        "coreml-fp16/b.zip",
        "data/val.json",
        "../card.yaml",
        "../n.pt",
        "../data/val.json",
        "../data/images/2.jpg",
    ],
)
def test_one_changed_byte_anywhere_is_named(made: tuple[Path, dict[str, Any]], name: str) -> None:
    path = made[0] / name
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    report = check_offline(made[0])
    (one,) = report.failures
    assert one.state == "changed"
    assert str(path.resolve()).endswith(one.path.removeprefix("../"))
    error = report.error()
    assert error is not None
    assert error.exit_code == 5
    assert one.path in error.message


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "onnx-fp32/n.onnx", "coreml-fp16/n.mlpackage/a.bin", "data/val.json"]
)
def test_a_file_of_the_build_that_is_gone_is_named(made: tuple[Path, dict[str, Any]], name: str) -> None:
    (made[0] / name).unlink()
    assert failed(check_offline(made[0])) == {name: "gone"}


def test_a_file_more_in_an_artifact_is_named(made: tuple[Path, dict[str, Any]]) -> None:
    (made[0] / "coreml-fp16" / "n.mlpackage" / "more.bin").write_bytes(b"x")
    assert failed(check_offline(made[0])) == {"coreml-fp16/n.mlpackage/more.bin": "added"}


def test_a_moved_folder_holds_and_says_what_it_cannot_reach(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "b"
    shutil.copytree(made[0], moved)
    for path in (made[0], tmp_path / "data"):
        shutil.rmtree(path)
    for name in ("card.yaml", "n.pt"):
        (tmp_path / name).unlink()
    report = check_offline(moved)
    assert report.failures == []
    assert [(one.what, one.state) for one in report.notes] == [
        ("card", "unreachable"),
        ("weights given", "unreachable"),
        ("data val, annotations", "unreachable"),
        ("data val, 2 pictures", "unreachable"),
    ]
    assert len(check_offline(moved, strict=True).failures) == 4


def test_a_picture_missing_from_a_set_that_is_here_is_gone(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "data" / "images" / "1.jpg").unlink()
    assert list(failed(check_offline(made[0])).values()) == ["gone"]


def test_relative_pictures_start_from_the_data_root(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = made[0] / "data" / "val.json"
    rows = [[str(Path(path).relative_to(tmp_path)), of] for path, of in json.loads(listed.read_text())]
    listed.write_text(json.dumps(rows))
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path))
    assert check_offline(made[0], strict=True).failures == []
    (tmp_path / "data" / "images" / "1.jpg").write_bytes(b"other")
    assert failed(check_offline(made[0])) == {"data/images/1.jpg": "changed"}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "onnx-fp32/../../secret", "link", "a\\b", ""])
def test_names_that_leave_the_folder_are_refused(made: tuple[Path, dict[str, Any]], tmp_path: Path, name: str) -> None:
    run, content = made
    (tmp_path / "secret").write_bytes(b"the graph")
    (run / "link").symlink_to(tmp_path / "secret")
    content["targets"][0]["artifact"]["path"] = name
    save(run, content)
    assert failed(check_offline(run)) == {name: "outside"}


def test_a_part_of_a_folder_may_not_leave_it(made: tuple[Path, dict[str, Any]]) -> None:
    run, content = made
    files = content["targets"][1]["artifact"]["files"]
    files["../../weights.safetensors"] = {"sha256": content["weights"]["sha256"]}
    save(run, content)
    assert list(failed(check_offline(run)).values()) == ["outside"]


def test_an_older_manifest_says_what_is_not_covered(made: tuple[Path, dict[str, Any]]) -> None:
    run, content = made
    del content["data"], content["card"]["file_sha256"], content["weights"]["from_sha256"]
    save(run, content)
    report = check_offline(run)
    assert report.failures == []
    assert [(one.what, one.state) for one in report.notes] == [
        ("card", "uncovered"),
        ("weights given", "uncovered"),
        ("data sets", "uncovered"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 1}',
        '{"schema": NaN, "command": [], "weights": {}, "targets": []}',
        '{"schema": 1, "command": [], "weights": [], "targets": [{"id": 3}]}',
        '{"schema": 1, "command": [], "weights": {"path": 7}, "targets": []}',
        '{"schema": 1, "command": [], "weights": {}, "targets": [7]}',
        '{"schema": 1, "command": [], "weights": {}, "targets": [{"id": "a", "artifact": {"path": "x", "files": 1}}]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_manifest_is_a_usage_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(UsageError, match=r"build\.json"):
        check_offline(tmp_path)


def test_a_manifest_is_told_from_its_content(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, content = made
    renamed = tmp_path / "n.onnx"
    renamed.write_text(json.dumps(content))
    (tmp_path / "other.json").write_text(json.dumps(result_of(content)))
    assert is_build_manifest(renamed)
    assert not is_build_manifest(tmp_path / "other.json")
    assert not is_build_manifest(run / "weights.safetensors")
    assert not is_build_manifest(run)
    assert not is_build_manifest(tmp_path / "nowhere")


def test_annotations_are_compared_by_what_they_say(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, content = made
    annotations, images = tmp_path / "coco" / "instances.json", tmp_path / "elsewhere"
    write_coco(annotations, images)
    rows = [[str(path), sha256(path.read_bytes())] for path in sorted(images.iterdir())]
    listing = "".join(f"{of}  {Path(path).name}\n" for path, of in rows).encode()
    (run / "data" / "val.json").write_text(json.dumps(rows))
    # As a build writes it: of what the annotations say, whose pictures' folder the card named.
    meaning = open_dataset(annotations, images=images).sha256
    content["data"][0] |= {"annotations": str(annotations), "sha256": meaning, "list_sha256": sha256(listing)}
    save(run, content)
    assert check_offline(run, strict=True).failures == []
    said = json.loads(annotations.read_text())
    annotations.write_text(json.dumps(said, indent=3))
    assert check_offline(run, strict=True).failures == []
    said["annotations"][0]["bbox"][2] += 1
    said["annotations"][0]["segmentation"][0][0] += 1
    annotations.write_text(json.dumps(said))
    assert failed(check_offline(run)) == {str(annotations): "changed"}


def write_coco(annotations: Path, images: Path) -> None:
    """One picture with one rectangle."""
    images.mkdir()
    annotations.parent.mkdir()
    cv2.imwrite(str(images / "a.png"), np.zeros((32, 32, 3), np.uint8))
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 8, 8], "area": 64, "iscrowd": 0}
    box["segmentation"] = [[2, 2, 10, 2, 10, 10, 2, 10]]
    picture = {"id": 1, "file_name": "a.png", "width": 32, "height": 32}
    content = {"images": [picture], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    annotations.write_text(json.dumps(content))
