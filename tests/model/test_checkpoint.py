"""Checkpoints are read as torch reads them, without torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.errors import WeightsError
from edgeseg.model.checkpoint import read_checkpoint
from tests.model.torch_zip import Call, Name, assemble, module, tensor, write_archive

FLAT = dict.fromkeys(("Conv", "Segment", "DFL"), "ultralytics.nn.modules")
SPLIT = {
    "Conv": "ultralytics.nn.modules.conv",
    "Segment": "ultralytics.nn.modules.head",
    "DFL": "ultralytics.nn.modules.block",
}

# torch's own reading, with empty classes under the names that the official files ask for.
INDEPENDENT_READER = """
import hashlib, json, sys, types, torch
def module(name):
    made = types.ModuleType(name)
    made.__getattr__ = lambda kind: made.__dict__.setdefault(kind, type(kind, (torch.nn.Module,), {"__module__": name}))
    sys.modules[name] = made
for name in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks", "ultralytics.nn.modules"):
    module(name)
result = {}
for path in sys.argv[1:]:
    arrays = {
        name: value.numpy()
        for name, value in torch.load(path, map_location="cpu", weights_only=False)["model"].state_dict().items()
    }
    result[path] = {
        name: [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
        for name, array in arrays.items()
    }
print(json.dumps(result))
"""


def _throwaway_classes(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Module classes that pickle under foreign names."""
    classes: dict[str, Any] = {}
    for name, place in {**places, "SegmentationModel": "ultralytics.nn.tasks"}.items():
        # Pickled as getattr(<class>, "forward"), the one use of getattr in the official files.
        forward = types.FunctionType((lambda self, x: x).__code__, {}, "forward")
        forward.__module__, forward.__qualname__ = place, f"{name}.forward"
        classes[name] = type(name, (nn.Module,), {"__module__": place, "forward": forward})
        home = sys.modules.get(place) or types.ModuleType(place)
        setattr(home, name, classes[name])
        monkeypatch.setitem(sys.modules, place, home)
        for parent in range(1, place.count(".") + 1):
            prefix = place.rsplit(".", parent)[0]
            monkeypatch.setitem(sys.modules, prefix, sys.modules.get(prefix) or types.ModuleType(prefix))
    return classes


def _network(classes: dict[str, Any]) -> Any:
    conv = classes["Conv"]()
    conv.conv = nn.Conv2d(3, 4, 3, bias=False)
    conv.bn = nn.BatchNorm2d(4)
    conv.act = nn.SiLU()
    head = classes["Segment"]()
    head.cv2 = nn.ModuleList(nn.Sequential(nn.Conv2d(4, size, 1)) for size in (1, 2))
    head.dfl = classes["DFL"]()
    head.dfl.conv = nn.Conv2d(16, 1, 1, bias=False).requires_grad_(False)
    head.nc, head.nm, head.reg_max, head.f = 2, 32, 16, [15, 18, 21]
    head.detect = classes["Conv"].forward
    head.register_buffer("scratch", torch.ones(3), persistent=False)
    network = classes["SegmentationModel"]()
    network.model = nn.Sequential(conv, head)
    network.names = {0: "left", 1: "right"}
    network.stride = torch.tensor([8.0, 16.0])
    return network.half()


@pytest.mark.parametrize("places", [FLAT, SPLIT], ids=["flat", "split"])
def test_read_checkpoint_equals_state_dict_in_both_layouts_of_the_class_names(
    places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(_throwaway_classes(places, monkeypatch))
    path = tmp_path / "best.pt"
    content = {"model": network, "ema": None, "date": "2024-05-06", "version": "8.2", "license": "AGPL-3.0"}
    torch.save({**content, "train_args": {"epochs": 3, "lr0": 0.01}}, path)

    checkpoint = read_checkpoint(path)

    expected = {name: value.numpy() for name, value in network.state_dict().items()}
    assert list(checkpoint.tensors) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array, strict=True)
    assert checkpoint.names == ("left", "right")
    assert checkpoint.strides == (8.0, 16.0)
    assert checkpoint.train_args == {"epochs": 3, "lr0": 0.01}
    assert (checkpoint.date, checkpoint.version, checkpoint.license) == ("2024-05-06", "8.2", "AGPL-3.0")
    assert checkpoint.module_classes["model.1"] == "Segment"
    assert checkpoint.module_classes["model.0.conv"] == "Conv2d"
    head = checkpoint.hyperparameters["model.1"]
    assert {name: head[name] for name in ("nc", "nm", "reg_max", "f")} == {
        "nc": 2,
        "nm": 32,
        "reg_max": 16,
        "f": [15, 18, 21],
    }


def test_read_checkpoint_equals_torch_on_the_official_files(shared: Path) -> None:
    paths = [str(shared / "weights" / name) for name in ("yolov8n-seg.pt", "yolov8n.pt")]
    command = [sys.executable, "-c", INDEPENDENT_READER, *paths]
    expected = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    for path in paths:
        tensors = read_checkpoint(Path(path)).tensors
        assert {
            name: [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
            for name, array in tensors.items()
        } == expected[path]


def test_official_segmentation_checkpoint_says_what_is_published(shared: Path) -> None:
    checkpoint = read_checkpoint(shared / "weights" / "yolov8n-seg.pt")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    parameters = {name: array for name, array in checkpoint.tensors.items() if not name.endswith(statistics)}
    assert sum(array.size for array in parameters.values()) == 3_409_968
    assert {array.dtype for array in parameters.values()} == {np.dtype(np.float16)}
    assert parameters["model.22.dfl.conv.weight"].ravel().tolist() == list(range(16))
    assert checkpoint.source_sha256.startswith("d39e867b")
    assert (len(checkpoint.names), checkpoint.names[0], checkpoint.names[79]) == (80, "person", "toothbrush")
    assert checkpoint.strides == (8.0, 16.0, 32.0)
    assert checkpoint.train_args["imgsz"] == 640
    assert checkpoint.date == "2023-01-04T18:12:00.411840"
    assert (checkpoint.module_classes["model.22"], checkpoint.module_classes[""]) == ("Segment", "SegmentationModel")
    head = checkpoint.hyperparameters["model.22"]
    assert (head["nc"], head["nm"], head["npr"], head["reg_max"]) == (80, 32, 64, 16)
    assert checkpoint.hyperparameters["model.0.bn"]["eps"] == 0.001
    json.dumps([checkpoint.train_args, checkpoint.hyperparameters])


def test_reading_imports_no_torch(shared: Path) -> None:
    program = (
        "import sys, pathlib; from edgeseg.model.checkpoint import read_checkpoint; "
        "read_checkpoint(pathlib.Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(shared / "weights" / "yolov8n-seg.pt")]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "False\n"


STATE = OrderedDict({"model.0.weight": torch.arange(6.0).reshape(2, 3), "model.0.bias": torch.ones(2).double()})


@pytest.mark.parametrize(
    ("content", "source"),
    [(dict(STATE), ""), (STATE, ""), ({"model": STATE}, "model"), ({"state_dict": STATE, "epoch": 3}, "state_dict")],
    ids=["bare_dict", "bare_ordered_dict", "under_model", "under_state_dict"],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_state_dict_is_read(content: object, source: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save(content, path, pickle_protocol=protocol)
    checkpoint = read_checkpoint(path)
    assert checkpoint.source == source
    assert list(checkpoint.tensors) == list(STATE)
    for name, value in STATE.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], value.numpy(), strict=True)


def test_state_dict_of_a_module_is_read_with_its_metadata_attribute_ignored(tmp_path: Path) -> None:
    layer = nn.BatchNorm2d(3)
    torch.save({"model": layer.state_dict(), "names": ["a", "b"]}, tmp_path / "state.pt")
    checkpoint = read_checkpoint(tmp_path / "state.pt")
    assert list(checkpoint.tensors) == list(layer.state_dict())
    assert checkpoint.tensors["num_batches_tracked"].shape == ()
    assert checkpoint.names == ("a", "b")


def test_moving_average_is_preferred_over_the_model(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.zeros(2)}, "ema": {"w": torch.ones(2)}}, tmp_path / "last.pt")
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    assert checkpoint.source == "ema"
    assert checkpoint.tensors["w"].tolist() == [1, 1]


def test_views_of_one_storage_become_contiguous_copies(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    views = {"transposed": base.T, "block": base[1:3, 2:5], "every_other": base[:, ::2], "scalar": base[2, 3]}
    torch.save({**views, "base": base, "empty": torch.empty(0)}, tmp_path / "views.pt")
    tensors = read_checkpoint(tmp_path / "views.pt").tensors
    for name, view in views.items():
        np.testing.assert_array_equal(tensors[name], view.numpy(), strict=True)
        assert tensors[name].flags.c_contiguous
        assert tensors[name].flags.owndata
    assert tensors["empty"].shape == (0,)


def test_training_results_with_numpy_scalars_and_paths_are_read(tmp_path: Path) -> None:
    content = {
        "model": {"w": torch.ones(1)},
        "best_fitness": np.float64(0.5),
        "train_args": {"data": Path("/data/coco.yaml"), "best": np.float64(1), "imgsz": (640, 480)},
        "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1, dtype=torch.bfloat16))], lr=0.1).state_dict(),
    }
    torch.save(content, tmp_path / "last.pt")
    assert read_checkpoint(tmp_path / "last.pt").train_args == {"data": "/data/coco.yaml", "imgsz": [640, 480]}


def test_element_type_without_numpy_counterpart_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1, dtype=torch.bfloat16)}, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match=r"b\.pt: tensor 'w' is stored as torch\.BFloat16Storage; readable:"):
        read_checkpoint(tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "optimizer": {}}, "dictionary with the keys 'epoch', 'optimizer', expected a network"),
        ([1], "holds a value of type list"),
        ({"model": 5}, "its network is of type int"),
        ({"model": {}}, "holds no tensors"),
        ({"model": {"w": tensor(), "x": 3}}, "'x' is of type int, expected a tensor"),
        ({"model": Call(Name("ultralytics.nn.tasks", "SegmentationModel"))}, "expected a torch module"),
        ({"model": module(Name("models.yolo", "Model"), {"0": 7})}, "'0' is of type int, expected a torch module"),
        ({"model": {"w": tensor()}, "names": {1: "a"}}, "class names"),
        ({"model": {"w": tensor()}, "names": [1]}, "class names"),
    ],
    ids=["no_network", "list", "number", "no_tensors", "no_tensor", "no_state", "no_module", "gap", "no_text"],
)
def test_other_content_is_refused_by_what_it_is(content: Any, words: str, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "other.pt", assemble(content))
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.message
    assert words in caught.value.message


def test_handmade_checkpoint_is_read(tmp_path: Path) -> None:
    conv = module(Name("models.common", "Conv"), parameters={"weight": tensor((3, 2), (1, 3)), "bias": None}, k=3)
    root = module(
        Name("models.yolo", "Model"), {"model": module(Name("torch.nn.modules.container", "Sequential"), {"0": conv})}
    )
    checkpoint = read_checkpoint(write_archive(tmp_path / "hand.pt", assemble({"model": root})))
    assert {name: array.tolist() for name, array in checkpoint.tensors.items()} == {
        "model.0.weight": [[0, 3], [1, 4], [2, 5]]
    }
    assert checkpoint.hyperparameters["model.0"] == {"k": 3}
