"""The peer's metadata keys: written so that its clients read them, read without running them."""

from __future__ import annotations

import ast
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import ArtifactError
from edgeseg.foreign import from_peer_keys, peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.tensors import TensorSpec, decoded_output_specs, input_spec

KEYS = {
    "names": "{0: 'cat', 1: 'dog'}",
    "task": "segment",
    "imgsz": "[64, 96]",
    "license": "AGPL-3.0",
    "author": "peer",
}
INPUTS = (input_spec((64, 96)),)
OUTPUTS = decoded_output_specs(2, (64, 96))


def read(
    keys: dict[str, Any], inputs: tuple[TensorSpec, ...] = INPUTS, outputs: tuple[TensorSpec, ...] = OUTPUTS
) -> ArtifactMetadata:
    return from_peer_keys(keys, inputs, outputs, "onnx", "best.onnx")


def refused(keys: dict[str, Any], *words: str, **tensors: tuple[TensorSpec, ...]) -> None:
    started = time.monotonic()
    with pytest.raises(ArtifactError) as caught:
        read(keys, **tensors)
    assert time.monotonic() - started < 5
    assert caught.value.message.startswith("best.onnx: ")
    assert len(str(caught.value)) < 2000
    for word in words:
        assert word in str(caught.value)


def test_a_peers_file_is_read_as_far_as_it_tells() -> None:
    found = read(KEYS)

    assert found.names == ("cat", "dog")
    assert found.image_size == (64, 96)
    assert (found.format, found.precision, found.head) == ("onnx", "fp32", "decoded")
    assert (found.dynamic, found.batch) == ((), 1)
    assert (found.license, found.producer) == ("AGPL-3.0", "peer")
    assert found.inputs == INPUTS
    assert found.outputs == OUTPUTS


def test_what_we_write_is_what_we_read() -> None:
    names = ('it\'s a "ring"', "Käfer\n", "}", "__import__('os')")
    metadata = replace(read(KEYS), names=names, outputs=decoded_output_specs(4, (64, 96)), producer="edgeseg")

    again = read(peer_keys(metadata), outputs=metadata.outputs)

    assert again == metadata
    # What its clients do with the text, told from files that it exported.
    assert ast.literal_eval(peer_keys(metadata)["names"]) == dict(enumerate(names))
    assert all(isinstance(value, str) for value in peer_keys(metadata).values())


@pytest.mark.parametrize(
    "names",
    ["{0: 'cat', 1: 'dog'}", "['cat', 'dog']", "{1: 'dog', 0: 'cat'}", {0: "cat", 1: "dog"}, ["cat", "dog"],
     ("cat", "dog")],
    ids=repr,
)  # fmt: skip
def test_class_names_are_read_in_every_form_and_by_their_ids(names: Any) -> None:
    assert read({**KEYS, "names": names}).names == ("cat", "dog")


def test_class_names_are_numbered_where_there_are_none() -> None:
    assert read({}).names == ("class0", "class1")


@pytest.mark.parametrize(
    "names",
    [
        "{0: 'cat'", "cat, dog", "7", "'cat'", "None", 7, "{'a': 'cat', 'b': 'dog'}", "{1: 'cat', 2: 'dog'}",
        "{0: 'cat', 5: 'dog'}", "[x for x in (1, 2)]", "open('x')", "{{}: 1}", "[" * 50_000, "-" * 200_000 + "1",
        "9" * 10_000, "\x00",
    ],
    ids=lambda names: str(names)[:24],
)  # fmt: skip
def test_class_names_that_are_none_are_refused(names: Any) -> None:
    refused({**KEYS, "names": names}, "not readable")


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('touch {0}')", "[__import__('pathlib').Path('{0}').touch()]", "{{0: open('{0}', 'w')}}",
     "(lambda: open('{0}', 'w'))()", "f\"{{open('{0}', 'w')}}\""],
    ids=["call", "in a list", "in a dictionary", "lambda", "f-string"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["names", "imgsz"])
def test_hostile_text_is_refused_and_not_evaluated(text: str, key: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    open_inputs = (input_spec(("height", "width")),)

    refused({**KEYS, key: text.format(trace)}, "not readable", inputs=open_inputs)

    assert not trace.exists()


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_class_names_is_refused(count: int) -> None:
    refused({**KEYS, "names": str(["x"] * count)}, f"{count} class names for 2 classes")


@pytest.mark.parametrize("task", ["detect", "pose", "classify", ""])
def test_another_task_is_refused_by_its_name_whatever_its_tensors(task: str) -> None:
    refused({**KEYS, "task": task}, repr(task), "'segment'", outputs=OUTPUTS[:1])


@pytest.mark.parametrize("unknown", ["name", None], ids=["named", "without a name"])
def test_open_dimensions_are_dynamic_and_the_size_comes_from_the_keys(unknown: Any) -> None:
    inputs = (TensorSpec("images", (unknown, 3, unknown, unknown)),)
    outputs = (TensorSpec("output0", (unknown, 38, unknown)), TensorSpec("output1", (unknown, 32, unknown, unknown)))

    found = read(KEYS, inputs, outputs)

    assert found.dynamic == ("batch", "size")
    assert (found.image_size, found.batch) == ((64, 96), 1)
    assert found.inputs[0].shape == ("batch", 3, "height", "width")
    assert found == ArtifactMetadata.from_json(found.to_json(), "again")


@pytest.mark.parametrize(
    ("imgsz", "size"),
    [("[64, 96]", (64, 96)), ("(64, 96)", (64, 96)), ("64", (64, 64)), (32, (32, 32))],
    ids=repr,
)
def test_the_size_of_a_dynamic_file_is_read_in_every_form(imgsz: Any, size: tuple[int, int]) -> None:
    assert read({**KEYS, "imgsz": imgsz}, (input_spec(("h", "w")),)).image_size == size


@pytest.mark.parametrize("imgsz", ["[64]", "[64, 96, 3]", "'64'", "None", "[0, 64]", "-64", "64.0", "{}", "x"])
def test_a_size_that_is_none_is_refused_where_it_is_needed(imgsz: str) -> None:
    refused({**KEYS, "imgsz": imgsz}, "not readable", inputs=(input_spec(("h", "w")),))
    assert read({**KEYS, "imgsz": imgsz}).image_size == (64, 96), "a fixed file says its size by its input"


def test_a_dynamic_file_without_a_size_is_refused_with_the_option() -> None:
    refused({}, "imgsz", "--image-size H W", inputs=(input_spec(("h", "w")),))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((), OUTPUTS),
        (INPUTS * 2, OUTPUTS),
        ((TensorSpec("images", (1, 64, 96, 3)),), OUTPUTS),
        ((TensorSpec("images", (1, 3)),), OUTPUTS),
        (INPUTS, ()),
        (INPUTS, OUTPUTS[:1]),
        (INPUTS, OUTPUTS[::-1]),
        (INPUTS, (TensorSpec("output0", (1, 36, 84)), OUTPUTS[1])),
        (INPUTS, (TensorSpec("output0", (1, "channels", 84)), OUTPUTS[1])),
        (INPUTS, (OUTPUTS[0], TensorSpec("output1", (1, 31, 16, 24)))),
    ],
    ids=["no input", "two inputs", "channels last", "no picture", "no output", "a detector", "swapped",
         "no classes", "open channels", "31 prototypes"],
)  # fmt: skip
def test_tensors_of_another_layout_are_refused_with_both_layouts(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    refused({}, "not of the known layout", "output0 (B, 4 + classes + 32, points)", inputs=inputs, outputs=outputs)


def test_half_precision_is_told_from_the_input() -> None:
    assert read(KEYS, (TensorSpec("images", (1, 3, 64, 96), "float16"),)).precision == "fp16"
