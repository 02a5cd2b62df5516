"""The tar of a bundle: plain ustar, of no owner and no time, so that the same content is the same file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from edgeseg.bundle.manifest import MANIFEST, BundleManifest
from edgeseg.errors import UsageError
from edgeseg.files import replacing


def write_tar(output: Path, manifest: BundleManifest, files: Mapping[str, Path]) -> None:
    """Write the manifest first, then its members sorted by name; whole or not at all.

    Args:
        output: the tar.
        manifest: with every member.
        files: member name to its file.

    Raises:
        UsageError: a name that a tar does not take; a file that changed since its hash was taken.
        OutputError: the tar cannot be written.
    """
    content = manifest.to_json()
    with replacing(output) as temporary:
        try:
            with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT, encoding="utf-8", errors="strict") as tar:
                tar.addfile(_header(MANIFEST, len(content)), io.BytesIO(content))
                for name in sorted(manifest.members):
                    with files[name].open("rb") as file:
                        tar.addfile(_header(name, manifest.members[name].bytes), file)
        except (ValueError, tarfile.TarError) as error:
            raise UsageError(f"{output}: {error}", hint="give the artifact a shorter name") from error


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header
