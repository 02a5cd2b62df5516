"""Whether ncnn's programs for int8 are here."""

from __future__ import annotations

import shutil

TABLE_TOOL = "ncnn2table"
WRITE_TOOL = "ncnn2int8"


def quantised_precisions() -> tuple[str, ...]:
    """int8 where both programs are on PATH."""
    return ("int8",) if shutil.which(TABLE_TOOL) and shutil.which(WRITE_TOOL) else ()
