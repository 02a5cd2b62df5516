"""Our weights file: what goes in comes out, the bytes depend on nothing else, and a broken file is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import EnvironmentMissingError, WeightsError
from edgeseg.model.safetensors_file import is_safetensors, read_weights, read_weights_metadata, write_weights

TENSORS: dict[str, Any] = {
    "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "every_other": np.arange(10, dtype=np.int64)[::2],
    "scalar": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "big_endian": np.arange(3, dtype=">f4"),
}
METADATA = {f"key{i}": f"é {i}\n" for i in range(20)}


def _file(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    return path


def _header(offsets: list[int], dtype: str = "F32", shape: list[int] | None = None) -> bytes:
    return json.dumps(
        {"w": {"dtype": dtype, "shape": [2] if shape is None else shape, "data_offsets": offsets}}
    ).encode()


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, METADATA)
    tensors, metadata = read_weights(path)
    assert metadata == METADATA == read_weights_metadata(path)
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array.astype(array.dtype.newbyteorder("=")), strict=True)


def test_file_is_laid_out_as_the_format_says(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, {"name": "n"})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header["__metadata__"] == {"name": "n"}
    begin, end = header["transposed"]["data_offsets"]
    assert header["transposed"] == {"dtype": "F32", "shape": [3, 2], "data_offsets": [begin, end]}
    assert np.frombuffer(data[8 + length :][begin:end], "<f4").tolist() == [0, 3, 1, 4, 2, 5]


def test_same_content_gives_same_bytes_in_any_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_weights(first, TENSORS, METADATA)
    write_weights(second, dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
    assert first.read_bytes() == second.read_bytes()


def test_no_metadata_reads_as_none(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", {"w": np.ones(2, np.float32)}, {})
    assert read_weights_metadata(tmp_path / "w.safetensors") == {}


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(WeightsError, match=r"w\.safetensors: cannot be written"):
        write_weights(path, {"w": np.array(["text"])}, {})
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}], ids=["value", "key"])
def test_metadata_other_than_text_is_refused(metadata: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be written"):
        write_weights(tmp_path / "w.safetensors", {"w": np.ones(2, np.float32)}, metadata)


BROKEN: dict[str, tuple[bytes, bytes]] = {
    "header_no_json": (b"{]", b""),
    "header_no_utf8": (b'{"\xff":1}', b""),
    "header_of_other_shape": (b'{"w":1}', b""),
    "data_absent": (_header([0, 8]), b""),
    "data_short": (_header([0, 8]), b"1234567"),
    "data_beyond_the_tensors": (_header([0, 8]), b"123456789"),
    "offsets_backwards": (_header([8, 0]), b"12345678"),
    "offsets_negative": (_header([-8, 0]), b"12345678"),
    "offsets_too_long": (_header([0, 2**62]), b"12345678"),
    "shape_of_other_size": (_header([0, 8], shape=[3]), b"12345678"),
    "shape_overflows": (_header([0, 8], shape=[2**62, 4]), b"12345678"),
    "dtype_unknown": (_header([0, 8], dtype="F33"), b"12345678"),
    "dtype_without_numpy_counterpart": (_header([0, 4], dtype="BF16"), b"1234"),
    "deep_json": (b'{"w":' + b"[" * 100_000, b""),
    "metadata_no_text": (b'{"__metadata__":{"a":1}}', b""),
}


@pytest.mark.parametrize(("header", "data"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused_by_name(header: bytes, data: bytes, tmp_path: Path) -> None:
    path = _file(tmp_path / "w.safetensors", header, data)
    assert is_safetensors(path)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", False),
        (b"\x02\0\0\0\0\0\0\0", False),
        (b"\x02\0\0\0\0\0\0\0{}", True),
        (b"\x03\0\0\0\0\0\0\0{}", False),
        (b"\x02\0\0\0\0\0\0\0[]", False),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{}", False),
        (b"\x00\0\0\0\0\0\0\0{}", False),
        (b"PK\x03\x04" + bytes(30), False),
    ],
    ids=["empty", "length_only", "smallest", "past_the_end", "no_brace", "huge", "length_zero", "zip"],
)
def test_kind_is_told_from_the_first_bytes(content: bytes, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    assert is_safetensors(path) is expected
    if not expected:
        with pytest.raises(WeightsError, match="any: no safetensors file"):
            read_weights_metadata(path)


def test_folder_and_absent_file_are_refused(tmp_path: Path) -> None:
    assert not is_safetensors(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(tmp_path / "absent.safetensors")


def test_absent_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path / "w.safetensors", b"{}")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert is_safetensors(path)
    with pytest.raises(EnvironmentMissingError, match=r"edgeseg\[train\]"):
        read_weights(path)
