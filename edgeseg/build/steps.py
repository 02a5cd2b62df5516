"""The stages' functions, and the table of what each target runs through."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from typing import Any

from edgeseg import registry
from edgeseg.build.stage import StageRequest, StageResult, Work
from edgeseg.build.validation import validate_artifact
from edgeseg.errors import StageError, UsageError
from edgeseg.export import write_sidecar
from edgeseg.files import write_atomically
from edgeseg.gates import Gates
from edgeseg.predict import load
from edgeseg.report.schema import verify_json
from edgeseg.sources import open_sources
from edgeseg.target import Artifact, ExportRequest
from edgeseg.verify import VerifyOptions, verify


@dataclass(frozen=True)
class Step:
    """One stage of a target.

    Attributes:
        name: of the stage.
        work: its function.
        failure: the outcome word where it raises.
        inputs: names of the files that it reads; it runs only where all of them are there.
    """

    name: str
    work: Work
    failure: str
    inputs: tuple[str, ...]


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
    """The reference to one artifact. Parameters: format, precision, image_size, options, stem, card_sha256."""
    want = request.parameters
    target = registry.load_usable(want["format"])
    height, width = want["image_size"]
    artifact = target.export(
        ExportRequest(
            weights=request.inputs["weights"],
            output_dir=request.folder,
            stem=want["stem"],
            precision=want["precision"],
            image_size=(height, width),
            options=registry.parse_options(target.options_type, dict(want["options"]), f"option of {target.name}"),
            card_sha256=want["card_sha256"],
        )
    )
    # No output of the stage: `verify` adds the parity that it finds.
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
    """Tensors and masks against the reference. Parameters: pictures, gates."""
    path = request.inputs["artifact"]
    try:
        artifact = load(path)
    except Exception as error:
        raise StageError(
            "load_failed", f"{path.name} does not load: {error}", hint="see the target's README"
        ) from error
    with artifact, load(request.inputs["weights"]) as reference:
        options = VerifyOptions(gates=Gates(**request.parameters["gates"]))
        report = verify(reference, artifact, open_sources(list(request.parameters["pictures"])), options)
    content = verify_json(report, request.folder / "verify")
    written = request.folder / "verify.json"
    write_atomically(written, (json.dumps(content, indent=1) + "\n").encode())
    write_sidecar(Artifact(path, artifact.metadata), {"points": content["points"], "masks": content["masks"]})
    if report.passed:
        return StageResult(outputs={"report": written}, facts=content)
    message, hint = "; ".join(report.failures), "; ".join(report.diagnosis)
    return StageResult("parity_failed", message, hint, {"report": written}, content)


TARGET_STEPS: tuple[Step, ...] = (
    Step("export", export_artifact, "export_failed", ("weights",)),
    Step("inspect", inspect_artifact, "inspect_failed", ("artifact",)),
    Step("verify", verify_artifact, "run_failed", ("weights", "artifact")),
    Step("validate", validate_artifact, "run_failed", ("artifact", "reference")),
)
"""What every target runs through, in order; `reference` is there where the card has enough validation pictures."""


def _tools(artifact: Artifact) -> dict[str, Any]:
    metadata = dataclasses.asdict(artifact.metadata)
    kept = ("head", "dynamic", "batch", "tool_versions", "license", "options")
    size = artifact.path.stat().st_size if artifact.path.is_file() else 0
    return {**{key: metadata[key] for key in kept}, "artifact_mb": round(size / 1e6, 3)}


def _names_problem(found: tuple[str, ...], wanted: list[str]) -> str:
    if len(found) != len(wanted):
        return f"weights of {len(found)} classes, the card has {len(wanted)}"
    i = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
    return f"class {i} of the weights is {found[i]!r}, the card says {wanted[i]!r}"
