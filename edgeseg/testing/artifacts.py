"""Conformance: what an export leaves on disk, and what is told from it without running it."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg import registry
from edgeseg.errors import ArtifactError, EdgesegError
from edgeseg.files import sha256_of
from edgeseg.metadata import Preprocessing
from edgeseg.target import Artifact, Target
from edgeseg.testing.probe import run_probe
from edgeseg.testing.suite import STEM, Exports, TargetSuite, copied, opened, skip_unless_usable
from edgeseg.testing.tiny import IMAGE_SIZE, LICENSE, NAMES, tiny_picture

FOREIGN = ("jpeg", "text", "json", "empty", "folder", "zip")
DISK_FULL_BYTES = 8192
"""Far below any artifact of the tiny network, whose weights take 0.3 MB."""

DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "first half only": lambda data: data[: len(data) // 2],
    "last byte lost": lambda data: data[:-1],
    "first bytes only": lambda data: data[:64],
    "noise after the first bytes": lambda data: data[:64] + np.random.default_rng(0).bytes(len(data) - 64),
}


class ArtifactTests(TargetSuite):
    """Files, metadata, recognition, damage, findings."""

    def test_export_leaves_the_artifact_and_nothing_else(
        self, subject: Target, exports: Exports, precision: str
    ) -> None:
        """It goes to ``output_dir / (stem + suffix)``; temporary files are gone."""
        artifact = exports.get(subject, precision)
        assert artifact.path.name == f"{STEM}{subject.capabilities.suffix}"
        assert list(artifact.path.parent.iterdir()) == [artifact.path]
        assert artifact.path.is_file() == subject.capabilities.is_file

    def test_metadata_read_back_equals_what_was_written(
        self, subject: Target, exports: Exports, precision: str
    ) -> None:
        """The file says the same as the export did, wherever it lies."""
        artifact = exports.get(subject, precision)
        assert subject.read_metadata(artifact.path) == artifact.metadata

    def test_metadata_says_what_was_exported(self, subject: Target, exports: Exports, precision: str) -> None:
        """Names, size, preprocessing, precision, licence and origin are those of the weights and the request."""
        metadata = exports.get(subject, precision).metadata
        request = exports.request(subject, exports.folder, precision)
        assert (metadata.format, metadata.precision) == (subject.name, precision)
        assert (metadata.names, metadata.license) == (NAMES, LICENSE)
        assert metadata.image_size == IMAGE_SIZE
        assert metadata.preprocessing == Preprocessing()
        assert metadata.weights_sha256 == sha256_of(exports.weights)
        assert metadata.card_sha256 == request.card_sha256
        assert metadata.options == request.options.model_dump()

    def test_inspect_finds_no_problem(self, subject: Target, exports: Exports, precision: str) -> None:
        """A good artifact has facts that a JSON report can hold, and no problem."""
        findings = subject.inspect(exports.get(subject, precision))
        assert findings.problems == ()
        assert findings.facts
        json.dumps(dict(findings.facts), allow_nan=False)

    def test_own_artifact_is_recognized(self, subject: Target, exports: Exports, precision: str) -> None:
        """Told from the bytes: a changed name does not matter where the artifact is a file."""
        path = exports.get(subject, precision).path
        assert subject.recognizes(path) is True

    def test_own_artifact_is_recognized_under_another_name(
        self, subject: Target, artifact: Artifact, tmp_path: Path
    ) -> None:
        """The kind of a file is told from its bytes, never from its suffix."""
        assert subject.recognizes(copied(artifact.path, tmp_path / "renamed.bin")) is True

    @pytest.mark.parametrize("kind", FOREIGN)
    def test_foreign_file_is_not_recognized(self, subject: Target, tmp_path: Path, kind: str) -> None:
        """Pictures, texts, archives and folders are left to others, under this target's suffix too."""
        path = foreign(kind, tmp_path / f"foreign{subject.capabilities.suffix}")
        assert subject.recognizes(path) is False

    def test_weights_are_not_recognized(self, subject: Target, exports: Exports) -> None:
        """Safetensors belong to the reference."""
        assert subject.recognizes(exports.weights) is False

    def test_artifacts_of_other_targets_are_not_recognized(self, subject: Target, exports: Exports) -> None:
        """Each kind of file has one target."""
        others = [entry.target for entry in registry.entries().values() if entry.target is not None]
        usable = [other for other in others if other.name != subject.name and other.check_env().usable]
        if not usable:
            pytest.skip("no other target is usable here")
        assert [other.name for other in usable if subject.recognizes(exports.get(other).path)] == []

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_artifact_is_refused_by_name(
        self, subject: Target, artifact: Artifact, tmp_path: Path, damage: str
    ) -> None:
        """A download that broke off is an ArtifactError that names the file, never a trace of the SDK."""
        path = copied(artifact.path, tmp_path / "damaged")
        damaged = path if path.is_file() else max(path.rglob("*"), key=lambda part: part.stat().st_size)
        damaged.write_bytes(DAMAGES[damage](damaged.read_bytes()))
        with pytest.raises(ArtifactError, match=re.escape(str(path))):
            opened(subject, path).close()

    def test_taken_name_is_a_clean_error(self, subject: Target, exports: Exports, tmp_path: Path) -> None:
        """Where something else has the artifact's name, the error says the name and that thing stays."""
        skip_unless_usable(subject)
        taken = tmp_path / f"{STEM}{subject.capabilities.suffix}"
        if subject.capabilities.is_file:
            taken.mkdir()
        else:
            taken.touch()
        with pytest.raises(EdgesegError, match=re.escape(str(taken))):
            subject.export(exports.request(subject, tmp_path))
        assert list(tmp_path.iterdir()) == [taken]

    def test_full_disk_is_a_clean_error(self, subject: Target, exports: Exports, tmp_path: Path) -> None:
        """A write that breaks off halfway names the artifact and leaves no half file."""
        pytest.importorskip("resource", reason="file size limits exist on Unix only")
        skip_unless_usable(subject)
        content: dict[str, Any] = {
            "weights": exports.weights,
            "folder": tmp_path,
            "stem": STEM,
            "image_size": IMAGE_SIZE,
        }
        precision = subject.capabilities.precisions[0]
        content["calibration"] = [str(path) for path in exports.calibration(subject, precision)]
        result = run_probe(subject, "export", limit_bytes=DISK_FULL_BYTES, precision=precision, **content)
        assert result.is_ours, f"{result.error}: {result.message}"
        assert STEM in result.message
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
    def test_unwritable_folder_is_a_clean_error(self, subject: Target, exports: Exports, tmp_path: Path) -> None:
        """No permission is said with the artifact's name."""
        skip_unless_usable(subject)
        tmp_path.chmod(0o500)
        with pytest.raises(EdgesegError, match=re.escape(str(tmp_path))):
            subject.export(exports.request(subject, tmp_path))
        assert list(tmp_path.iterdir()) == []


def foreign(kind: str, path: Path) -> Path:
    """Make a file or folder that is no artifact; returns `path`."""
    if kind == "jpeg":
        path.write_bytes(cv2.imencode(".jpg", tiny_picture())[1].tobytes())
    elif kind == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("nothing")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("notes.txt", "nothing")
    else:
        path.write_text({"text": "a text\n" * 100, "json": '{"format": "none"}', "empty": ""}[kind])
    return path
