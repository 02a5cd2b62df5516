"""A card file and its overrides to a checked `Card`. All mistakes are reported at once, each at its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgeseg.card.document import Document, KeyPath, read
from edgeseg.card.mistakes import note
from edgeseg.card.overrides import apply_override
from edgeseg.card.schema import Card
from edgeseg.errors import CardError, CardErrors

MAX_BYTES = 1_000_000
"""A card has some thousand bytes; a file this big is something else, such as weights."""

TRUTH_WORDS = ("yes", "no", "on", "off")
"""Truth values in YAML 1.1, text in 1.2: in a class name, readers of the file would disagree."""


@dataclass(frozen=True)
class LoadedCard:
    """A checked card and where each part of it stands.

    Attributes:
        card: the content.
        path: the file.
        sha256: of the content with overrides and every default; comments and order do not change it.
        document: places, for later checks.
        overrides: the ``KEY=VALUE`` texts that were applied.
    """

    card: Card
    path: Path
    sha256: str
    document: Document
    overrides: tuple[str, ...] = ()

    def error(self, keypath: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> CardError:
        """The error for a mistake found later.

        Args:
            keypath: such as ``("targets", 0, "precision")``; where the card has no such key, its parent is shown.
            message: what is wrong and what was expected.
            hint: the remedy.
            at_key: show the key in place of the value.
        """
        return self.document.error(self.document.place(keypath, at_key=at_key), message, hint)


def load_card(path: Path, overrides: Sequence[str] = ()) -> LoadedCard:
    """Read and check a card.

    Args:
        path: a YAML file.
        overrides: ``KEY=VALUE`` texts of `--set`, applied in order.

    Raises:
        CardError: it cannot be read, or something in it is wrong; `CardErrors` for several mistakes.
    """
    document = read(path, _text_of(path))
    root = document.value
    if not isinstance(root, dict):
        if not document.mistakes:
            document.add(document.place(()), "a card is a mapping of keys to values", "start with 'schema: 1'")
        raise combined(document.mistakes.values())
    for override in overrides:
        apply_override(document, override)
    _note_empty_values(document)
    _note_truth_words(document)
    try:
        card = Card.model_validate(root)
    except ValidationError as error:
        note(document, error, Card)
        raise combined(document.mistakes.values()) from None
    if document.mistakes:
        raise combined(document.mistakes.values())
    return LoadedCard(card, path, card.sha256(), document, tuple(overrides))


def combined(errors: Iterable[CardError]) -> CardError:
    """One error for at least one: itself, or all of them in the order of the file."""
    ordered = sorted(errors, key=lambda error: (error.line, error.column))
    return ordered[0] if len(ordered) == 1 else CardErrors(ordered)


def _text_of(path: Path) -> str:
    remedy = "cards/ has complete examples"
    try:
        if not path.exists():
            raise CardError("no such file", path=path, hint=remedy)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no regular file"
            raise CardError(f"this is {what}, expected a YAML file", path=path, hint=remedy)
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CardError(
                f"{size:,} bytes, a card has at most {MAX_BYTES:,}", path=path, hint="is this the weights file?"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise CardError(f"cannot be read: {error}", path=path) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise CardError(
            f"not UTF-8 text: byte {data[error.start]:#04x}",
            path=path,
            line=before.count("\n") + 1,
            column=len(before) - before.rfind("\n"),
            hint="save it as UTF-8",
        ) from error


def _note_empty_values(document: Document) -> None:
    """No key of a card means anything without a value: `train:` alone could be read as absent or as all defaults."""
    for keypath, place in list(document.values.items()):
        free = keypath[:1] == ("targets",) and keypath[2:3] == ("options",) and len(keypath) > 3
        if keypath and not free and _value_at(document, keypath) is None:
            document.add(place, f"{keypath[-1]!r} has no value", "write a value, or remove the key")


def _value_at(document: Document, keypath: KeyPath) -> object:
    node = document.value
    for part in keypath:
        inside = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if not inside:
            return ""
        node = node[part]
    return node


def _note_truth_words(document: Document) -> None:
    for keypath in sorted(document.unquoted, key=str):
        name = _value_at(document, keypath)
        if keypath[:2] == ("model", "classes") and isinstance(name, str) and name.lower() in TRUTH_WORDS:
            document.add(
                document.place(keypath),
                f"the class name {name} is a truth value for many YAML readers",
                f"put it in quotes: '{name}'",
            )
