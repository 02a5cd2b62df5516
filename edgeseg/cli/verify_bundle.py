"""The part of `edgeseg verify` that takes a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.cli.output import emit_json, parse_pairs, progress_bar
from edgeseg.cli.verify_text import print_gates, print_verification

FIXED = ("against", "pictures", "gate", "score", "iou")
"""Options that a bundle decides itself."""


def run(bundle: Path, asked: Mapping[str, Any]) -> None:
    """Check a bundle, write and print its result.

    Args:
        bundle: the tar.
        asked: options of the command by name; those in `FIXED` only where the user gave them.

    Raises:
        UsageError: an option that is not for bundles.
        GateError: a gate is not met.
        EnvironmentMissingError: the runtime or the hardware is not here.
        StageError: it cannot be compiled, opened or run.
    """
    from edgeseg.bundle.check import RUNS, verify_bundle
    from edgeseg.bundle.result import FILE_NAME, error_of
    from edgeseg.errors import UsageError

    given = [name for name in FIXED if asked[name] not in (None, ())]
    if given:
        raise UsageError(f"--{given[0]}: a bundle has its own", hint="verify the artifact itself where its weights are")
    with progress_bar("verify", None) as advance:
        content = verify_bundle(
            bundle,
            run_options=parse_pairs(asked["option"], "--option"),
            runs=RUNS if asked["runs"] is None else asked["runs"],
            progress=lambda _: advance(),
            finished=asked["finished"],
            worst=asked["worst"],
        )
    emit_json(content, str(asked["result"] or bundle.with_name(FILE_NAME)))
    if asked["json_file"]:
        emit_json(content, asked["json_file"])
    if asked["json_file"] != "-":
        _print(content)
    error = error_of(content, bundle)
    if error is not None:
        raise error


def _print(content: Mapping[str, Any]) -> None:
    if content["verify"]:
        print_verification({**content["verify"], "gates": content["gates"]})
    else:
        print_gates(content["gates"])
    if content["benchmark"] is not None:
        from rich.console import Console

        latency, peak = content["benchmark"]["latency_ms"], content["benchmark"]["peak_rss_mb"]
        memory = "" if peak is None else f", peak memory {peak:.0f} MB"
        Console(markup=False, highlight=False).print(
            f"{content['benchmark']['runs']} runs: p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms{memory}",
            soft_wrap=True,
        )
