"""The stages' functions, and the table of what each target runs through."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg import registry
from edgeseg.build.stage import StageRequest, StageResult, Work
from edgeseg.build.timing import time_artifact
from edgeseg.build.validation import validate_artifact, validate_reference
from edgeseg.data.calibration import require_pictures
from edgeseg.errors import StageError, UsageError
from edgeseg.export import write_sidecar
from edgeseg.files import bytes_of, write_atomically
from edgeseg.predict import load
from edgeseg.report.schema import verify_json
from edgeseg.sources import open_sources
from edgeseg.target import Artifact, ExportRequest
from edgeseg.verify import verify


@dataclass(frozen=True)
class Step:
    """One stage of a target.

    Attributes:
        name: of the stage.
        work: its function.
        failure: the outcome word where it raises or its process breaks.
        inputs: names of the files that it reads; it runs only where all of them are there.
        alone: whether nothing else may run beside it, since it is timed.
        on_device: whether it opens the artifact, which some targets can do on their device only.
        portable: whether it proves what the device has yet to finish as well, where that opens on any machine.
    """

    name: str
    work: Work
    failure: str
    inputs: tuple[str, ...]
    alone: bool = False
    on_device: bool = False
    portable: bool = False


def import_weights(request: StageRequest) -> StageResult:
    """Weights of any kind to the build's own safetensors, checked against the card.

    Parameters: scale, names, license (empty keeps the file's own).
    """
    from edgeseg.model.weights import load_weights, save_weights

    weights = load_weights(request.inputs["weights"])
    want = request.parameters
    if weights.metadata.missing:
        raise UsageError(
            f"{request.inputs['weights']}: has no mask branches, so it cannot be exported",
            hint="give segmentation weights with --weights",
        )
    if weights.metadata.scale != want["scale"]:
        raise UsageError(
            f"{request.inputs['weights']}: scale {weights.metadata.scale!r}, the card says {want['scale']!r}",
            hint=f"--set model.scale={weights.metadata.scale}, or give other weights",
        )
    if list(weights.metadata.names) != list(want["names"]):
        raise UsageError(
            f"{request.inputs['weights']}: {_names_problem(weights.metadata.names, want['names'])}",
            hint="write the weights' class names in model.classes, in their order",
        )
    license_name = want["license"] or weights.metadata.license or "unknown"
    path = request.folder / "weights.safetensors"
    save_weights(replace(weights, metadata=replace(weights.metadata, license=license_name)), path)
    return StageResult(outputs={"weights": path}, facts={"license": license_name, **weights.metadata.source})


def export_artifact(request: StageRequest) -> StageResult:
    """The reference to one artifact.

    Parameters: format, precision, image_size, options, stem, card_sha256, calibration (hash). Places: calibration.
    """
    want = request.parameters
    target = registry.load_usable(want["format"])
    height, width = want["image_size"]
    calibration = tuple(Path(picture) for picture in request.places["calibration"])
    if want["precision"] in target.capabilities.calibrated:
        try:
            require_pictures(calibration, f"{target.name} {want['precision']}")
        except UsageError as error:
            raise StageError("quantize_failed", error.message, hint=error.hint) from error
    artifact = target.export(
        ExportRequest(
            weights=request.inputs["weights"],
            output_dir=request.folder,
            stem=want["stem"],
            precision=want["precision"],
            image_size=(height, width),
            options=registry.parse_options(target.options_type, dict(want["options"]), f"option of {target.name}"),
            card_sha256=want["card_sha256"],
            calibration=calibration,
        )
    )
    # No output of the stage: the build adds the parity that it finds.
    write_sidecar(artifact)
    return StageResult(outputs={"artifact": artifact.path}, facts=_tools(artifact))


def compile_artifact(request: StageRequest) -> StageResult:
    """The portable graph to what its device runs. Parameters: format."""
    path = request.inputs["artifact"]
    target = registry.load_usable(request.parameters["format"])
    artifact = target.finish(Artifact(path, target.read_metadata(path)), request.folder)
    write_sidecar(artifact)
    return StageResult(outputs={"artifact": artifact.path}, facts=_tools(artifact))


def inspect_artifact(request: StageRequest) -> StageResult:
    """Static findings; a problem fails the target."""
    path = request.inputs["artifact"]
    target = registry.recognize(path)
    findings = target.inspect(Artifact(path, target.read_metadata(path)))
    facts = dict(findings.facts)
    if findings.problems:
        return StageResult("inspect_failed", "; ".join(findings.problems), "export again", facts=facts)
    return StageResult(facts=facts)


def verify_artifact(request: StageRequest) -> StageResult:
    """Tensors and masks against the reference, measured: gates are judged later. Places: pictures."""
    path = request.inputs["artifact"]
    try:
        artifact = load(path)
    except Exception as error:
        raise StageError(
            "load_failed", f"{path.name} does not load: {error}", hint="see the target's README"
        ) from error
    with artifact, load(request.inputs["weights"]) as reference:
        report = verify(reference, artifact, open_sources(list(request.places["pictures"])))
    content = verify_json(report, request.folder / "verify")
    for row in content["worst"]:
        # The folder is scratch, and a build's folder may move.
        row["picture"] = Path(row["picture"]).relative_to(request.folder).as_posix() if row["picture"] else ""
    content.update(artifact=path.name, reference=request.inputs["weights"].name)
    written = request.folder / "verify.json"
    write_atomically(written, (json.dumps(content, indent=1) + "\n").encode())
    measured = {key: value for key, value in content.items() if key not in ("passed", "gates", "not_judged")}
    return StageResult(outputs={"report": written}, facts=measured)


SHARED_STEPS: Mapping[str, Step] = {
    "weights": Step("weights", import_weights, "card_invalid", ("weights",)),
    "reference": Step("reference", validate_reference, "run_failed", ("weights",)),
}
"""What all targets share."""

TARGET_STEPS: tuple[Step, ...] = (
    Step("export", export_artifact, "export_failed", ("weights",)),
    Step("compile", compile_artifact, "compile_failed", ("artifact",), on_device=True),
    Step("inspect", inspect_artifact, "inspect_failed", ("artifact",)),
    Step("verify", verify_artifact, "run_failed", ("weights", "artifact"), on_device=True, portable=True),
    Step("validate", validate_artifact, "run_failed", ("artifact", "reference"), on_device=True, portable=True),
    Step("benchmark", time_artifact, "run_failed", ("artifact",), alone=True, on_device=True),
)
"""What every target runs through, in order; `reference` is there where the card has enough validation pictures, and
`compile` runs for targets whose artifact is finished by their device's own compiler."""

STEPS: Mapping[str, Step] = {**SHARED_STEPS, **{step.name: step for step in TARGET_STEPS}}


def _tools(artifact: Artifact) -> dict[str, Any]:
    metadata = dataclasses.asdict(artifact.metadata)
    kept = ("head", "dynamic", "batch", "tool_versions", "license", "options")
    return {**{key: metadata[key] for key in kept}, "artifact_mb": round(bytes_of(artifact.path) / 1e6, 3)}


def _names_problem(found: tuple[str, ...], wanted: list[str]) -> str:
    if len(found) != len(wanted):
        return f"weights of {len(found)} classes, the card has {len(wanted)}"
    i = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
    return f"class {i} of the weights is {found[i]!r}, the card says {wanted[i]!r}"
