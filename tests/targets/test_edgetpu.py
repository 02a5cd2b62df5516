"""The Edge TPU target beyond conformance: predictions, logs, the compiler's process, compiled files, devices."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from edgeseg_targets.edgetpu import devices
from edgeseg_targets.edgetpu.log import parse
from edgeseg_targets.edgetpu.mapping import predict
from edgeseg_targets.edgetpu.memory import USABLE_BYTES, Memory, memory_of
from edgeseg_targets.edgetpu.nodes import Graph, graph_of
from edgeseg_targets.edgetpu.nodes import Tensor as Found
from edgeseg_targets.edgetpu.sizes import fitting, outlook
from edgeseg_targets.tflite.container import with_files

from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, StageError, UsageError
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.target import Artifact
from edgeseg.tensors import input_spec, raw_output_specs
from tests.cli.running import run
from tests.targets import edgetpu_logs as logs
from tests.targets.tflite_files import Operation, Tensor, tflite_file

MEBI = 1 << 20
SIZE = (96, 160)


def chain(*kinds: str) -> Graph:
    """Operations on maps, each reading what the one before wrote."""
    tensors = [Tensor((1, 8, 8, 4)) for _ in range(len(kinds) + 1)]
    steps = [Operation(kind, (place,), (place + 1,)) for place, kind in enumerate(kinds)]
    return graph_of(tflite_file(tensors, steps))


def test_what_follows_an_unsupported_operation_stays_behind_it() -> None:
    mapping = predict(chain("RELU", "LOGISTIC", "GELU", "RELU", "TANH"))
    assert (mapping.mapped, mapping.prefix, mapping.share) == (2, 2, 0.4)
    assert mapping.first == "operation 2: GELU is not in Coral's table"
    assert mapping.behind == {3, 4}
    assert [count for _, count, _ in mapping.reasons()] == [1, 2]


def test_a_branch_beside_an_unsupported_operation_is_mapped() -> None:
    """Threads show it: one reshape of a head stays on the processor, the convolutions of the other heads do not."""
    tensors = [Tensor((1, 8, 8, 4)) for _ in range(5)]
    steps = [
        Operation("RELU", (0,), (1,)),
        Operation("GELU", (1,), (2,)),
        Operation("TANH", (1,), (3,)),
        Operation("ADD", (2, 3), (4,)),
    ]
    mapping = predict(graph_of(tflite_file(tensors, steps)))
    assert (set(mapping.objections), mapping.behind, mapping.mapped) == ({1}, {3}, 2)


def test_a_version_that_the_compiler_does_not_read_maps_nothing() -> None:
    tensors = [Tensor((1, 8, 8, 4)) for _ in range(3)]
    steps = [Operation("RELU", (0,), (1,)), Operation("LOGISTIC", (1,), (2,), version=4)]
    mapping = predict(graph_of(tflite_file(tensors, steps)))
    assert (mapping.refused, mapping.mapped) == (True, 0)


def test_memory_of_a_hand_made_network() -> None:
    """Two maps of 1000 and a kernel: while ADD runs, its two inputs of 1000 and its output of 1000 are alive."""
    kernel = Tensor((10, 1, 1, 10), data=np.ones((10, 1, 1, 10), np.int8))
    bias = Tensor((10,), "INT32", np.ones(10, np.int32))
    maps = [Tensor((1, 10, 10, 10)) for _ in range(4)]
    steps = [
        Operation("CONV_2D", (0, 4, 5), (1,), options={4: 1, 5: 1}),
        Operation("LOGISTIC", (1,), (2,)),
        Operation("ADD", (1, 2), (3,)),
    ]
    memory = memory_of(graph_of(tflite_file([*maps, kernel, bias], steps)))
    assert (memory.parameters, memory.largest.bytes) == (100 + 40, 1000)
    assert (memory.peak, memory.peak_at) == (3000, "ADD 2")


def found(peak: float, parameters: float) -> Memory:
    return Memory(int(parameters * MEBI), Found(0, "t", (1,), "INT8"), int(peak * MEBI), "ADD 2")


def test_verdict_follows_from_operations_then_from_sizes() -> None:
    good, bad = predict(chain("RELU")), predict(chain("GELU"))
    words = {
        (peak, parameters): outlook(good, found(peak, parameters), (320, 320)).word
        for peak, parameters in ((1.5, 3.3), (6.1, 3.3), (9.5, 11))
    }
    assert list(words.values()) == ["wholly", "uncached", "too large"]
    view = outlook(bad, found(1.5, 3.3), (320, 320))
    assert (view.word, view.reason) == ("in part", "operation 0: GELU is not in Coral's table")
    assert view.suggested is None


def test_suggested_size_is_the_largest_that_fits() -> None:
    """At 640 6 MiB are alive; parameters of 3.5 MiB leave 3.5 of 7 MiB: 640 * sqrt(3.5 / 6) = 488."""
    memory = found(6, 3.5)
    assert fitting(memory, (640, 640)) == (480, 480)
    assert fitting(memory, (320, 640)) == (224, 480)
    assert fitting(found(6, 7), (640, 640)) is None
    at_480, at_512 = (memory.peak * (side / 640) ** 2 + memory.parameters for side in (480, 512))
    assert at_480 <= USABLE_BYTES < at_512


def test_log_of_a_whole_network() -> None:
    log = parse(logs.WHOLE)
    assert (log.version, log.failure, log.operations, log.subgraphs) == ("16.0.384591198", "", 50, 1)
    assert (log.on_chip, log.on_chip_free, log.off_chip) == (619008, 523776, round(3.45 * MEBI))
    # Neither a number of mapped operations nor a table: nothing is concluded from "succeeded".
    assert (log.mapped, log.share) == (None, None)


def test_log_of_a_network_mapped_in_part() -> None:
    log = parse(logs.IN_PART)
    assert (log.version, log.operations, log.mapped, log.subgraphs) == ("15.0.340273435", 136, 135, 1)
    assert log.share == pytest.approx(135 / 136)
    assert (log.on_chip, log.on_chip_free, log.off_chip) == (round(1.92 * MEBI), 1792, round(3.23 * MEBI))
    assert log.rows[0] == ("RESHAPE", 15, "Mapped to Edge TPU")
    assert len(log.rows) == 4


def test_log_names_what_stays_on_the_processor() -> None:
    log = parse(logs.MOSTLY_NOT)
    assert (log.operations, log.mapped, log.share) == (155, 2, pytest.approx(2 / 155))
    assert log.on_processor().startswith("TRANSPOSE 70: Operation not supported; FULLY_CONNECTED 1: More than one")
    assert "QUANTIZE 1: Operation is otherwise supported, but not mapped" in log.on_processor()
    assert sum(count for _, count, _ in log.rows) == 155


def test_operation_log_alone_tells_the_share() -> None:
    log = parse(logs.OPERATION_LOG)
    assert (log.operations, log.mapped, log.share, log.on_processor()) == (8, 8, 1.0, "")
    assert (log.subgraphs, log.failure) == (None, "")


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (logs.TOO_LARGE, "Compilation failed due to large activation tensors in model."),
        (logs.TOO_NEW, "Didn't find op for builtin opcode 'TRANSPOSE_CONV' version '4'."),
        (logs.INTERNAL, "Internal compiler error. Aborting!"),
        (logs.SEARCH, "Compilation failed due to large activation tensors in model."),
    ],
    ids=["too large", "too new", "internal", "search"],
)
def test_log_says_why_there_is_no_result(text: str, failure: str) -> None:
    log = parse(text)
    assert log.failure.startswith(failure)
    assert (log.mapped, log.subgraphs) == (None, None)


def test_last_try_of_a_search_counts() -> None:
    log = parse(logs.SEARCH + logs.WHOLE)
    assert (log.failure, log.operations, log.subgraphs) == ("", 50, 1)


def metadata(**changes: object) -> ArtifactMetadata:
    options = {"edges": "int8", "timeout_s": 5, **changes}
    return ArtifactMetadata(
        "edgetpu",
        "int8",
        "raw",
        ("a", "b"),
        SIZE,
        (input_spec(SIZE, 1),),
        raw_output_specs(2, SIZE, 1),
        options=options,
    )


def own_file(folder: Path, **options: object) -> Artifact:
    """A file of ours before it is compiled: one operation, the metadata, and the zip with its hash."""
    about = metadata(**options)
    tensors = [Tensor((1, 8, 8, 4)), Tensor((1, 8, 8, 4))]
    data = tflite_file(tensors, [Operation("RELU", (0,), (1,))], metadata={METADATA_KEY: about.to_json().encode()})
    path = folder / "n-edgetpu-int8.tflite"
    path.write_bytes(with_files(data, about.names))
    return Artifact(path, about)


def compiled_bytes() -> bytes:
    """As the compiler writes it: one custom operation in place of the mapped ones."""
    tensors = [Tensor((1, 8, 8, 4)), Tensor((1, 8, 8, 4))]
    return tflite_file(tensors, [Operation("CUSTOM", (0,), (1,), custom="edgetpu-custom-op")])


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell script in the compiler's place, which cannot be installed here. It compiles nothing: it prints the text
    and copies the file that a test gives it, so that what is tested is how the process is handled, and no more."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "result.tflite").write_bytes(compiled_bytes())
    (folder / "text").write_text(logs.WHOLE + logs.OPERATION_LOG.split("\n\n", 1)[1])
    write_script(folder, f'cat {folder}/text; cp {folder}/result.tflite "$out/$stem"_edgetpu.tflite')
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def write_script(folder: Path, body: str) -> None:
    script = folder / "edgetpu_compiler"
    script.write_text(
        '#!/bin/sh\necho "$@" > ' + f"{folder}/arguments\n"
        'while [ $# -gt 1 ]; do [ "$1" = --out_dir ] && out=$2; shift; done\n'
        "stem=$(basename $1 .tflite)\n" + body + "\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def test_finish_keeps_the_compilers_bytes_the_metadata_and_the_log(stand_in: Path, tmp_path: Path) -> None:
    artifact = own_file(tmp_path, search_delegate=True, min_runtime_version=13)
    target, output = registry.load("edgetpu"), tmp_path / "out"
    output.mkdir()
    finished = target.finish(artifact, output)
    assert finished.path == output / "n-edgetpu-int8_edgetpu.tflite"
    assert {path.name for path in output.iterdir()} == {finished.path.name, "n-edgetpu-int8_edgetpu.log"}
    assert finished.path.read_bytes().startswith(compiled_bytes())
    assert target.read_metadata(finished.path) == artifact.metadata
    assert target.recognizes(finished.path)
    assert finished.path.with_suffix(".log").read_text() == (stand_in / "text").read_text()
    arguments = (stand_in / "arguments").read_text().split()
    assert arguments[0] == "--show_operations"
    assert arguments[3:-1] == ["--timeout_sec", "5", "--min_runtime_version", "13", "--search_delegate"]
    assert arguments[-1] == str(artifact.path)


def test_the_command_finish_prints_the_compiled_file(stand_in: Path, tmp_path: Path) -> None:
    artifact = own_file(tmp_path)
    done = run("finish", artifact.path, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    finished = Path(done.out.strip())
    assert finished.parent == tmp_path / "out"
    assert registry.load("edgetpu").read_metadata(finished) == artifact.metadata
    again = run("finish", finished)
    assert (again.code, again.out) == (2, "")
    assert "nothing to finish" in again.err


def test_the_command_finish_without_a_compiler_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("finish", own_file(tmp_path).path)
    assert (done.code, done.out) == (3, "")
    assert "edgetpu_compiler" in done.err


def test_findings_of_a_compiled_file_are_those_of_its_log(stand_in: Path, tmp_path: Path) -> None:
    target = registry.load("edgetpu")
    finished = target.finish(own_file(tmp_path), tmp_path)
    findings = target.inspect(finished)
    assert findings.problems == ()
    assert {name: findings.facts[name] for name in ("compiler", "mapped_share", "subgraphs", "off_chip_bytes")} == {
        "compiler": "16.0.384591198",
        "mapped_share": round(8 / 50, 4),
        "subgraphs": 1,
        "off_chip_bytes": round(3.45 * MEBI),
    }
    assert not any(name.startswith("predicted") for name in findings.facts)


def test_finishing_a_finished_file_changes_nothing(stand_in: Path, tmp_path: Path) -> None:
    target = registry.load("edgetpu")
    finished = target.finish(own_file(tmp_path), tmp_path)
    (stand_in / "arguments").unlink()
    assert target.finish(finished, tmp_path) is finished
    assert not (stand_in / "arguments").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("cat {}/failed; exit 1", "large activation tensors in model"),
        ("cat {}/failed", "large activation tensors in model"),
        ("exit 0", "it ended with exit code 0 and no file"),
        ("echo broken >&2; exit 3", "it ended with exit code 3 and no file"),
        ("kill -9 $$", "it ended with exit code -9 and no file"),
    ],
)
def test_a_compiler_that_makes_nothing_is_a_failed_stage(
    stand_in: Path, tmp_path: Path, body: str, message: str
) -> None:
    (stand_in / "failed").write_text(logs.TOO_LARGE)
    write_script(stand_in, body.format(stand_in))
    output = tmp_path / "out"
    output.mkdir()
    with pytest.raises(StageError, match=message) as caught:
        registry.load("edgetpu").finish(own_file(tmp_path), output)
    assert caught.value.outcome == "compile_failed"
    assert "n-edgetpu-int8.tflite" in caught.value.message
    assert list(output.iterdir()) == []


def test_a_compiler_that_does_not_end_is_ended_with_its_children(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg_targets.edgetpu import compiler

    monkeypatch.setattr(compiler, "GRACE_S", 0.2)
    write_script(stand_in, f"sleep 60 & echo $! > {stand_in}/child; wait")
    with pytest.raises(StageError, match=r"did not end within 1\.2 s"):
        registry.load("edgetpu").finish(own_file(tmp_path, timeout_s=1), tmp_path)
    child = int((stand_in / "child").read_text())
    # A killed child that nobody waited for is gone, or a zombie until init takes it.
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_without_a_compiler_finishing_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissingError, match="edgetpu_compiler is not on PATH") as caught:
        registry.load("edgetpu").finish(own_file(tmp_path), tmp_path)
    assert "docker/edgetpu" in caught.value.hint


def test_deferral_names_the_device_and_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    target = registry.load("edgetpu")
    monkeypatch.setattr(devices, "find_devices", lambda: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    sentence = "no Edge TPU is plugged in"
    assert target.deferral() == (
        f"{sentence}, and edgetpu_compiler is not on PATH: compile on an x86-64 machine that has it, before a board of "
        "another kind runs it"
    )
    request.getfixturevalue("stand_in")
    assert target.deferral() == sentence


def test_devices_are_found_by_their_ids(tmp_path: Path) -> None:
    usb, pci = tmp_path / "usb", tmp_path / "dev"
    for name, vendor, product in (("1-1", "1a6e", "089a"), ("2-1", "18d1", "9302"), ("2-2", "046d", "c31c")):
        (usb / name).mkdir(parents=True)
        (usb / name / "idVendor").write_text(f"{vendor}\n")
        (usb / name / "idProduct").write_text(f"{product}\n")
    (usb / "usb1").mkdir()
    pci.mkdir()
    (pci / "apex_0").touch()
    assert devices.find_devices(usb, pci) == ["usb", "usb", "pci"]
    assert devices.find_devices(tmp_path / "none", tmp_path / "none") == []


def test_absent_library_is_named_with_what_installs_it() -> None:
    try:
        devices.require_library("running n")
    except EnvironmentMissingError as error:
        assert error.message.startswith(f"running n needs {devices.library()}: ")
        assert "libedgetpu1-std" in error.hint
    else:
        pytest.skip("libedgetpu is installed here")


@pytest.mark.parametrize("device", ["gpu", "usb1", ":", "pci:"])
def test_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="device"):
        registry.parse_run_options(registry.load("edgetpu"), {"device": device})


def test_foreign_and_damaged_files(tmp_path: Path) -> None:
    target = registry.load("edgetpu")
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(tflite_file([Tensor((1, 4)), Tensor((1, 4))], [Operation("RELU", (0,), (1,))]))
    assert not target.recognizes(plain)
    artifact = own_file(tmp_path)
    assert target.recognizes(artifact.path)
    assert target.read_metadata(artifact.path) == artifact.metadata
    data = bytearray(artifact.path.read_bytes())
    data[60] ^= 1
    assert hashlib.sha256(data).digest() != hashlib.sha256(artifact.path.read_bytes()).digest()
    artifact.path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"n-edgetpu-int8\.tflite"):
        target.read_metadata(artifact.path)
