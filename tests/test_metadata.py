"""What an artifact says about itself survives JSON, and broken text is an error of ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgeseg.errors import ArtifactError
from edgeseg.metadata import ArtifactMetadata, Preprocessing
from edgeseg.tensors import decoded_output_specs, input_spec, raw_output_specs

PLAIN = ArtifactMetadata(
    format="onnx",
    precision="fp32",
    head="raw",
    names=("cat", "dog"),
    image_size=(64, 96),
    inputs=(input_spec((64, 96)),),
    outputs=raw_output_specs(2, (64, 96)),
)
FULL = replace(
    PLAIN,
    head="decoded",
    names=('it\'s a "ring"', "Käfer\n", ""),
    inputs=(input_spec(("height", "width"), "batch"),),
    outputs=decoded_output_specs(3, ("height", "width"), "batch"),
    dynamic=("batch", "size"),
    batch=4,
    preprocessing=Preprocessing("bgr", 0, 1.0, "linear"),
    name="n",
    scale="n",
    license="AGPL-3.0",
    weights_sha256="a" * 64,
    card_sha256="b" * 64,
    data="/sets/cats.json",
    images="/sets/photos",
    options={"opset": 17, "nested": {"list": [1, 2.5, None, True]}},
    tool_versions={"torch": "2.13"},
    producer="someone",
)


@pytest.mark.parametrize("metadata", [PLAIN, FULL], ids=["plain", "full"])
def test_metadata_survive_json(metadata: ArtifactMetadata) -> None:
    again = ArtifactMetadata.from_json(metadata.to_json(), "a.onnx")

    assert again == metadata
    assert again.to_json() == metadata.to_json()
    assert again.num_classes == len(metadata.names)


def test_the_text_does_not_depend_on_the_order_of_options() -> None:
    one = replace(PLAIN, options={"a": 1, "b": 2}).to_json()

    assert one == replace(PLAIN, options={"b": 2, "a": 1}).to_json()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"text"', "{}", '{"schema": 1}', "[" * 100_000, '{"a":' * 100_000, "\ud800"],
    ids=lambda text: ascii(text[:14]),
)
def test_broken_json_is_refused_with_the_artifacts_name(text: str) -> None:
    with pytest.raises(ArtifactError, match="not readable") as caught:
        ArtifactMetadata.from_json(text, "a.onnx")
    assert caught.value.message.startswith("a.onnx: ")


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(PLAIN.to_json()), **values})


@pytest.mark.parametrize("version", [0, 2, "1", None], ids=repr)
def test_another_schema_is_refused_with_both_numbers(version: Any) -> None:
    with pytest.raises(ArtifactError, match=f"schema {version}, expected 1"):
        ArtifactMetadata.from_json(changed(schema=version), "a.onnx")


@pytest.mark.parametrize(
    "values",
    [
        {"names": "ab"}, {"names": [1, 2]}, {"names": None}, {"names": {"0": "cat"}},
        {"head": "yolo"}, {"head": ["raw"]},
        {"image_size": [64]}, {"image_size": "64"}, {"image_size": [None, 1]}, {"image_size": [0, 64]},
        {"inputs": [{}]}, {"inputs": [1]}, {"outputs": None}, {"outputs": [{"name": "a", "shape": 3}]},
        {"preprocessing": {}, "unheard_of": 1}, {"preprocessing": {"channel_order": "BGR"}},
        {"preprocessing": {"resize": "area"}}, {"preprocessing": {"gamma": 2}}, {"preprocessing": None},
        {"data": 5}, {"images": None},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_would_be_read_wrongly_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="not readable"):
        ArtifactMetadata.from_json(changed(**values), "a.onnx")


def test_a_file_from_before_data_was_remembered_has_none() -> None:
    data = json.loads(PLAIN.to_json())
    del data["data"], data["images"]
    found = ArtifactMetadata.from_json(json.dumps(data), "a.onnx")
    assert (found.data, found.images) == ("", "")


def test_an_absent_field_is_refused() -> None:
    data = json.loads(PLAIN.to_json())
    for name in ("format", "precision", "head", "names", "image_size", "inputs", "outputs", "preprocessing", "dynamic"):
        text = json.dumps({key: value for key, value in data.items() if key != name})
        with pytest.raises(ArtifactError, match=name):
            ArtifactMetadata.from_json(text, "a.onnx")
