"""What the Edge TPU compiler prints, as numbers. Its words are those of compilers 14 to 16, as users quote them."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAPPED = "Mapped to Edge TPU"
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
ROW = re.compile(r"^([A-Za-z][\w.-]*)[ \t]+(\d+)[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
"""An operator, how many of it, what became of them."""

FAILURES = (
    r"^Compilation failed: (.+)$",
    r"^ERROR: (Didn't find op .+)$",
    r"^ERROR: (Did not get .+)$",
    r"^(Model could not be parsed)$",
    r"^(Internal compiler error.*)$",
    r"^(Invalid model: .+)$",
    r"^(Compilation failed!)$",
)
"""What says why there is no compiled file, the most telling first."""


@dataclass(frozen=True)
class CompilerLog:
    """A compiler's output.

    Attributes:
        version: of the compiler; empty where the text does not say.
        failure: why there is no compiled file; empty where it says nothing of that kind.
        operations: how many the network has.
        mapped: how many of them run on the Edge TPU.
        subgraphs: parts that run there.
        on_chip: bytes of parameters that stay there.
        on_chip_free: bytes left for more.
        off_chip: bytes of parameters that are sent again for each run.
        rows: operator, how many, what became of them.
    """

    version: str = ""
    failure: str = ""
    operations: int | None = None
    mapped: int | None = None
    subgraphs: int | None = None
    on_chip: int | None = None
    on_chip_free: int | None = None
    off_chip: int | None = None
    rows: tuple[tuple[str, int, str], ...] = ()

    @property
    def share(self) -> float | None:
        """Mapped operations as a share of all, 0..1; None where the text does not tell."""
        return self.mapped / self.operations if self.operations and self.mapped is not None else None

    def on_processor(self) -> str:
        """Operators that stay on the processor, each with the compiler's word for why."""
        return "; ".join(f"{kind} {count}: {status}" for kind, count, status in self.rows if status != MAPPED)


def parse(text: str) -> CompilerLog:
    """Read a compiler's output, or the operation log that it writes.

    A delegate search tries several times; what counts is what it printed last.

    Args:
        text: all of it.

    Returns:
        None in every field that it does not tell.
    """
    version = VERSION.search(text)
    last = text.rpartition("Started a compilation timeout timer")[2]
    rows = tuple((kind, int(count), status) for kind, count, status in ROW.findall(last) if _is_status(status))
    total = _number(last, r"Total number of operations: (\d+)")
    mapped = _number(last, r"Number of operations that will run on Edge TPU: (\d+)")
    if rows:
        total = sum(count for _, count, _ in rows) if total is None else total
        found = sum(count for _, count, status in rows if status == MAPPED)
        mapped = found if mapped is None else mapped
    subgraphs = _number(last, r"Number of Edge TPU subgraphs: (\d+)")
    return CompilerLog(
        version[1] if version else "",
        "" if subgraphs is not None else _failure(last),
        total,
        mapped,
        subgraphs,
        _bytes(last, "On-chip memory used for caching model parameters"),
        _bytes(last, "On-chip memory remaining for caching model parameters"),
        _bytes(last, "Off-chip memory used for streaming uncached model parameters"),
        rows,
    )


def _is_status(text: str) -> bool:
    """Whether this is what becomes of an operator; other lines of three columns are not in the table."""
    return text == MAPPED or bool(re.match(r"(Operation|Tensor|More than one|Input|Output|Op)\b", text))


def _failure(text: str) -> str:
    return next((found[1].strip() for line in FAILURES if (found := re.search(line, text, re.MULTILINE))), "")


def _number(text: str, pattern: str) -> int | None:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else None


def _bytes(text: str, what: str) -> int | None:
    found = re.findall(rf"{what}: ([\d.]+)(B|KiB|MiB|GiB)\b", text)
    return round(float(found[-1][0]) * UNITS[found[-1][1]]) if found else None
