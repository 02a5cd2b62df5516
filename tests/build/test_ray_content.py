"""Content by hash, and a stage as a node runs it, without a cluster."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseg.build import ray_node
from edgeseg.build.ray_content import BlobStore, Contents, Packed, files_of, on_node, places_on_node
from edgeseg.build.stage import StageRequest
from edgeseg.build.worker import code_version_of
from edgeseg.card.limits import Limits
from edgeseg.data.open import open_dataset
from edgeseg.errors import SourceError
from edgeseg.registry import entries
from tests.annotated import write_annotated
from tests.media import write_picture

DATA = b"a content"
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_store_fetches_a_content_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    sizes = [store.place(SHA256, tmp_path / name, lambda: DATA) for name in ("first", "second")]
    assert sizes == [len(DATA), 0]
    assert (tmp_path / "second").read_bytes() == DATA


def test_damaged_blob_is_fetched_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    store.keep(SHA256, DATA)
    (tmp_path / "blobs" / SHA256).write_bytes(b"another")
    assert store.place(SHA256, tmp_path / "file", lambda: DATA) == len(DATA)
    assert (tmp_path / "file").read_bytes() == DATA


def test_other_content_than_was_sent_is_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    with pytest.raises(SourceError, match="another content"):
        store.place(SHA256, tmp_path / "file", lambda: b"another")
    assert not (tmp_path / "file").exists()


def test_content_is_put_once_and_a_changed_file_never(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    put: list[bytes] = []

    def keep(data: bytes) -> int:
        put.append(data)
        return len(put)

    contents = Contents(keep)
    assert [contents.reference(Packed(str(path), SHA256)) for _ in range(2)] == [1, 1]
    with pytest.raises(SourceError, match="changed while"):
        contents.reference(Packed(str(path), "0" * 64))
    assert put == [DATA]


def _laid_out(request: StageRequest, root: Path) -> Any:
    store = BlobStore(root.parent / "blobs")
    for file in files_of(request):
        store.place(file.sha256, Path(on_node(root, file.path)), file.read)
    return places_on_node(root, request.places)


def _validation(folder: Path, annotations: Path, images: Path | str = "") -> StageRequest:
    places = {"annotations": str(annotations), "images": str(images)}
    return StageRequest("validate", "t", folder, {}, {}, places)


@pytest.mark.parametrize("named", [False, True])
def test_coco_set_is_the_same_on_a_node(tiny_onnx: Path, tmp_path: Path, named: bool) -> None:
    (tmp_path / "set/images").mkdir(parents=True)
    source = write_annotated(tmp_path / "set/images", tiny_onnx, 4)
    annotations = source.rename(tmp_path / "set/instances.json")
    write_picture(tmp_path / "set/images/of-no-set.png", 0, (32, 32))
    request = _validation(tmp_path / "out", annotations, source.parent if named else "")
    places = _laid_out(request, tmp_path / "node/root")
    found = open_dataset(Path(places["annotations"]), images=Path(places["images"]) if named else None)
    assert found.sha256 == open_dataset(annotations).sha256
    assert [sample.path.name for sample in found if sample.path.is_file()] == [f"00{number}.png" for number in range(4)]
    assert not (found.root / "of-no-set.png").exists()


def test_yolo_set_with_an_absolute_path_is_the_same_on_a_node(tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    for number in range(3):
        (root / "images/val").mkdir(parents=True, exist_ok=True)
        (root / "labels/val").mkdir(parents=True, exist_ok=True)
        write_picture(root / f"images/val/{number}.png", number, (48, 64))
        (root / f"labels/val/{number}.txt").write_text("1 0.1 0.1 0.9 0.1 0.5 0.8\n")
    (tmp_path / "cards").mkdir()
    source = tmp_path / "cards/set.yaml"
    source.write_text(f"path: {root}\nval: images/val\ntrain: images/train\nnames: [no, '010']\n")
    places = _laid_out(_validation(tmp_path / "out", source), tmp_path / "node/root")
    found = open_dataset(Path(places["annotations"]))
    assert found.sha256 == open_dataset(source).sha256
    assert found.names == ("no", "010")
    assert all(sample.path.is_relative_to(tmp_path / "node/root") and sample.path.is_file() for sample in found)


def _job(request: StageRequest) -> tuple[dict[str, Any], dict[str, bytes]]:
    files = files_of(request)
    job = {
        "request": request.to_json(),
        "failure": "run_failed",
        "limits": Limits().model_dump(),
        "format": "onnx",
        "isolation": "process",
        "engine": "",
        "files": [(file.path, file.sha256) for file in files],
        "contents": {file.sha256: file.sha256 for file in files},
    }
    return job, {file.sha256: file.read() for file in files}


@pytest.fixture
def inspection(tiny_onnx: Path, tmp_path: Path) -> StageRequest:
    versions = entries()["onnx"].report.versions
    code = code_version_of("onnx")
    return StageRequest("inspect", "onnx-fp32", tmp_path / "out", {"artifact": tiny_onnx}, {}, {}, versions, code)


def test_node_with_other_tools_says_both_versions(inspection: StageRequest) -> None:
    job, contents = _job(replace(inspection, versions={**inspection.versions, "onnx": "1.0"}))
    answer, files = ray_node.run(job, contents.__getitem__, "node")
    installed = inspection.versions["onnx"]
    assert answer["result"]["outcome"] == "env_missing"
    assert f"onnx {installed} there, 1.0 in this build" in answer["result"]["message"]
    assert files == {}


def test_node_leaves_nothing_but_content(
    inspection: StageRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    # As Ray sets it for a task with one CPU; the process that runs this was started without.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job, contents = _job(inspection)
    answer, _ = ray_node.run(job, contents.__getitem__, "node")
    assert (answer["result"]["outcome"], answer["result"]["message"]) == ("passed", "")
    assert answer["result"]["facts"]["ran_on"]["fetched"] == len(contents)
    assert list((tmp_path / "cache/ray").iterdir()) == []
    assert {path.name for path in (tmp_path / "cache/blobs").iterdir()} == set(contents)
    assert os.environ["OMP_NUM_THREADS"] == "1"
