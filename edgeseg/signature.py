"""A build's manifest signed with an SSH key, and that signature checked. The work is `ssh-keygen -Y`'s, of OpenSSH."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgeseg.errors import EnvironmentMissingError, GateError, UsageError
from edgeseg.files import write_atomically

NAMESPACE = "edgeseg"
"""Goes into every signature, so that one made for mail or git is none of ours (ssh-keygen(1), ``-n``)."""

SUFFIX = ".sig"
TOOL = "ssh-keygen"


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies: beside it."""
    return path.with_name(path.name + SUFFIX)


def sign(path: Path, key: Path) -> Path:
    """Sign a file's bytes; a passphrase is asked for on the terminal.

    Args:
        path: such as a finished build's `build.json`.
        key: a private SSH key, or the public half of one that the agent holds.

    Returns:
        The signature's path, ``<path>.sig``.

    Raises:
        EnvironmentMissingError: there is no `ssh-keygen`.
        UsageError: a file is absent, or the key cannot sign.
    """
    for file, what in ((path, "file to sign"), (key, "key")):
        _check_file(file, what)
    # From stdin to stdout: given a file name, it asks before it replaces an old signature.
    done = _run(["-Y", "sign", "-n", NAMESPACE, "-f", str(key)], path)
    if done.returncode != 0:
        raise UsageError(
            f"{path}: {key} cannot sign it: {_said(done)}", hint="give a private SSH key: ssh-keygen -t ed25519 -f KEY"
        )
    write_atomically(signature_of(path), done.stdout)
    return signature_of(path)


def check_signature(path: Path, signers: Path, identity: str) -> str:
    """Check that a file is as one of some people signed it.

    Args:
        path: the signed file, its signature beside it.
        signers: lines of identity and public key (ssh-keygen(1), ALLOWED SIGNERS).
        identity: who must have signed, as in `signers`.

    Returns:
        What was found, a sentence.

    Raises:
        EnvironmentMissingError: there is no `ssh-keygen`.
        UsageError: a file that was named is absent.
        GateError: no signature, by another key, or the file is not what was signed.
    """
    for file, what in ((path, "signed file"), (signers, "list of signers")):
        _check_file(file, what)
    if not identity:
        raise UsageError(f"{signers}: whose signature is expected?", hint="name one of its identities: --identity NAME")
    signature = signature_of(path)
    if not signature.is_file():
        raise GateError(f"{path}: not signed: there is no {signature.name} beside it", hint="edgeseg build --sign KEY")
    names = ["-I", identity, "-f", str(signers), "-s", str(signature)]
    done = _run(["-Y", "verify", "-n", NAMESPACE, *names], path)
    if done.returncode != 0:
        raise GateError(
            f"{path}: not signed by {identity!r}, or changed since: {_said(done)}",
            hint=f"who signed: ssh-keygen -Y find-principals -f {signers} -s {signature}",
        )
    return _said(done)


def _check_file(path: Path, what: str) -> None:
    if not path.is_file():
        raise UsageError(f"{path}: no such {what}")


def _run(arguments: Sequence[str], message: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        with message.open("rb") as file:
            return subprocess.run([TOOL, *arguments], stdin=file, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise EnvironmentMissingError(
            f"signatures need {TOOL}, which is not installed here",
            hint="install OpenSSH: apt-get install openssh-client, dnf install openssh, brew install openssh",
        ) from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """What the tool printed, on one line."""
    text = (done.stdout if done.returncode == 0 else done.stderr + b" " + done.stdout).decode(errors="replace")
    return " ".join(text.split()) or f"exit code {done.returncode}"
