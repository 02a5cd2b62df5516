"""YAML text to plain values, with the line and column of every key and value.

A card needs mappings, lists and scalars; what else YAML has (anchors, merge keys, tags, several documents) is
refused, which also keeps a hostile file small in memory. Scalars are read by the core schema of YAML 1.2,
where only true and false are truth values, 010 is ten and 1e-3 a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import yaml

from edgeseg.errors import CardError, OverrideError

KeyPath = tuple[str | int, ...]

MAX_DEPTH = 20
MAX_MISTAKES = 100
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What PyYAML counts as the end of a line."""


@dataclass(frozen=True)
class Place:
    """Where a key or value stands.

    Attributes:
        line: 1-based; 0 for a value that a `--set` brought.
        column: 1-based, in characters.
        override: the key of that `--set`.
    """

    line: int
    column: int
    override: str = ""


@dataclass
class Document:
    """A read document.

    Attributes:
        path: the file, for messages.
        lines: its text.
        value: plain values: dict, list, str, int, float, bool, None.
        keys: key path to the place of the key.
        values: key path to the place of the value.
        unquoted: key paths of scalars without quotes.
        mistakes: what is wrong so far, by place: the first mistake at a place hides later ones.
    """

    path: Path
    lines: tuple[str, ...] = ()
    value: Any = None
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    unquoted: set[KeyPath] = field(default_factory=set)
    mistakes: dict[Place, CardError] = field(default_factory=dict)

    def place(self, keypath: KeyPath, *, at_key: bool = False) -> Place:
        """The place of a value or its key; of the nearest parent's key where there is none."""
        exact = (self.keys if at_key else self.values).get(keypath) or self.values.get(keypath)
        if exact is not None:
            return exact
        for length in range(len(keypath) - 1, 0, -1):
            parent = keypath[:length]
            if parent in self.values:
                return self.keys.get(parent) or self.values[parent]
        return self.values.get((), Place(1, 1))

    def error(self, place: Place, message: str, hint: str = "") -> CardError:
        """The error at a place."""
        if place.override:
            return OverrideError(message, path=self.path, key=place.override, hint=hint)
        source = self.lines[place.line - 1] if 0 < place.line <= len(self.lines) else ""
        # A control character must not reach the terminal.
        shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in source)
        return CardError(message, path=self.path, line=place.line, column=place.column, source=shown, hint=hint)

    def without_mistakes(self) -> Document:
        """The same places, with nothing noted, for another round of checks."""
        return replace(self, mistakes={})

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Note a mistake; one a place, and not more than anybody would read."""
        if place not in self.mistakes and len(self.mistakes) < MAX_MISTAKES:
            self.mistakes[place] = self.error(place, message, hint)


class UnreadableError(Exception):
    """Reading cannot go on; the mistake is noted in the document."""


def read(path: Path, text: str) -> Document:
    """Read a document; syntax mistakes are in `mistakes`, after which `value` may be partial or None."""
    document = Document(path, tuple(LINE_BREAK.split(text)))
    tab = text.find("\t")
    if tab >= 0:
        document.add(_place_of(text, tab), "a tab; YAML is indented with spaces", "replace it by spaces")
        return document
    try:
        _Reader(document, text).read()
    except UnreadableError:
        document.value = None
    return document


class _Reader:
    """One pass over the YAML events; recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, document: Document, text: str) -> None:
        self.document = document
        self.text = text

    def read(self) -> None:
        try:
            self.loader = yaml.SafeLoader(self.text)
        except yaml.reader.ReaderError as error:
            self.fail(_place_of(self.text, error.position), f"the character {error.character!r} is not allowed in YAML")
        self.next()
        if isinstance(self.next(), yaml.StreamEndEvent):
            self.fail(Place(1, 1), "the file is empty", "start from a card in cards/, or see docs/cards.md")
        self.document.value = self.node(self.next(), ())
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            self.fail(_start(event), "a second YAML document", "one file holds one card: remove the '---' line")

    def fail(self, place: Place, message: str, hint: str = "") -> NoReturn:
        self.document.add(place, message, hint)
        raise UnreadableError

    def next(self) -> yaml.Event:
        try:
            event: yaml.Event = self.loader.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
            context = f" {error.context}" if error.context else ""
            self.fail(
                place, f"broken YAML{context}: {error.problem}", "look at brackets, quotes, colons and indents here"
            )
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # An escape such as "\UFFFFFFFF" leaves PyYAML as an error of chr().
            mark = self.loader.get_mark()
            self.fail(Place(mark.line + 1, mark.column + 1), f"broken YAML: {error}")
        return event

    def node(self, event: yaml.Event, keypath: KeyPath) -> Any:
        """The value that starts with `event`."""
        place = _start(event)
        self.document.values[keypath] = place
        if len(keypath) > MAX_DEPTH:
            self.fail(place, f"nested deeper than {MAX_DEPTH} levels", "a card is flat; see docs/cards.md")
        if isinstance(event, yaml.AliasEvent):
            self.document.add(place, f"an alias, *{event.anchor}", "write the value out: a card is flat")
            return None
        self.check_properties(event, place)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(keypath)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, keypath)
        return self.sequence(keypath)

    def check_properties(self, event: yaml.Event, place: Place) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            self.document.add(place, f"an anchor, &{anchor}", "remove it: a card is flat and has no aliases")
        if tag:
            self.document.add(place, f"a tag, {tag!r}", "remove it: a card holds plain values")

    def mapping(self, keypath: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            place = _start(event)
            key = self.key(event, place)
            name = key if key is not None and key not in found else f"{key} at {place.line}:{place.column}"
            if key is not None and name != key:
                first = self.document.keys[(*keypath, key)]
                self.document.add(
                    place, f"duplicate key {key!r}", f"it stands in line {first.line} already: remove one"
                )
            self.document.keys[(*keypath, name)] = place
            value = self.node(self.next(), (*keypath, name))
            if name == key:
                found[key] = value
        return found

    def key(self, event: yaml.Event, place: Place) -> str | None:
        """The key's text; None where it is none, after noting why."""
        if not isinstance(event, yaml.ScalarEvent):
            self.fail(place, "a key that is no plain word", "a key is text, such as 'name'")
        self.check_properties(event, place)
        if event.style is None and event.value == "<<":
            self.document.add(place, "a merge key, <<", "write the values out: a card is flat")
            return None
        if event.style is None and any(pattern.fullmatch(event.value) for pattern, _ in CORE_SCHEMA):
            self.document.add(place, f"the key {event.value!r} is no text", f"write it in quotes: '{event.value}'")
            return None
        return str(event.value)

    def sequence(self, keypath: KeyPath) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            found.append(self.node(event, (*keypath, len(found))))
        return found

    def scalar(self, event: yaml.ScalarEvent, keypath: KeyPath) -> Any:
        text = str(event.value)
        if any("\ud800" <= char <= "\udfff" for char in text):
            self.document.add(_start(event), "half of a surrogate pair, which is no character", "write the character")
            return ""
        if event.style is not None:
            return text
        self.document.unquoted.add(keypath)
        try:
            return scalar_value(text)
        except ValueError as error:
            self.document.add(_start(event), f"{text[:40]!r}: {error}", "write a smaller number, or text in quotes")
            return 0


def scalar_value(text: str) -> str | int | float | bool | None:
    """An unquoted scalar's value by the core schema (YAML 1.2.2, section 10.3.2).

    Infinities and NaN stay text: no number in a card may be one.

    Raises:
        ValueError: a number too large to keep.
    """
    for pattern, convert in CORE_SCHEMA:
        if pattern.fullmatch(text):
            value: int | float | bool | None = convert(text)
            return value
    return text


def _integer(text: str, base: int = 10) -> int:
    # More digits than a 64-bit integer has are a slip, and Python refuses some thousands of them.
    if len(text) > 20:
        raise ValueError("the number has too many digits")
    return int(text, base)


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("the number is out of range")
    return value


CORE_SCHEMA: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile("|~|null|Null|NULL"), lambda text: None),
    (re.compile("true|True|TRUE"), lambda text: True),
    (re.compile("false|False|FALSE"), lambda text: False),
    (re.compile("[-+]?[0-9]+"), _integer),
    (re.compile("0o[0-7]+"), lambda text: _integer(text, 8)),
    (re.compile("0x[0-9a-fA-F]+"), lambda text: _integer(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), _float),
)


def _start(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _place_of(text: str, position: int) -> Place:
    before = LINE_BREAK.split(text[:position])
    return Place(len(before), len(before[-1]) + 1)
