"""What pydantic finds, put into a user's words at the exact place in the card."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgeseg.card.document import MAX_MISTAKES, Document, KeyPath
from edgeseg.errors import did_you_mean

Schema = Mapping[str, Any]

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
"""pydantic's error type to what was expected, where its own words are Python's."""


def note(document: Document, error: ValidationError, model: type[BaseModel], prefix: KeyPath = ()) -> None:
    """Add every mistake of `error` to the document.

    Args:
        document: what was validated, or the whole around it.
        error: from validating the value at `prefix`.
        model: what it was validated against.
        prefix: where that value stands in the document.
    """
    found = [(_keypath(document, prefix, detail), detail) for detail in error.errors()[:MAX_MISTAKES]]
    parents = {keypath[:length] for keypath, _ in found for length in range(len(keypath))}
    for keypath, detail in found:
        # "too short" of a list whose items are wrong only repeats the items' own mistakes.
        if keypath in parents and detail["type"] in ("too_short", "too_long"):
            continue
        message, hint = _words(detail, keypath, model, len(prefix))
        at_key = detail["type"] == "extra_forbidden"
        document.add(document.place(keypath, at_key=at_key), message, hint)


def _keypath(document: Document, prefix: KeyPath, detail: ErrorDetails) -> KeyPath:
    """pydantic's location without the tags of its unions, which are no keys of the document."""
    node = document.value
    for part in prefix:
        node = node[part]
    keypath = prefix
    steps = (*detail["loc"], *((at,) if (at := detail.get("ctx", {}).get("at")) is not None else ()))
    for index, part in enumerate(steps):
        inside = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if inside:
            node = node[part]
        elif not (index == len(steps) - 1 and detail["type"] == "missing"):
            continue
        keypath = (*keypath, part)
    return keypath


def _words(detail: ErrorDetails, keypath: KeyPath, model: type[BaseModel], skip: int) -> tuple[str, str]:
    """Message and hint of one mistake; the first `skip` parts of the key path lead to the model."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    named = len(keypath)
    while named > skip and not isinstance(keypath[named - 1], str):
        named -= 1
    key = str(keypath[named - 1]) if named else "card"
    schema = schema_at(_schema(model), keypath[skip:named])
    about = str(schema.get("description", ""))
    if kind == "extra_forbidden":
        known = schema_at(_schema(model), keypath[skip:-1]).get("properties", {})
        return f"unknown key {key!r}", did_you_mean(key, known)
    if kind == "missing":
        return f"missing key {key!r}", f"{key}: {about}" if about else ""
    if kind == "literal_error":
        return f"{key}: expected {context['expected']}, got {brief(value)}", _closest(value, schema)
    if kind in EXPECTED:
        return f"{key}: expected {EXPECTED[kind]}, got {brief(value)}", _conversion(kind, value) or about
    if "hint" in context:
        return f"{key}: {detail['msg']}", str(context["hint"])
    for python, plain in (("Input should be", "expected"), ("String should", "text should"), ("Tuple", "list")):
        detail["msg"] = detail["msg"].replace(python, plain)
    return f"{key}: {detail['msg']}, got {brief(value)}".replace(" after validation", ""), about


def _conversion(kind: str, value: object) -> str:
    """How to write `value` so that it has the expected type; empty where that is not plain."""
    if kind == "string_type" and not isinstance(value, list | dict):
        return f"put it in quotes: '{yaml_word(value)}'"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        return f"write {'true' if value.lower() in ('yes', 'on') else 'false'}"
    if kind in ("int_type", "float_type") and isinstance(value, str) and value.replace(".", "", 1).isdigit():
        return f"write it without quotes: {value}"
    return ""


def yaml_word(value: object) -> str:
    """A scalar as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def brief(value: object) -> str:
    """A value for a message: short, and as YAML shows it."""
    text = repr(value) if isinstance(value, str | list | dict) else yaml_word(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _closest(value: object, schema: Schema) -> str:
    choices = [str(choice) for choice in (*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ()))]
    return did_you_mean(str(value), choices) if isinstance(value, str) and choices else str(schema["description"])


@functools.lru_cache(maxsize=32)
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(by_alias=True)


def schema_at(root: Schema, keypath: KeyPath) -> Schema:
    """The JSON Schema of the value at a key path, empty where the schema says nothing about it."""
    node = root
    for part in keypath:
        node = next((inner for branch in _branches(root, node) if (inner := _step(branch, part)) is not None), {})
    merged: dict[str, Any] = {}
    for branch in _branches(root, node):
        merged = {**branch, **merged}
    return merged


def _branches(root: Schema, node: Schema) -> list[Schema]:
    """The node, and what it refers to or chooses from."""
    inner = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if "$ref" in node:
        inner.append(root["$defs"][node["$ref"].rsplit("/", 1)[1]])
    return [node, *(branch for child in inner for branch in _branches(root, child))]


def _step(node: Schema, part: str | int) -> Schema | None:
    if isinstance(part, str):
        extra = node.get("additionalProperties")
        return node.get("properties", {}).get(part) or (extra if isinstance(extra, dict) else None)
    return node.get("items") or next(iter(node.get("prefixItems", ())), None)
