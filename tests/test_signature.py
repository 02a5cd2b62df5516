"""Signatures by the real ssh-keygen: a good one, and every way in which one is not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgeseg.errors import EnvironmentMissingError, GateError, UsageError
from edgeseg.signature import check_signature, sign

needs_openssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


def make_key(folder: Path, name: str) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(command, check=True, timeout=60)
    return folder / name


def allow(folder: Path, **keys: Path) -> Path:
    """An allowed-signers file of identities and their keys."""
    lines = [f"{name} {key.with_suffix('.pub').read_text()}" for name, key in keys.items()]
    (folder / "signers").write_text("".join(lines))
    return folder / "signers"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path, "first")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "build.json"
    path.write_text('{"schema": 1}\n')
    return path


@needs_openssh
def test_what_was_signed_is_accepted_and_signed_anew(key: Path, manifest: Path, tmp_path: Path) -> None:
    signers = allow(tmp_path, ann=key)
    assert sign(manifest, key) == tmp_path / "build.json.sig"
    assert "ann" in check_signature(manifest, signers, "ann")
    manifest.write_text('{"schema": 2}\n')
    sign(manifest, key)
    assert "ann" in check_signature(manifest, signers, "ann")


@needs_openssh
def test_one_changed_byte_is_refused(key: Path, manifest: Path, tmp_path: Path) -> None:
    sign(manifest, key)
    manifest.write_text('{"schema": 7}\n')
    with pytest.raises(GateError, match="changed"):
        check_signature(manifest, allow(tmp_path, ann=key), "ann")


@needs_openssh
def test_another_key_is_refused(key: Path, manifest: Path, tmp_path: Path) -> None:
    sign(manifest, make_key(tmp_path, "second"))
    with pytest.raises(GateError, match="not signed by 'ann'"):
        check_signature(manifest, allow(tmp_path, ann=key), "ann")


@needs_openssh
def test_another_identity_of_the_same_list_is_refused(key: Path, manifest: Path, tmp_path: Path) -> None:
    signers = allow(tmp_path, ann=key, bob=make_key(tmp_path, "second"))
    sign(manifest, key)
    with pytest.raises(GateError, match="not signed by 'bob'"):
        check_signature(manifest, signers, "bob")


@needs_openssh
def test_a_signature_for_another_purpose_is_refused(key: Path, manifest: Path, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", key, manifest], check=True, timeout=60)
    with pytest.raises(GateError, match="not signed"):
        check_signature(manifest, allow(tmp_path, ann=key), "ann")


def test_an_absent_signature_is_refused(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "signers").write_text("")
    with pytest.raises(GateError, match=r"no build\.json\.sig"):
        check_signature(manifest, tmp_path / "signers", "ann")


def test_a_nameless_identity_and_an_absent_list_are_usage_errors(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such list of signers"):
        check_signature(manifest, tmp_path / "signers", "ann")
    (tmp_path / "signers").write_text("")
    with pytest.raises(UsageError, match="whose signature"):
        check_signature(manifest, tmp_path / "signers", "")


@needs_openssh
def test_what_is_no_key_cannot_sign_and_leaves_nothing(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    with pytest.raises(UsageError, match="cannot sign"):
        sign(manifest, tmp_path / "text")
    assert not (tmp_path / "build.json.sig").exists()


def test_without_the_tool_the_error_says_what_to_install(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(EnvironmentMissingError, match="openssh-client"):
        sign(manifest, tmp_path / "key")
