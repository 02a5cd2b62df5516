"""What the sizes in memory let expect, and the input size that should fit: a prediction, no compiler was asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .mapping import Mapping
from .memory import USABLE_BYTES, Memory

STRIDE = 32
"""Sizes of the network's input are multiples of it."""

MEBI = 1 << 20

WHOLE_UP_TO = (192, 192)
"""The largest input at which a user reports that YOLOv8n runs wholly on the Edge TPU ("n at 192"), pixels."""

REPORTS = (
    (192 * 192, "users report that YOLOv8n maps wholly up to 192", "n at 192"),
    (
        320 * 320,
        "users report that YOLOv8n with decoding in the file maps wholly or nearly so at 224 and leaves operations on "
        "the processor at 320, its reshapes and transposes among them, which a raw head does without",
        "n at 224",
    ),
    (
        math.inf,
        "users report that decoding stays on the processor for YOLOv8n at 640, nearly everything for YOLOv8s, and "
        "that the compiler failed on YOLOv5s for large activations at 352 and 480",
        "n at 640",
    ),
)
"""Pixels of the input up to which a report is the nearest one, what it says, and its key in `SOURCES`."""


WORDS = {
    "wholly": "no rule known here keeps an operation from the Edge TPU",
    "uncached": "no rule known here keeps an operation from the Edge TPU; parameters do not all stay on the chip",
    "too large": "tensors larger than the chip: where that was reported, most operations stayed on the processor",
    "in part": "operations stay on the processor",
    "refused": "the compiler does not read the file",
}
"""Verdict, and what it means. The second and third rest on sizes alone, by a rule of thumb of ours."""


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of a file.

    Attributes:
        word: of `WORDS`.
        reason: why, in a sentence.
        source: key of `SOURCES` for it.
        report: what users saw at such a size, and its key.
        suggested: (height, width) of the largest input of the same shape that should map wholly with all parameters
            on the chip; None where an operation is not mapped at any size.
    """

    word: str
    reason: str
    source: str
    report: tuple[str, str]
    suggested: tuple[int, int] | None


def outlook(mapping: Mapping, memory: Memory, image_size: tuple[int, int]) -> Outlook:
    """Judge a file by its operations, then by its memory.

    Args:
        mapping: what the table says about its operations.
        memory: what it needs.
        image_size: (height, width) of its input, pixels.
    """
    height, width = image_size
    nearest = next((text, source) for area, text, source in REPORTS if height * width <= area)
    needed = (
        f"{memory.peak / MEBI:.2f} MiB of tensors are alive at once ({memory.peak_at}), parameters take "
        f"{memory.parameters / MEBI:.2f} MiB, and the chip has about {USABLE_BYTES / MEBI:.0f} MiB beside its program"
    )
    suggested = fitting(memory, image_size)
    if mapping.objections:
        first = mapping.objections[mapping.prefix]
        word = "refused" if mapping.refused else "in part"
        return Outlook(word, mapping.first, first.source, nearest, None)
    if memory.peak > USABLE_BYTES:
        return Outlook("too large", needed, "s at 640", nearest, suggested)
    if memory.peak + memory.parameters > USABLE_BYTES:
        return Outlook("uncached", needed, "compiler", nearest, suggested)
    return Outlook("wholly", needed, "compiler", nearest, suggested)


def fitting(memory: Memory, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """The largest input of about the same shape whose tensors fit beside all parameters; None where none does.

    What is alive grows with the number of pixels, since every tensor of the network does.
    """
    left = USABLE_BYTES - memory.parameters
    if left <= 0:
        return None
    factor = math.sqrt(left / memory.peak)
    height, width = (int(side * factor / STRIDE) * STRIDE for side in image_size)
    return (height, width) if height and width else None
