"""Plain words for what a report names: outcomes of targets, gates, and why a gate was not judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from edgeseg.errors import UsageError
from edgeseg.report.numbers import NOT_FINITE

State = Literal["passed", "failed", "open"]
"""Colour and symbol of an outcome; ``open`` is neither good nor bad, such as a target not built here."""

Words = TypeVar("Words")


@dataclass(frozen=True)
class OutcomeWords:
    """An outcome for people.

    Attributes:
        state: how it is shown.
        label: two to four words.
        meaning: a clause that explains the label.
    """

    state: State
    label: str
    meaning: str


@dataclass(frozen=True)
class GateWords:
    """A gate for people.

    Attributes:
        label: what is measured.
        unit: of the measured value, empty for a share or a plain number.
        needs: what has to run before it can be judged.
    """

    label: str
    unit: str
    needs: str


OUTCOMES: Mapping[str, OutcomeWords] = {
    "passed": OutcomeWords("passed", "passed", "every gate judged in this build is met"),
    "parity_failed": OutcomeWords("failed", "differs", "it runs, but is not the reference within its gates"),
    "metric_failed": OutcomeWords("failed", "too inaccurate", "its accuracy on the validation set misses a gate"),
    "budget_failed": OutcomeWords("failed", "over budget", "it is slower or larger than a gate allows"),
    "card_invalid": OutcomeWords("failed", "card invalid", "the card asks for what cannot be built"),
    "export_failed": OutcomeWords("failed", "export failed", "the exporter stopped, there is no artifact"),
    "quantize_failed": OutcomeWords("failed", "quantising failed", "the quantiser stopped, there is no artifact"),
    "compile_failed": OutcomeWords("failed", "compiling failed", "the vendor's compiler stopped"),
    "inspect_failed": OutcomeWords("failed", "not as asked", "the artifact is not what the card asks for"),
    "load_failed": OutcomeWords("failed", "does not load", "its runtime refuses the artifact"),
    "run_failed": OutcomeWords("failed", "does not run", "its comparison, validation or timing stopped"),
    "deferred": OutcomeWords("open", "to finish on its device", "what is left to do needs the device itself"),
    "env_missing": OutcomeWords("open", "not built here", "a package, tool or device that it needs is absent"),
    "skipped": OutcomeWords("open", "skipped", "it was not attempted"),
}
"""Every outcome word of design.md, section 6."""

_VERIFY = "the comparison with the reference"
_LATENCY = "a benchmark on the device"
_COMPILER = "its compiler's log"

GATES: Mapping[str, GateWords] = {
    "score_error_max": GateWords("largest score error", "", _VERIFY),
    "box_error_px_max": GateWords("largest box error", "px", _VERIFY),
    "matched_fraction_min": GateWords("share of instances matched", "", _VERIFY),
    "mask_iou_min": GateWords("smallest mask IoU", "", _VERIFY),
    "mask_iou_median_min": GateWords("median mask IoU", "", _VERIFY),
    "ap_retention_min": GateWords("mask AP kept", "", "a validation of both sides on annotated pictures"),
    "mask_ap_min": GateWords("mask AP", "", "a validation on annotated pictures"),
    "mask_ap50_min": GateWords("mask AP50", "", "a validation on annotated pictures"),
    "latency_p50_ms_max": GateWords("median latency", "ms", _LATENCY),
    "latency_p95_ms_max": GateWords("95th percentile of latency", "ms", _LATENCY),
    "artifact_mb_max": GateWords("size of the artifact", "MB", "a check of budgets"),
    "peak_rss_mb_max": GateWords("peak memory", "MB", _LATENCY),
    "mapped_share_min": GateWords("share of operations on the accelerator", "", _COMPILER),
    "subgraphs_max": GateWords("parts on the accelerator", "", _COMPILER),
}
"""Every field of `edgeseg.gates.Gates`."""

ENVIRONMENTS: Mapping[str, str] = {
    "process": "the Python that ran the build",
    "venv": "a venv of the target's own",
    "docker": "a container image",
}
"""Every kind of `edgeseg.environments.contract.Environment`."""

DATA_LISTS: Mapping[str, str] = {
    "verify": "Pictures compared",
    "val": "Pictures validated on",
    "calibration": "Pictures for calibration",
}
"""Every name of a list of data in `build.json`."""


def words_for(table: Mapping[str, Words], name: str, what: str) -> Words:
    """The words for a name of build.json.

    Raises:
        UsageError: this version of edgeseg does not know the name.
    """
    if name not in table:
        raise UsageError(
            f"build.json has the {what} {name!r}, which this version of edgeseg does not know",
            hint="known: " + ", ".join(table),
        )
    return table[name]


def counted(number: int, word: str) -> str:
    """A number with its word, "1 crowd" or "2 crowds"."""
    return f"{number} {word}{'s' * (number != 1)}"


def counted_objects(objects: int, crowds: int) -> str:
    """How many objects, and how many crowds where there are any: a crowd is one mask for several objects."""
    return counted(objects, "object") + (f" and {counted(crowds, 'crowd')}" if crowds else "")


def fact_rows(facts: Mapping[str, Any], prefix: str = "", absent: str = NOT_FINITE) -> Iterator[tuple[str, str]]:
    """Names with values as text, nested ones as "outer: inner"; JSON's null as `absent`."""
    for key, value in facts.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from fact_rows(value, f"{name}: ", absent)
        elif isinstance(value, list | tuple):
            yield name, ", ".join(str(item) for item in value) or "none"
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        else:
            yield name, absent if value is None else str(value) or "not given"
