"""The network to OpenVINO: traced by torch, converted, quantised by NNCF where asked, written as one folder."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch
import yaml

from edgeseg.data.calibration import calibration_inputs, require_pictures
from edgeseg.errors import ArtifactError, OutputError, UsageError, needs_extra
from edgeseg.files import replacing_folder, sha256_of
from edgeseg.foreign import typed_peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.graph import ExportGraph, quiet_tracing
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import INPUT_NAME

from .accuracy import RANKING_PICTURES, Agreement, check_limit, split
from .options import OpenVinoOptions
from .runner import BIN_FILE, PEER_FILE, WEIGHTS_KEY, XML_FILE, import_openvino, load_model
from .signal_stack import keeping_signal_stack

AUTOMATIC_NAME = re.compile(r"[A-Za-z]\w*_\d+")
"""Type and number of an operation that the converter gave no name."""

DECODING = r"__module\.decode.*"
"""Names of the operations that decode, which stay in float32: in int8 a box of 640 pixels has steps of 2.5."""


def export(request: ExportRequest) -> Artifact:
    """Write the folder ``output_dir/stem``.

    Raises:
        UsageError: int8 with too few calibration pictures, or `accuracy_control` without int8.
        StageError: `accuracy_control` leaves nothing in int8.
        OutputError: it cannot be written whole.
    """
    options = OpenVinoOptions.of(request.options)
    if options.accuracy_control is not None and request.precision != "int8":
        raise UsageError(f"accuracy_control is of int8, asked was {request.precision}", hint="leave one of them out")
    if request.precision == "int8":
        require_pictures(request.calibration, "openvino int8")
    # Halves with ranges of their own keep less of AP, with equal score errors (README.md, "Limits").
    network, weights = load_network(request.weights, halves=request.precision != "int8")
    metadata = describe(
        request,
        weights,
        file_format="openvino",
        head=options.outputs,
        tools=("torch", "openvino", *(("nncf",) if request.precision == "int8" else ())),
        dynamic=("batch",) * options.dynamic_batch + ("size",) * options.dynamic_size,
        batch=options.batch,
    )
    model = _converted(ExportGraph(network, options.outputs).eval(), metadata)
    if request.precision == "int8":
        model = _quantised(model, request, options, metadata)
    model.reshape([-1 if isinstance(size, str) else size for size in metadata.inputs[0].shape])
    _name(model, metadata)
    path = request.output_dir / request.stem
    with replacing_folder(path, XML_FILE) as folder:
        try:
            _write(model, folder, metadata)
        except RuntimeError as error:
            raise OutputError(f"{path}: cannot be written: {error}", hint="is there space left?") from error
        _check_whole(folder, path)
    return Artifact(path, metadata)


def _converted(graph: ExportGraph, metadata: ArtifactMetadata) -> Any:
    """The graph at one picture of the default size, every output with its own name."""
    openvino = import_openvino("exporting openvino")
    # From the module and not from an ONNX file: NNCF finds biases and fused activations in this form only.
    with quiet_tracing():
        model = openvino.convert_model(graph, example_input=torch.zeros(1, 3, *metadata.image_size))
    model.reshape([1, 3, *metadata.image_size])
    return model


@keeping_signal_stack()
def _quantised(model: Any, request: ExportRequest, options: OpenVinoOptions, metadata: ArtifactMetadata) -> Any:
    """int8 weights and activations, with bias correction, ranges from the calibration pictures."""
    try:
        import nncf
    except ImportError as error:
        raise needs_extra("nncf", "openvino", "openvino int8") from error
    # Not `nncf.set_log_level`: that also sets the level of the root logger's handlers, which are the caller's.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    control, ranges, held_out = options.accuracy_control, list(request.calibration), list[Path]()
    if control is not None:
        ranges, held_out = split(request.calibration)
    dataset = nncf.Dataset(ranges, lambda path: next(calibration_inputs([path], request.image_size)))
    asked = {
        "preset": nncf.QuantizationPreset(options.preset),
        "subset_size": len(ranges),
        "ignored_scope": nncf.IgnoredScope(patterns=[DECODING] if options.outputs == "decoded" else []),
    }
    # Its progress bars go to stdout, which belongs to the command that called.
    with contextlib.redirect_stdout(io.StringIO()):
        if control is None:
            return nncf.quantize(model, dataset, **asked)
        agreement = Agreement(model, metadata, held_out)
        restored = nncf.quantize_with_accuracy_control(
            model,
            dataset,
            nncf.Dataset(range(len(held_out))),
            agreement,
            max_drop=control.max_drop,
            # One worker: with several, which layers go back would depend on the machine.
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                ranking_subset_size=RANKING_PICTURES, num_ranking_workers=1
            ),
            **asked,
        )
    check_limit(restored, agreement, control.max_drop)
    return restored


def _name(model: Any, metadata: ArtifactMetadata) -> None:
    """Name the tensors after the contract, and operations by their place: the converter counts all it ever made."""
    model.set_friendly_name("edgeseg")
    for index, operation in enumerate(model.get_ordered_ops()):
        if AUTOMATIC_NAME.fullmatch(operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
    for port, spec in zip(model.outputs, metadata.outputs, strict=True):
        port.get_tensor().set_names({spec.name})
    (images,) = model.inputs
    images.get_tensor().set_names({INPUT_NAME})
    images.get_node().set_friendly_name(INPUT_NAME)


def _write(model: Any, folder: Path, metadata: ArtifactMetadata) -> None:
    openvino = import_openvino("exporting openvino")
    model.set_rt_info(metadata.to_json(), METADATA_KEY)
    half = metadata.precision == "fp16"
    openvino.save_model(model, folder / XML_FILE, compress_to_fp16=half)
    # The hash of the weights goes into the description, so that is written again.
    model.set_rt_info(sha256_of(folder / BIN_FILE), WEIGHTS_KEY)
    openvino.save_model(model, folder / XML_FILE, compress_to_fp16=half)
    if metadata.head == "decoded":
        (folder / PEER_FILE).write_text(_peer_text(metadata))


def _peer_text(metadata: ArtifactMetadata) -> str:
    """The keys of existing clients."""
    return yaml.safe_dump(typed_peer_keys(metadata), sort_keys=False, allow_unicode=True)


def _check_whole(folder: Path, path: Path) -> None:
    """The SDK writes what fits on a full disk and says nothing."""
    try:
        load_model(folder)
    except ArtifactError as error:
        raise OutputError(f"{path}: was not written whole: {error.message}", hint="is there space left?") from error
