"""Every mistake is a CardError at its exact place, with a remedy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.errors import CardError, CardErrors
from tests.card.conftest import GOOD, Write


@dataclass(frozen=True)
class Mistake:
    """Replace `old` by `new` in the good card; the caret must stand under `line`:`column`."""

    id: str
    old: str
    new: str
    line: int
    column: int
    message: str
    hint: str


MISTAKES = [
    Mistake("unknown_key", "license:", "licence:", 3, 1, "unknown key 'licence'", "did you mean 'license'?"),
    Mistake("unknown_nested_key", "epochs: 2", "epoch: 2", 6, 9, "unknown key 'epoch'", "did you mean 'epochs'?"),
    Mistake("unknown_deep_key", "epochs: 2", "gains: {bx: 1}", 6, 17, "unknown key 'bx'", "did you mean 'box'?"),
    Mistake("unknown_gate", "fp32}", "fp32, gates: {mask_iou: 1}}", 8, 45, "unknown key 'mask_iou'", "mask_iou_min"),
    Mistake("unknown_key_lists_all", "scale: n,", "scale: n, qqqq: 1,", 4, 19, "unknown key 'qqqq'", "one of: classes"),
    Mistake("missing_key", "scale: n, ", "", 4, 1, "missing key 'scale'", "size of the network"),
    Mistake("missing_root_key", "name: tiny\n", "", 1, 1, "missing key 'name'", "at most 64"),
    Mistake("missing_model", "model:", "modl:", 1, 1, "missing key 'model'", "the network"),
    Mistake("wrong_schema", "schema: 1", "schema: 2", 1, 9, "expected 1, got 2", "version of this schema"),
    Mistake("name_is_path", "name: tiny", "name: ../x", 2, 7, "'../x'", "lower-case letters"),
    Mistake("name_too_long", "name: tiny", "name: " + "a" * 65, 2, 7, "pattern", "at most 64"),
    Mistake("name_leading_dot", "name: tiny", "name: .x", 2, 7, "'.x'", "lower-case letters"),
    Mistake("text_expected", "license: Apache-2.0", "license: 2", 3, 10, "expected text, got 2", "'2'"),
    Mistake("scale_unknown", "scale: n", "scale: q", 4, 16, "expected 'n', 's', 'm', 'l' or 'x', got 'q'", "one of: l"),
    Mistake("classes_word", "[cat, dog]", "coco8", 4, 28, "expected 'coco80', got 'coco8'", "did you mean 'coco80'?"),
    Mistake("classes_empty", "[cat, dog]", "[]", 4, 28, "at least 1 item", "list of class names"),
    Mistake("class_twice", "[cat, dog]", "[cat, cat]", 4, 34, "'cat' a second time", "class 0 already"),
    Mistake("class_is_truth", "[cat, dog]", "[cat, true]", 4, 34, "expected text, got true", "quotes: 'true'"),
    Mistake("class_is_off", "[cat, dog]", "[cat, off]", 4, 34, "truth value for many", "quotes: 'off'"),
    Mistake("class_is_no", "[cat, dog]", "[No, dog]", 4, 29, "truth value for many", "quotes: 'No'"),
    Mistake("class_is_number", "[cat, dog]", "[cat, 7]", 4, 34, "expected text, got 7", "quotes: '7'"),
    Mistake("size_no_multiple", "[64, 96]", "[64, 100]", 4, 57, "multiple of 32, got 100", "[640, 640]"),
    Mistake("size_too_large", "[64, 96]", "[8192, 96]", 4, 53, "less than or equal to 4096", "multiples of 32"),
    Mistake("size_one_number", "[64, 96]", "640", 4, 52, "expected a list, got 640", "[640, 640]"),
    Mistake("truth_as_number", "epochs: 2", "epochs: true", 6, 17, "whole number, got true", "passes over"),
    Mistake("number_in_quotes", "epochs: 2", "epochs: '2'", 6, 17, "whole number, got '2'", "without quotes: 2"),
    Mistake("number_negative", "epochs: 2", "epochs: -2", 6, 17, "greater than or equal to 1, got -2", "passes over"),
    Mistake("fraction", "epochs: 2", "epochs: 2.5", 6, 17, "whole number, got 2.5", "passes over"),
    Mistake("yes_as_truth", "epochs: 2", "amp: yes", 6, 14, "true or false, got 'yes'", "write true"),
    Mistake("infinity", "epochs: 2", "lr0: 1e999", 6, 14, "out of range", "smaller number"),
    Mistake("nan", "epochs: 2", "lr0: .nan", 6, 14, "expected a number, got '.nan'", "learning rate"),
    Mistake("huge_integer", "epochs: 2", "seed: " + "9" * 5000, 6, 15, "too many digits", "smaller number"),
    Mistake("optimizer", "epochs: 2", "optimizer: sdg", 6, 20, "got 'sdg'", "did you mean 'sgd'?"),
    Mistake("batch_word", "epochs: 2", "batch: big", 6, 16, "whole number, got 'big'", "or auto: as many"),
    Mistake("batch_in_quotes", "epochs: 2", "batch: '16'", 6, 16, "whole number, got '16'", "without quotes: 16"),
    Mistake("batch_zero", "epochs: 2", "batch: 0", 6, 16, "greater than or equal to 1, got 0", "pictures per step"),
    Mistake("batch_fraction", "epochs: 2", "batch: 1.5", 6, 16, "whole number, got 1.5", "pictures per step"),
    Mistake("cache_word", "epochs: 2", "cache: memory", 6, 16, "got 'memory'", "one of: auto, disk, off, ram"),
    Mistake("strict_word", "epochs: 2", "strict: yes", 6, 17, "true or false, got 'yes'", "write true"),
    Mistake("sync_number", "epochs: 2", "sync_batch_norm: 1", 6, 26, "true or false, got 1", "all processes"),
    Mistake("val_interval_zero", "epochs: 2", "val_interval: 0", 6, 23, "than or equal to 1, got 0", "validations"),
    Mistake("warmup_steps_part", "epochs: 2", "warmup_steps: 0.5", 6, 23, "whole number, got 0.5", "least steps"),
    Mistake("warmup_steps_negative", "epochs: 2", "warmup_steps: -1", 6, 23, "than or equal to 0", "least steps"),
    Mistake("no_value", "{epochs: 2}", "", 6, 7, "'train' has no value", "remove the key"),
    Mistake("sha256_short", "train: {", "weights: {path: a, sha256: ab}\ntrain: {", 6, 28, "'ab'", "64 lower-case"),
    Mistake("data_set_half", "train: a.json", "train: {annotations: a}", 5, 8, "missing key 'images'", "folder of"),
    Mistake("data_number", "train: a.json", "train: 3", 5, 15, "expected text, got 3", "'3'"),
    Mistake("target_neither", "format: onnx, ", "", 8, 5, "got neither", "one of the two"),
    Mistake("target_both", "format: onnx", "format: onnx, device: mac", 8, 5, "got both", "one of the two"),
    Mistake("targets_empty", "\n  - {format: onnx, precision: fp32}", " []", 7, 10, "at least 1 item", "what to build"),
    Mistake("target_no_mapping", "{format: onnx, precision: fp32}", "onnx", 8, 5, "a mapping", "{device: ...}"),
    Mistake("duplicate_key", "train: {", "name: x\ntrain: {", 6, 1, "duplicate key 'name'", "line 2"),
    Mistake("duplicate_nested", "epochs: 2", "epochs: 2, epochs: 3", 6, 20, "duplicate key 'epochs'", "line 6"),
    Mistake("anchor", "epochs: 2", "epochs: &a 2", 6, 17, "an anchor, &a", "flat"),
    Mistake("alias", "val: b.json", "val: *a", 5, 28, "an alias, *a", "flat"),
    Mistake("merge_key", "{epochs: 2}", "{<<: {seed: 1}}", 6, 9, "a merge key", "flat"),
    Mistake("custom_tag", "epochs: 2", "epochs: !!python/name:os.system x", 6, 17, "a tag", "plain values"),
    Mistake("number_as_key", "epochs: 2", "1: 2", 6, 9, "the key '1' is no text", "quotes"),
    Mistake("list_as_key", "epochs: 2", "[1]: 2", 6, 9, "no plain word", "text"),
    Mistake("tab", "  - {", "\t- {", 8, 1, "a tab", "spaces"),
    Mistake("second_document", "targets:", "---\ntargets:", 7, 1, "second YAML document", "---"),
    Mistake("bracket_open", "[64, 96]}", "[64, 96}", 4, 59, "broken YAML", "brackets"),
    Mistake("bad_indent", "train: {epochs: 2}", "train:\n  epochs: 2\n seed: 1", 8, 2, "broken YAML", "indents"),
    Mistake("deep", "epochs: 2", "cache: " + "[" * 25 + "]" * 25, 6, 35, "deeper than 20", "flat"),
    Mistake("control_character", "tiny", "ti\x1bny", 2, 9, "not allowed", ""),
    Mistake("huge_escape", "tiny", '"\\UFFFFFFFF"', 2, 10, "broken YAML", ""),
    Mistake("half_surrogate", "tiny", '"\\ud800"', 2, 7, "surrogate", "character"),
    Mistake("unknown_format", "format: onnx", "format: onx", 8, 14, "unknown format 'onx'", "did you mean 'onnx'?"),
    Mistake("unknown_device", "format: onnx", "device: iphon", 8, 14, "unknown device", "did you mean 'iphone'?"),
    Mistake("device_as_format", "format: onnx", "format: mac", 8, 14, "unknown format", "write device: mac"),
    Mistake("format_as_device", "format: onnx", "device: onnx", 8, 14, "unknown device", "write format: onnx"),
    Mistake("precision_of_device", "format: onnx", "device: coral-usb", 8, 36, "coral-usb does not support", "int8"),
    Mistake("precision_of_target", "fp32", "fp31", 8, 31, "onnx does not support the precision 'fp31'", "fp32"),
    Mistake("unknown_option", "fp32}", "fp32, options: {opst: 1}}", 8, 47, "unknown key 'opst'", "mean 'opset'?"),
    Mistake("wrong_option", "fp32}", "fp32, options: {opset: x}}", 8, 54, "whole number, got 'x'", ""),
    Mistake("same_target", "fp32}", "fp32}\n  - {format: onnx}", 9, 5, "the same as target 0", "name"),
    Mistake("same_id", "fp32}", "fp32}\n  - {format: onnx, options: {opset: 18}}", 9, 5, "'onnx-fp32'", "`name`"),
    Mistake("weights_missing", "train: {", "weights: {path: x.pt}\ntrain: {", 6, 17, "no such file", "--weights FILE"),
    Mistake("no_way_to_weights", "train: a.json, ", "", 1, 1, "no `data.train`", "--set data.train="),
    Mistake("nothing_to_train", "train: {epochs: 2}\n", "", 1, 1, "no `train` section", "--weights FILE"),
    Mistake("calibration_absent", "val: b.json", "calibration: {from: val}", 5, 43, "data.val", "add data.val"),
    Mistake("class_weight", "epochs: 2", "class_weights: {cot: 2}", 6, 25, "no class of this card", "mean 'cat'?"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_mistake_is_shown_at_its_place_with_a_remedy(write: Write, mistake: Mistake) -> None:
    assert GOOD.count(mistake.old) == 1, "the replacement must be unique"
    text = GOOD.replace(mistake.old, mistake.new)
    with pytest.raises(CardError) as caught:
        resolve(load_card(write(text)))
    errors = caught.value.errors if isinstance(caught.value, CardErrors) else (caught.value,)
    places = {(error.line, error.column): error for error in errors if mistake.message in error.message}
    assert (mistake.line, mistake.column) in places, str(caught.value)
    error = places[mistake.line, mistake.column]
    assert mistake.hint in error.hint
    assert error.exit_code == 2
    caret = str(error).splitlines()[2]
    assert caret.index("^") == len("    1 | ") + min(mistake.column - 1, 80)


def test_good_card_has_no_mistake(write: Write) -> None:
    assert resolve(load_card(write(GOOD))).card.name == "tiny"


def test_all_mistakes_are_reported_in_the_order_of_the_file(write: Write) -> None:
    text = GOOD.replace("schema: 1", "schema: 3").replace("epochs: 2", "epoch: 2, seed: x, seed: 4")
    with pytest.raises(CardErrors) as caught:
        load_card(write(text.replace("fp32}", "fp32, nme: x}")))
    found = [(error.line, error.column, error.message.split(" ")[0]) for error in caught.value.errors]
    assert found == [(1, 9, "schema:"), (6, 9, "unknown"), (6, 25, "seed:"), (6, 28, "duplicate"), (8, 37, "unknown")]
    assert str(caught.value).count("^") == 5
    assert str(caught.value).startswith("5 mistakes\n")


def test_caret_stays_near_when_the_line_is_very_long(write: Write) -> None:
    names = ", ".join(f"class{index}" for index in range(2000))
    with pytest.raises(CardError) as caught:
        load_card(write(GOOD.replace("[cat, dog], image_size: [64, 96]", f"[{names}], image_size: [64, 97]")))
    _, source, caret, _ = str(caught.value).splitlines()
    assert len(source) < 200
    assert source[caret.index("^") :].startswith("97]")


def test_terminal_escape_in_a_card_is_not_shown(write: Write) -> None:
    with pytest.raises(CardError) as caught:
        load_card(write(GOOD.replace("tiny", "\x1b[31mtiny")))
    assert "\x1b" not in str(caught.value)
