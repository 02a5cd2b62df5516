"""docs/training.md: its example fits the code, and it names what a training writes and takes."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.card.train import Train
from edgeseg.train.callbacks import Callback

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text("utf-8")


@pytest.fixture(scope="module")
def example() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    return str(block)


def test_example_is_formatted(example: str) -> None:
    command = [sys.executable, "-m", "ruff", "format", "--check", "--diff", "--line-length", "120", "-"]
    done = subprocess.run(command, input=example, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_imports_what_is_there(example: str) -> None:
    imports = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.ImportFrom)]
    own = [node for node in imports if (node.module or "").startswith("edgeseg")]
    assert len(own) == 6
    for node in own:
        module = importlib.import_module(str(node.module))
        assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_example_overrides_methods_of_the_callback(example: str) -> None:
    (listener,) = (node for node in ast.parse(example).body if isinstance(node, ast.ClassDef))
    methods = [node for node in listener.body if isinstance(node, ast.FunctionDef)]
    assert len(methods) == 3
    for method in methods:
        base = inspect.signature(getattr(Callback, method.name))
        assert [argument.arg for argument in method.args.args] == [*base.parameters]


def test_page_names_only_settings_that_exist() -> None:
    settings = {"patience", "val_interval", "lr0", "amp", "batch", "nominal_batch", "sync_batch_norm"}
    assert settings <= set(Train.model_fields)
    assert [name for name in sorted(settings) if f"`{name}" not in TEXT] == []


def test_page_names_every_file_of_a_training() -> None:
    from edgeseg.report.train_page import PICTURES
    from edgeseg.train.trainer import BEST, LAST, STATE_FILE

    for name in (BEST, LAST, STATE_FILE, f"{PICTURES}/", "train.csv", "train.html"):
        assert f"`{name}`" in TEXT
