"""An archive that is damaged, hostile or of another kind is refused by what is wrong with it."""

from __future__ import annotations

import io
import pickle
import random
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeseg.errors import WeightsError
from edgeseg.model import torch_archive
from edgeseg.model.checkpoint import read_checkpoint
from edgeseg.model.torch_archive import looks_like_checkpoint
from tests.model.torch_zip import ORDERED, SECONDS, Call, Name, assemble, module, refused, tensor, write_archive

FOREIGN = Name("ultralytics.nn.modules", "Conv")


VIEWS: dict[str, tuple[dict[str, Any], str]] = {
    "offset_too_large": ({"offset": 1}, "past the end"),
    "offset_negative": ({"offset": -1}, "negative"),
    "offset_no_number": ({"offset": True}, "not described"),
    "stride_too_large": ({"strides": (4, 1)}, "past the end"),
    "stride_negative": ({"strides": (-3, 1)}, "negative"),
    "stride_missing": ({"strides": (3,)}, "2 sizes and 1 strides"),
    "size_negative": ({"shape": (-2, -3)}, "negative"),
    "size_fraction": ({"shape": (2.0, 3)}, "not described"),
    "size_no_tuple": ({"shape": 6}, "not described"),
    "size_huge": ({"shape": (2**62, 2), "strides": (0, 0)}, "more elements"),
    "size_expanded": ({"shape": (1000, 1000), "strides": (0, 0)}, "more elements"),
    "size_huge_beside_zero": ({"shape": (0, 2**62)}, "more elements"),
    "many_dimensions": ({"shape": (1,) * 70, "strides": (1,) * 70}, "at most 8"),
    "count_too_large": ({"count": 7}, "is of 24 bytes, expected 28"),
    "count_too_small": ({"count": 5, "shape": (5,), "strides": (1,)}, "is of 24 bytes, expected 20"),
    "count_huge": ({"count": 2**62}, "is of 24 bytes"),
    "other_element_type": ({"kind": "HalfStorage"}, "is of 24 bytes, expected 12"),
    "storage_absent": ({"key": "1"}, "is absent"),
    "storage_of_no_type": ({"kind": "Size"}, "is stored as torch.Size"),
}


@pytest.mark.parametrize(("change", "words"), VIEWS.values(), ids=VIEWS.keys())
def test_view_outside_its_storage_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    refused(write_archive(tmp_path / "view.pt", assemble({"model": {"w": tensor(**change)}})), words)


def test_many_views_of_one_storage_are_bounded_by_the_size_of_the_file(tmp_path: Path) -> None:
    data = bytes(4_000_000)
    view = tensor((1_000_000,), (1,), count=1_000_000)
    path = write_archive(tmp_path / "views.pt", assemble({"model": {f"w{i}": view for i in range(5)}}), {"0": data})
    refused(path, "more than 4 times the file's")


def test_very_large_pickle_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_archive, "MAX_PICKLE_BYTES", 100)
    refused(write_archive(tmp_path / "large.pt", assemble({"w": tensor()})), "at most 100")


def _renamed(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    return path


@pytest.mark.parametrize(
    "name", ["../escape", "archive/../../escape", "/etc/escape", "archive\\..\\escape", "flat", "archive/"]
)
def test_member_with_another_kind_of_name_is_refused(name: str, tmp_path: Path) -> None:
    info = zipfile.ZipInfo(name)
    info.filename = name
    path = write_archive(tmp_path / "names.pt", assemble({"w": tensor()}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "x")
    refused(path, "the name of its member")


def test_second_folder_is_refused(tmp_path: Path) -> None:
    refused(_renamed(write_archive(tmp_path / "two.pt", assemble({"w": tensor()})), "other/x"), "not of torch.save()")


def test_repeated_member_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "twice.pt", assemble({"w": tensor()}))
    with pytest.warns(UserWarning, match="Duplicate name"):
        _renamed(path, "archive/data.pkl")
    refused(path, "the name of its member")


def test_compressed_member_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", assemble({"w": tensor()}))
        archive.writestr("archive/data/0", bytes(50_000_000))
    refused(path, "compressed or encrypted")


def test_members_that_claim_more_than_the_file_are_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "overlap.pt", assemble({"w": tensor()}))
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    data[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)  # both sizes in the table of contents
    path.write_bytes(data)
    refused(path, "claim more than")


def test_big_endian_archive_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "big.pt", assemble({"w": tensor()}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    refused(path, "byte order b'big'")


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


def _legacy(path: Path) -> None:
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def _script(path: Path) -> None:
    # torch 2.13 deprecates the tracer, which existing files still come from.
    with pytest.warns(DeprecationWarning):
        trace: Any = torch.jit.trace
        trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))


def _truncated(path: Path) -> None:
    whole = write_archive(path, assemble({"w": tensor()})).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), "the file is empty"),
    "folder": (lambda path: path.mkdir(), "a folder"),
    "absent": (lambda path: None, "no such file"),
    "text": (lambda path: path.write_text("hello"), "no zip archive"),
    "html": (lambda path: path.write_text("<!DOCTYPE html>"), "HTML"),
    "git_lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "safetensors": (lambda path: path.write_bytes(b"\x02\0\0\0\0\0\0\0{}"), "safetensors"),
    "bare_pickle": (lambda path: path.write_bytes(pickle.dumps({})), "a bare pickle"),
    "tar": (_tar, "a tar file"),
    "legacy": (_legacy, "a checkpoint of torch before 1.6"),
    "torchscript": (_script, "a TorchScript archive"),
    "truncated": (_truncated, "damaged"),
    "other_zip": (lambda path: _renamed(path, "archive/readme"), "not of torch.save()"),
    "empty_pickle": (lambda path: write_archive(path, b""), "damaged"),
    "pickle_of_protocol_0": (lambda path: write_archive(path, b"(dp0\n."), "operation DICT"),
    "pickle_of_protocol_9": (lambda path: write_archive(path, b"\x80\x09N."), "protocol 9"),
    "pickle_with_open_mark": (lambda path: write_archive(path, b"\x80\x02(N."), "before its value is complete"),
}


@pytest.mark.parametrize(("make", "words"), KINDS.values(), ids=KINDS.keys())
def test_file_of_another_kind_is_refused_by_what_it_is(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pt"
    make(path)
    refused(path, words)


def test_checkpoint_is_told_from_other_files(tmp_path: Path) -> None:
    assert looks_like_checkpoint(write_archive(tmp_path / "w.pt", assemble({"w": tensor()})))
    for name in ("torchscript", "other_zip", "truncated", "legacy", "text", "empty", "folder", "absent"):
        KINDS[name][0](tmp_path / name)
        assert not looks_like_checkpoint(tmp_path / name), name


def _sample() -> bytes:
    layers = {"0": module(FOREIGN, parameters={"w": tensor(), "b": tensor((6,), (1,))}, f=-1, eps=0.001)}
    content = {"model": module(FOREIGN, layers, names={0: "a", 1: "b"}, stride=tensor((1,), (1,)), path=Call(ORDERED))}
    return assemble({**content, "ema": None, "train_args": {"epochs": 3, "size": (640, 640)}, "date": "2024"})


def _changed(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        result[rng.randrange(len(result))] = rng.randrange(256)
    return bytes(result)


@pytest.mark.parametrize("part", ["pickle", "archive"])
def test_random_damage_gives_a_checkpoint_or_a_weights_error(part: str, tmp_path: Path) -> None:
    rng = random.Random(20240101)
    path = tmp_path / "fuzz.pt"
    intact = _sample()
    whole = write_archive(path, intact).read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1500):
        if part == "pickle":
            write_archive(path, _changed(intact, rng))
        else:
            path.write_bytes(_changed(whole, rng))
        started = time.monotonic()
        try:
            read_checkpoint(path)
            outcomes["read"] += 1
        except WeightsError as error:
            assert str(path) in error.message
            outcomes["refused"] += 1
        assert time.monotonic() - started < SECONDS
    assert min(outcomes.values()) > 10
