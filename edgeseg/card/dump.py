"""A card's plain values as YAML that reads back as the same card."""

from __future__ import annotations

from typing import Any

import yaml

from edgeseg.card.document import scalar_value


class _Dumper(yaml.SafeDumper):
    """Also quotes text that YAML 1.2, which a card is read by, takes for a number: PyYAML knows 1.1, with no 1e3."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        plain = scalar_value(text) == text
    except ValueError:
        plain = False
    # Only double quotes have escapes; in any other style a line separator would be folded to a blank.
    style = '"' if not text.isprintable() else None if plain else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(content: dict[str, Any]) -> str:
    """YAML text of plain values; innermost lists and mappings stand on one line."""
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)
    return str(text)
