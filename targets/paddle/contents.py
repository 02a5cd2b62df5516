"""What a folder says about itself, and whether its files are whole; read without Paddle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from edgeseg.errors import ArtifactError
from edgeseg.folder_metadata import METADATA_FILE, check_hashes, read_folder_metadata
from edgeseg.foreign import from_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.tensors import DECODED_OUTPUT_NAMES, INPUT_NAME

from .program import PARAMS_FILE, PROGRAM_FILE, Program, network_folder, read_program, stored_parameters

PEER_FILE = "metadata.yaml"


def checked_program(path: Path) -> Program:
    """The program of a folder whose files are whole.

    Raises:
        ArtifactError: a file is absent, damaged, or not the one that was written there.
    """
    folder = network_folder(path)
    program = read_program(folder)
    stored_parameters(folder, program)
    if (path / METADATA_FILE).is_file():
        check_hashes(path / METADATA_FILE, folder, (PROGRAM_FILE, PARAMS_FILE))
    return program


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the folder; for a foreign one what its `metadata.yaml` and its program tell."""
    if (path / METADATA_FILE).is_file():
        return read_folder_metadata(path / METADATA_FILE)
    keys = _peer_keys(path)
    folder = network_folder(path)
    program = read_program(folder)
    # Its converter gives names that say nothing: which tensor is which is told by the order.
    names = ((INPUT_NAME,), DECODED_OUTPUT_NAMES)
    if tuple(map(len, names)) != (len(program.inputs), len(program.outputs)):
        raise ArtifactError(
            f"{path}: takes {_listed(program.inputs)} and gives {_listed(program.outputs)}, "
            "and nothing in it says what they are",
            hint=f"expected {METADATA_FILE}, or one input and two outputs in the decoded layout",
        )
    inputs, outputs = (
        tuple(replace(spec, name=name) for spec, name in zip(specs, known, strict=True))
        for specs, known in zip((program.inputs, program.outputs), names, strict=True)
    )
    stored_parameters(folder, program)
    return from_peer_keys(keys, inputs, outputs, "paddle", str(path))


def _listed(specs: Any) -> list[str]:
    return [spec.name for spec in specs]


def _peer_keys(path: Path) -> dict[str, Any]:
    file = path / PEER_FILE
    try:
        keys = yaml.safe_load(file.read_bytes())
        if not isinstance(keys, dict) or "names" not in keys:
            raise ValueError("it names no classes")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ArtifactError(
            f"{path}: neither {METADATA_FILE} nor a readable {PEER_FILE} inside: {error}", hint="export it again"
        ) from error
    return keys
