"""The network to ncnn: traced by torch, converted by pnnx, its tensors named by the contract."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pnnx
import torch
import yaml

from edgeseg.data.calibration import require_pictures
from edgeseg.errors import ArtifactError, StageError
from edgeseg.files import replacing_folder
from edgeseg.folder_metadata import METADATA_FILE, metadata_text
from edgeseg.foreign import typed_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import OUTPUT_NAMES, ExportGraph, quiet_tracing, traced
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import INPUT_NAME

from .network import BIN_FILE, MAGIC, PARAM_FILE, ends_of, read_layers, stored_types
from .options import NcnnOptions
from .quantise import quantise
from .runner import PEER_FILE

TRACE_FILE = "network.pt"


def export(request: ExportRequest) -> Artifact:
    """Write the folder ``output_dir/stem``.

    Raises:
        UsageError: int8 with too few calibration pictures.
        StageError: the converter fails, or its network is not whole.
        OutputError: the folder cannot be written.
    """
    options = NcnnOptions.of(request.options)
    if request.precision == "int8":
        require_pictures(request.calibration, "ncnn int8")
    network, weights = load_network(request.weights)
    is_raw = options.outputs == "raw"
    metadata = describe(
        request,
        weights,
        file_format="ncnn",
        head=options.outputs,
        tools=("torch", "pnnx"),
        # Decoding knows the centre of every point, which fixes the size; the layers before it do not.
        dynamic=("batch", "size") if is_raw else ("batch",),
    )
    # float32 for every precision: fp16 is how the converter stores the weights, and ncnn chooses its arithmetic.
    trace = _traced(ExportGraph(network, options.outputs).eval(), request.image_size)
    path = request.output_dir / request.stem
    with replacing_folder(path, METADATA_FILE) as folder:
        _convert(trace, folder, request)
        if request.precision == "int8":
            quantise(folder, request.calibration, request.image_size)
        if is_raw:
            _name_tensors(folder)
        else:
            # Clients of this layout ask for the converter's own names.
            (folder / PEER_FILE).write_bytes(_peer_text(metadata).encode())
        (folder / METADATA_FILE).write_bytes(metadata_text(metadata, folder, (PARAM_FILE, BIN_FILE)).encode())
    return Artifact(path, metadata)


def _traced(graph: ExportGraph, image_size: tuple[int, int]) -> bytes:
    # Through memory: written to a path, a full disk aborts the interpreter (torch 2.13, the destructor of
    # PyTorchStreamWriter throws).
    buffer = io.BytesIO()
    with quiet_tracing():
        torch.jit.save(traced(graph, image_size), buffer)
    return buffer.getvalue()


def _convert(trace: bytes, folder: Path, request: ExportRequest) -> None:
    """Leave the converter's two files in `folder`; it writes six others, in a folder that goes."""
    work = folder / "work"
    work.mkdir()
    (work / TRACE_FILE).write_bytes(trace)
    height, width = request.image_size
    command = [
        pnnx.EXEC_PATH,
        TRACE_FILE,
        f"inputshape=[1,3,{height},{width}]",
        f"fp16={int(request.precision == 'fp16')}",
        f"ncnnparam={PARAM_FILE}",
        f"ncnnbin={BIN_FILE}",
    ]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    try:
        if done.returncode:
            raise ArtifactError(f"pnnx ended with {done.returncode}")
        # It ends with 0 where it cannot write, too.
        stored_types(work, read_layers(work))
    except ArtifactError as error:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-3:])
        raise StageError(
            "export_failed", f"{request.stem}: pnnx made no whole network: {error.message}\n{said}"
        ) from error
    for name in (PARAM_FILE, BIN_FILE):
        (work / name).rename(folder / name)
    shutil.rmtree(work)


def _name_tensors(folder: Path) -> None:
    """Give the tensors of a raw network the names of the contract."""
    layers = read_layers(folder)
    names = {"in0": INPUT_NAME} | {f"out{index}": name for index, name in enumerate(OUTPUT_NAMES["raw"])}
    inputs, outputs = ends_of(layers)
    if {*inputs, *outputs} != names.keys():
        raise StageError("export_failed", f"pnnx gives {inputs} and {outputs}, expected {sorted(names)}")
    file = folder / PARAM_FILE
    counts = file.read_bytes().decode().splitlines()[1]
    lines = [MAGIC.decode().strip(), counts, *(layer.renamed(names).line() for layer in layers)]
    # Not as text: some systems end lines otherwise.
    file.write_bytes(("\n".join(lines) + "\n").encode())


def _peer_text(metadata: ArtifactMetadata) -> str:
    """The peer's keys as it writes them beside its ncnn files."""
    return str(yaml.safe_dump(typed_peer_keys(metadata), sort_keys=False, allow_unicode=True))
