"""The part of `edgeseg verify` that takes a finished build's manifest: all hashes again, and its signature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.cli.output import emit_json, progress_bar

if TYPE_CHECKING:
    from edgeseg.offline_check import OfflineReport

OPTIONS = ("offline", "strict", "signers", "identity")
"""Options that are for manifests alone."""

USED = (*OPTIONS, "json_file")


def run(manifest: Path, asked: Mapping[str, Any]) -> None:
    """Check a manifest's hashes, then its signature where signers are given.

    Args:
        manifest: the file.
        asked: options of the command by name.

    Raises:
        UsageError: an option that is not for manifests, or one that misses its other half.
        GateError: a file is not as the manifest says, or the manifest is not as it was signed.
        EnvironmentMissingError: a signature is to be checked and there is no `ssh-keygen`.
    """
    from edgeseg.errors import UsageError
    from edgeseg.offline_check import check_offline
    from edgeseg.signature import check_signature

    other = [name for name, value in asked.items() if name not in USED and value not in (None, (), False)]
    if other:
        raise UsageError(
            f"--{other[0]}: is not for a build's manifest, which {manifest} is", hint="name one of its artifacts"
        )
    if not asked["offline"]:
        raise UsageError(
            f"{manifest}: a build's manifest: what of it is to be verified?",
            hint="its hashes: --offline; its masks: name one of its artifacts",
        )
    if bool(asked["signers"]) != bool(asked["identity"]):
        raise UsageError("--signers FILE and --identity NAME go together: who signed, and by which list of keys")
    # Before the hashes: where the manifest is not the signer's, what it says about other files counts for nothing.
    signature = check_signature(manifest, asked["signers"], asked["identity"]) if asked["signers"] else ""
    with progress_bar("verify", None) as advance:
        report = check_offline(manifest, strict=asked["strict"], listener=lambda _: advance())
    report.signature = signature
    if asked["json_file"]:
        emit_json(report.to_json(), asked["json_file"])
    if asked["json_file"] != "-":
        _print(report)
    error = report.error()
    if error is not None:
        raise error


def refuse(path: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a manifest's options for something else.

    Raises:
        UsageError: one was given.
    """
    from edgeseg.errors import UsageError

    given = [name for name in OPTIONS if asked[name]]
    if given:
        raise UsageError(
            f"--{given[0]}: is for a build's manifest, {path} is none", hint="name the build.json of a build's folder"
        )


def _print(report: OfflineReport) -> None:
    """Notes and counts; failures are the error's."""
    import click

    for one in report.notes:
        click.echo(f"note: {one.line()}")
    same = sum(one.state == "same" for one in report.found)
    click.echo(
        f"{same} of {len(report.found)} entries are unchanged (sha256 of {report.manifest.name} {report.sha256})"
    )
    if report.signature:
        click.echo(report.signature)
