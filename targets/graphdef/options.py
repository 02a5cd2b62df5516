"""What a card may say under `options` of a graphdef target, and what `--option` sets when it runs."""

from __future__ import annotations

from ..saved_model.options import SavedModelOptions, SavedModelRunOptions


class GraphDefOptions(SavedModelOptions):
    """Export options: those of a SavedModel, which keeps the same graph."""


class GraphDefRunOptions(SavedModelRunOptions):
    """Run options."""
