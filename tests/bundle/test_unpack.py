"""A bundle may come from anywhere: whatever it should not hold is refused by name, and nothing of it is left."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from edgeseg.bundle.manifest import MAX_MEMBERS, MAX_TOTAL_BYTES
from edgeseg.bundle.unpack import is_bundle, unpack
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.files import sha256_of
from tests.bundle.tars import Change, Entry, added, entries, listed, manifest, rewritten

ROW = {"sha256": "0" * 64, "bytes": 1}


def repeated(members: list[Entry]) -> list[Entry]:
    return [*members, members[-1]]


def without_the_last(members: list[Entry]) -> list[Entry]:
    return members[:-1]


def longer(members: list[Entry]) -> list[Entry]:
    info, data = members[-1]
    info.size += 1
    return [*members[:-1], (info, data + b"x")]


def changed(members: list[Entry]) -> list[Entry]:
    info, data = members[-1]
    return [*members[:-1], (info, data[:-1] + bytes([data[-1] ^ 1]))]


def many(content: dict[str, object]) -> None:
    content["members"] = {f"golden/{i}": ROW for i in range(MAX_MEMBERS + 1)}


def large(content: dict[str, object]) -> None:
    content["members"] = {f"golden/{i}": {**ROW, "bytes": MAX_TOTAL_BYTES // 2 + 1} for i in range(2)}


USTAR, PAX, GNU = tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT

MALICIOUS: dict[str, tuple[Change, int, str]] = {
    "absolute": (added("/tmp/evil"), USTAR, "'/tmp/evil' is an absolute path"),
    "absolute, listed": (listed("/tmp/evil"), USTAR, "'/tmp/evil': an absolute path"),
    "above": (added("golden/../../evil"), USTAR, "'golden/../../evil' is a path that leads out"),
    "above, listed": (listed("../evil"), USTAR, "'../evil': a path that leads out"),
    "empty part": (listed("golden//evil"), USTAR, "'golden//evil': a name with an empty part"),
    "current folder": (listed("./evil"), USTAR, "'./evil': a name with an empty part"),
    "backslash": (listed("golden\\evil"), USTAR, "a name with a character"),
    "drive": (listed("C:evil"), USTAR, "a name with a character"),
    "symbolic link": (added("golden/x", tarfile.SYMTYPE, "/etc/passwd"), USTAR, "'golden/x' is a symbolic link"),
    "hard link": (added("golden/x", tarfile.LNKTYPE, "bundle.json"), USTAR, "'golden/x' is a hard link"),
    "character device": (added("golden/x", tarfile.CHRTYPE, devmajor=1, devminor=3), USTAR, "'golden/x' is a device"),
    "block device": (added("golden/x", tarfile.BLKTYPE, devmajor=8), USTAR, "'golden/x' is a device"),
    "pipe": (added("golden/x", tarfile.FIFOTYPE), USTAR, "'golden/x' is a pipe"),
    "folder": (added("golden/x", tarfile.DIRTYPE), USTAR, "is a folder"),
    "contiguous file": (added("golden/x", tarfile.CONTTYPE), USTAR, "'golden/x' is of an unknown kind"),
    "sparse": (added("golden/x", tarfile.GNUTYPE_SPARSE), GNU, "'golden/x' is a sparse file"),
    "sparse by header": (
        added("golden/x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": str(2**40)}),
        PAX,
        "is an extended header",
    ),
    "long name": (added("golden/" + "x" * 200), GNU, "is an extended header"),
    "twice": (repeated, USTAR, "is there twice"),
    "manifest twice": (added("bundle.json", data=b"{}"), USTAR, "'bundle.json' is there twice"),
    "one file on some disks": (listed("LICENSES.TXT"), USTAR, "one file on some disks"),
    "file as folder": (listed("LICENSES.txt/x"), USTAR, "which is a file"),
    "not listed": (added("golden/evil.npz", data=b"x"), USTAR, "'golden/evil.npz' is not in the manifest"),
    "missing": (without_the_last, USTAR, "1 members of the manifest are missing, 'golden/recording.json' first"),
    "longer": (longer, USTAR, "the manifest says"),
    "changed byte": (changed, USTAR, "'golden/recording.json' has another sha256"),
    "too many": (manifest(many), USTAR, f"lists {MAX_MEMBERS + 1} members, expected at most {MAX_MEMBERS}"),
    "too large": (manifest(large), USTAR, f"bytes in all, expected at most {MAX_TOTAL_BYTES}"),
    "other schema": (manifest(lambda content: content.update(schema=2)), USTAR, "schema: Input should be 1"),
    "unknown key": (manifest(lambda content: content.update(run="rm")), USTAR, "run: Extra inputs"),
    "artifact elsewhere": (
        manifest(lambda content: content.update(artifact="golden/000.npz")),
        USTAR,
        "the artifact 'golden/000.npz'",
    ),
}


@pytest.mark.parametrize(("change", "format", "named"), MALICIOUS.values(), ids=MALICIOUS)
def test_unpack_refuses_by_name_and_leaves_nothing(
    change: Change, format: int, named: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    bad = rewritten(tiny_bundle, tmp_path / "bad.tar", change, format)
    assert is_bundle(bad)
    with pytest.raises(ArtifactError) as caught:
        unpack(bad, tmp_path / "out")
    assert named in caught.value.message
    assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.parametrize("keep", [300, 512, 20_000, -15_000])
def test_unpack_refuses_a_bundle_that_was_cut_off(keep: int, tiny_bundle: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(tiny_bundle.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"no bundle|ends before its end mark"):
        unpack(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_refuses_what_follows_the_end(tiny_bundle: Path, tmp_path: Path) -> None:
    longer_file = tmp_path / "longer.tar"
    longer_file.write_bytes(tiny_bundle.read_bytes() + b"more")
    with pytest.raises(ArtifactError, match="something follows its end"):
        unpack(longer_file, tmp_path / "out")


def test_unpack_refuses_a_damaged_header(tiny_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    data[data.index(b"LICENSES.txt\0")] ^= 1
    (tmp_path / "damaged.tar").write_bytes(data)
    with pytest.raises(ArtifactError, match="header is damaged: bad checksum"):
        unpack(tmp_path / "damaged.tar", tmp_path / "out")


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_no_byte_may_change(position: float, tiny_bundle: Path, tmp_path: Path) -> None:
    # In the middle of the artifact and of the golden files: the padding between members is nobody's.
    data = bytearray(tiny_bundle.read_bytes())
    large_members = [(info, content) for info, content in entries(tiny_bundle) if len(content) > 1000]
    info, content = large_members[int(position * len(large_members))]
    data[info.offset_data + len(content) // 2] ^= 0x10
    (tmp_path / "changed.tar").write_bytes(data)
    with pytest.raises(ArtifactError):
        unpack(tmp_path / "changed.tar", tmp_path / "out")


def test_unpack_gives_the_files_that_were_packed(tiny_bundle: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    found = unpack(tiny_bundle, tmp_path / "out")
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == set(found.members)
    assert (tmp_path / "out" / found.artifact).read_bytes() == tiny_onnx.read_bytes()
    assert found.artifact_sha256 == sha256_of(tiny_onnx)


def test_unpack_refuses_a_folder_that_holds_something(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files already"):
        unpack(tiny_bundle, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_is_bundle_tells_from_the_bytes(tiny_bundle: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    other = rewritten(tiny_bundle, tmp_path / "other.bundle.tar", lambda members: members[1:])
    renamed = tmp_path / "renamed.onnx"
    renamed.write_bytes(tiny_bundle.read_bytes())
    assert is_bundle(tiny_bundle)
    assert is_bundle(renamed)
    assert not is_bundle(other)
    assert not is_bundle(tiny_onnx)
    assert not is_bundle(tmp_path)
    assert not is_bundle(tmp_path / "absent")
