"""The network to Paddle: to ONNX by the onnx target, from there by x2paddle, its tensors named by the contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import yaml

from edgeseg import registry
from edgeseg.errors import ArtifactError, StageError
from edgeseg.files import replacing_folder
from edgeseg.folder_metadata import METADATA_FILE, metadata_text
from edgeseg.foreign import typed_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import OUTPUT_NAMES
from edgeseg.model.weights import load_weights
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import INPUT_NAME

from .contents import PEER_FILE
from .options import PaddleOptions
from .program import FOREIGN_FOLDER, PARAMS_FILE, PROGRAM_FILE, read_program, renamed, stored_parameters

TOOLS = ("torch", "onnx", "onnxsim", "x2paddle", "paddlepaddle")

OPSET = 15
"""The newest that x2paddle 1.6.0 maps; it takes a newer one for this one and says so in a line of its output."""

ONNX_FILE = "network.onnx"
CONVERT = (
    "from x2paddle.convert import onnx2paddle; "
    # By default it tells a server of the conversion.
    f"onnx2paddle({ONNX_FILE!r}, 'converted', disable_feedback=True)"
)
"""In a process of its own: it prints, writes and imports a Python file, and sets up logging and signals as it likes."""


def export(request: ExportRequest) -> Artifact:
    """Write the folder ``output_dir/stem``.

    Raises:
        StageError: the converter fails, or its network is not whole.
        OutputError: the folder cannot be written.
    """
    options = PaddleOptions.of(request.options)
    metadata = describe(
        request,
        load_weights(request.weights),
        file_format="paddle",
        head=options.outputs,
        tools=TOOLS,
        dynamic=("batch",) * options.dynamic_batch + ("size",) * options.dynamic_size,
        batch=options.batch,
    )
    path = request.output_dir / request.stem
    with replacing_folder(path, METADATA_FILE) as folder:
        work = folder / "work"
        work.mkdir()
        _write_onnx(request, options, work)
        _convert(work, request.stem)
        for name in (PROGRAM_FILE, PARAMS_FILE):
            (work / "converted" / FOREIGN_FOLDER / name).rename(folder / name)
        shutil.rmtree(work)
        renamed(folder, (INPUT_NAME,), OUTPUT_NAMES[metadata.head])
        if metadata.head == "decoded":
            (folder / PEER_FILE).write_bytes(_peer_text(metadata).encode())
        (folder / METADATA_FILE).write_bytes(metadata_text(metadata, folder, (PROGRAM_FILE, PARAMS_FILE)).encode())
    return Artifact(path, metadata)


def _write_onnx(request: ExportRequest, options: PaddleOptions, work: Path) -> None:
    """Leave the network in `work` as an ONNX file that x2paddle can read."""
    target = registry.load_usable("onnx")
    asked = {**options.model_dump(), "opset": OPSET}
    made = target.export(
        ExportRequest(
            weights=request.weights,
            output_dir=work,
            stem=Path(ONNX_FILE).stem,
            precision=request.precision,
            image_size=request.image_size,
            options=registry.parse_options(target.options_type, asked, "option of onnx"),
        )
    )
    model = onnx.load(made.path)
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            _drop_default_dilations(node)
    onnx.save(model, made.path)


def _drop_default_dilations(node: onnx.NodeProto) -> None:
    """x2paddle refuses the attribute whatever its value is: without it, it has the value 1."""
    for attribute in list(node.attribute):
        if attribute.name == "dilations" and set(attribute.ints) == {1}:
            node.attribute.remove(attribute)


def _convert(work: Path, stem: str) -> None:
    """Leave x2paddle's files in `work`."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERT], cwd=work, capture_output=True, text=True, errors="replace", check=False
    )
    converted = work / "converted" / FOREIGN_FOLDER
    try:
        if done.returncode:
            raise ArtifactError(f"x2paddle ended with {done.returncode}")
        # It ends with 0 where it says that it cannot, too.
        stored_parameters(converted, read_program(converted))
    except ArtifactError as error:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise StageError("export_failed", f"{stem}: x2paddle made no whole network: {error.message}\n{said}") from error


def _peer_text(metadata: ArtifactMetadata) -> str:
    return str(yaml.safe_dump(typed_peer_keys(metadata), sort_keys=False, allow_unicode=True))
