"""The portable graph of an engine: the onnx target's, typed or quantised as TensorRT reads it, and labelled as ours."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from edgeseg import registry
from edgeseg.files import replacing
from edgeseg.metadata import METADATA_KEY
from edgeseg.target import Artifact, ExportRequest

from .options import TensorRTOptions

FORMAT = "tensorrt"
SHARED = ("opset", "batch", "dynamic_batch", "dynamic_size", "outputs", "ranges")
"""Options of the same name and meaning in the onnx target."""


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.onnx``: what `finish` builds the engine from, on the device.

    Raises:
        UsageError: options that do not go together; int8 with too few calibration pictures.
        EnvironmentMissingError: the packages that write ONNX are not here.
        StageError: the graph cannot be made.
        OutputError: it cannot be written.
    """
    options = TensorRTOptions.of(request.options)
    options.require_fitting(request.precision)
    source = registry.load_usable("onnx")
    shared = {name: getattr(options, name) for name in SHARED}
    quantising = {"scheme": "symmetric", "exclude": options.kept_float()} if request.precision == "int8" else {}
    chosen = registry.parse_options(source.options_type, {**shared, **quantising}, "option of onnx")
    path = request.output_dir / f"{request.stem}.onnx"
    with replacing(path) as temporary, tempfile.TemporaryDirectory(prefix="edgeseg-tensorrt-") as folder:
        made = source.export(replace(request, output_dir=Path(folder), options=chosen))
        metadata = replace(made.metadata, format=FORMAT, options=options.model_dump())
        import onnx

        model = onnx.load(made.path)
        for entry in model.metadata_props:
            if entry.key == METADATA_KEY:
                entry.value = metadata.to_json()
        onnx.save(model, temporary)
    return Artifact(path, metadata)
