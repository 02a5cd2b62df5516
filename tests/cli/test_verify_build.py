"""`edgeseg verify build.json --offline` as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgeseg.signature import sign
from tests.cli.running import run
from tests.finished_build import finished
from tests.test_signature import allow, make_key


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return finished(tmp_path)[0] / "build.json"


def test_an_untouched_build_passes(manifest: Path) -> None:
    done = run("verify", manifest, "--offline")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("11 of 11 entries are unchanged")


def test_failures_are_listed_and_exit_with_five(manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / "onnx-fp32" / "n.onnx").write_bytes(b"another graph")
    (manifest.parent / "weights.safetensors").unlink()
    (tmp_path / "card.yaml").unlink()
    done = run("verify", manifest, "--offline")
    assert done.code == 5
    assert "weights: weights.safetensors: gone" in done.err
    assert "artifact of onnx-fp32: onnx-fp32/n.onnx: changed (sha256 " in done.err
    assert f"note: card: {tmp_path / 'card.yaml'}: not reachable on this machine" in done.out
    done = run("verify", manifest, "--offline", "--json", "-")
    content = json.loads(done.out)
    assert (done.code, content["passed"], content["unchanged"]) == (5, False, 8)
    assert [one["state"] for one in content["failures"]] == ["gone", "changed"]
    assert run("verify", manifest, "--offline", "--strict").err.count("not reachable") == 1


def test_a_manifest_is_told_from_its_content_whatever_its_name(manifest: Path) -> None:
    renamed = manifest.rename(manifest.with_name("n.onnx"))
    assert run("verify", renamed, "--offline").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--offline"),
        (["--offline", "--gate", "mask_iou_min=0.9"], "--gate"),
        (["--offline", "--against", "w.pt"], "--against"),
        (["--offline", "--signers", "s"], "--identity"),
        (["--offline", "--identity", "ann"], "--signers"),
    ],
)
def test_options_that_make_no_sense_are_refused(manifest: Path, arguments: list[str], message: str) -> None:
    done = run("verify", manifest, *arguments)
    assert done.code == 2
    assert message in done.err


def test_offline_is_refused_for_what_is_no_manifest(manifest: Path) -> None:
    done = run("verify", manifest.parent / "onnx-fp32" / "n.onnx", "--offline")
    assert done.code == 2
    assert "none" in done.err


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")
def test_a_signature_is_checked_where_signers_are_given(manifest: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path, "first")
    asked = ("--offline", "--signers", allow(tmp_path, ann=key), "--identity", "ann")
    assert run("verify", manifest, *asked).code == 5
    sign(manifest, key)
    done = run("verify", manifest, *asked)
    assert done.code == 0
    assert "ann" in done.out.splitlines()[-1]
    manifest.write_text(manifest.read_text() + "\n")
    done = run("verify", manifest, *asked)
    assert done.code == 5
    assert "changed" in done.err
