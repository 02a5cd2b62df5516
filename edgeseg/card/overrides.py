"""``--set KEY=VALUE`` over a read card, before it is checked, so that both go through the same checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.card.document import Document, KeyPath, Place, read


def apply_override(document: Document, text: str) -> None:
    """Put one override into `document`; what is wrong with it goes to its `mistakes`.

    Args:
        document: a read card whose value is a mapping.
        text: ``KEY=VALUE``; the key is a dotted path such as ``train.epochs`` or ``targets.0.precision``, the
            value is YAML.
    """
    key, equals, value = text.partition("=")
    place = Place(0, 0, key.strip() or text)
    if not equals or not key.strip() or not all(part.strip() for part in key.split(".")):
        document.add(place, "expected KEY=VALUE", "such as --set train.epochs=20 or --set targets.0.precision=fp16")
        return
    if not value.strip():
        document.add(place, "no value after '='", "such as --set train.epochs=20; write '' for an empty text")
        return
    given = read(Path("--set"), value)
    if given.mistakes:
        first = next(iter(given.mistakes.values()))
        document.add(place, f"{value!r} is no value: {first.message}", first.hint)
        return
    try:
        parts = key.strip().split(".")
        keypath = _put(document, parts, _from_here(parts, given.value), place)
    except LookupError as error:
        document.add(place, str(error.args[0]), str(error.args[1]))
        return
    for inner in given.values:
        document.values[(*keypath, *inner)] = place
        document.keys[(*keypath, *inner)] = place
    document.unquoted |= {(*keypath, *inner) for inner in given.unquoted}


PATHS = ("data.root", "data.train", "data.val", "data.images", "data.calibration.from", "weights.path")
"""Keys whose values are paths; a mapping's values are paths too."""

SPLITS = ("train", "val")
"""Values of data.calibration.from that are no paths."""


def from_anywhere(text: str) -> str:
    """The override of the same meaning from any folder: its path, where it has one, made absolute."""
    key, _, value = text.partition("=")
    return f"{key}={_from_here(key.strip().split('.'), value)}"


def _from_here(parts: list[str], value: Any) -> Any:
    """A path on the command line that exists from where the user stands means that file.

    Any other is read as in the card: from the data root, or the card's folder.
    """
    key = ".".join(parts)
    if not any(key == path or key.startswith(f"{path}.") for path in PATHS):
        return value
    if isinstance(value, dict):
        return {name: _from_here(parts, item) for name, item in value.items()}
    is_path = isinstance(value, str) and value and value not in SPLITS
    return str(Path(value).absolute()) if is_path and Path(value).exists() else value


def _put(document: Document, parts: list[str], value: Any, place: Place) -> KeyPath:
    """Walk to the parent, making mappings on the way, and put the value there."""
    node: Any = document.value
    keypath: KeyPath = ()
    for position, part in enumerate(parts):
        step = _step(node, part, ".".join(parts[:position]))
        keypath = (*keypath, step)
        if position == len(parts) - 1:
            _forget(document, keypath)
            node[step] = value
        elif isinstance(node, dict) and node.get(step) is None:
            node[step] = {}
            document.values[keypath] = document.keys[keypath] = place
        node = node[step]
    return keypath


def _step(node: Any, part: str, parent: str) -> str | int:
    """The key or index that `part` means in `node`; a `LookupError` of message and hint where there is none."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise LookupError(f"{parent!r} is {node!r}, which has no keys", f"set it whole: --set {parent}=...")
    if not part.isdecimal() or len(part) > 4 or int(part) >= len(node):
        raise LookupError(
            f"{parent!r} is a list of {len(node)}, {part!r} is no place in it",
            f"count from 0 to {len(node) - 1}" if node else f"set it whole: --set '{parent}=[...]'",
        )
    return int(part)


def _forget(document: Document, keypath: KeyPath) -> None:
    """Drop the places under a value that is replaced, and the mistakes that stood there."""
    length = len(keypath)
    for table in (document.keys, document.values):
        for old in [known for known in table if known[:length] == keypath]:
            document.mistakes.pop(table.pop(old), None)
    document.unquoted = {known for known in document.unquoted if known[:length] != keypath}
