"""Conformance: an artifact reopened from disk gives what it declares, and that equals the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from edgeseg import registry
from edgeseg.errors import ContractError, UsageError
from edgeseg.gates import Gates
from edgeseg.metadata import ArtifactMetadata
from edgeseg.predict import Model
from edgeseg.target import Artifact, Target
from edgeseg.tensors import (
    INPUT_NAME,
    Array,
    Dimension,
    check_tensors,
    decoded_output_specs,
    input_spec,
    raw_output_specs,
)
from edgeseg.testing.quantised import (
    QUANTISED_GATES,
    QUANTISED_SCORE,
    outputs_on_tiny_frames,
    quantised_problems,
)
from edgeseg.testing.suite import Exports, TargetSuite, images, opened
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES, tiny_frames
from edgeseg.verify import VerifyOptions, verify

OTHER_SIZE = (128, 64)
SAME_FILE = 1e-4
"""Relative difference between two runs of one artifact in batches of another length."""

SAME_NETWORK = 0.05
"""Relative difference to the reference at another size: any precision is closer, a size baked in is not."""

WRONG_INPUTS: Mapping[str, Callable[[Array], dict[str, Array]]] = {
    "channels": lambda good: {INPUT_NAME: np.concatenate([good, good[:, :1]], axis=1)},
    "rank": lambda good: {INPUT_NAME: good[0]},
    "dtype": lambda good: {INPUT_NAME: good.astype(np.float64)},
    "name": lambda good: {"input": good},
    "missing": lambda _: {},
    "extra": lambda good: {INPUT_NAME: good, "more": good},
}

_OUTPUT_SPECS = {"raw": raw_output_specs, "decoded": decoded_output_specs}


class RunnerTests(TargetSuite):
    """Declared tensors, parity, repeatability, batches, sizes, refusals."""

    def gates(self, precision: str) -> Gates:
        """Parity limits over the precision's defaults, or over `QUANTISED_GATES` where pictures set ranges.

        A target that needs wider ones overrides this and says why.
        """
        return Gates()

    def test_reopened_artifact_declares_the_contract(self, model: Model) -> None:
        """Names, shapes and dtypes are those of the head contract, with the size and batch of the file."""
        size, batch = _sizes(model.metadata)
        assert model.runner.inputs == (input_spec(size, batch),)
        assert model.runner.outputs == _OUTPUT_SPECS[model.metadata.head](len(NAMES), size, batch)

    def test_outputs_are_as_declared(self, model: Model) -> None:
        """What a run returns has the declared names, shapes and dtypes."""
        batch = model.metadata.batch
        outputs = model.runner.run({INPUT_NAME: images(batch)})
        # Open dimensions are closed here: two swapped maps of different sizes would fit them.
        check_tensors(_OUTPUT_SPECS[model.metadata.head](len(NAMES), IMAGE_SIZE, batch), outputs, "the outputs")

    def test_parity_holds(self, subject: Target, exports: Exports, precision: str) -> None:
        """`edgeseg verify` passes on drawn pictures with the precision's gates."""
        self._verify(subject, exports, precision)

    def test_parity_holds_with_decoded_outputs(self, subject: Target, exports: Exports, precision: str) -> None:
        """The layout for existing clients is as exact as the raw one."""
        _need_option(subject, "outputs")
        self._verify(subject, exports, precision, outputs="decoded")

    def _verify(self, subject: Target, exports: Exports, precision: str, **options: Any) -> None:
        artifact = exports.get(subject, precision, **options)
        asked = VerifyOptions(self.gates(precision))
        if precision in subject.capabilities.calibrated:
            over = {**QUANTISED_GATES.model_dump(), **asked.gates.model_dump(exclude_none=True)}
            asked = VerifyOptions(Gates(**over), score=QUANTISED_SCORE)
        with opened(subject, artifact.path) as model:
            report = verify(exports.reference, model, tiny_frames(), asked)
        assert report.problems == []
        assert [gate for gate in report.gates if not gate.met] == [], report.diagnosis
        assert report.passed

    def test_quantised_tensors_follow_the_reference(self, subject: Target, exports: Exports, precision: str) -> None:
        """Every tensor goes up and down with the reference's, and scores are near (edgeseg/testing/quantised.py)."""
        if precision not in subject.capabilities.calibrated:
            pytest.skip(f"{subject.name} {precision} has no ranges set on pictures")
        with opened(subject, exports.get(subject, precision).path) as model:
            if model.metadata.head != "raw":
                pytest.skip(f"{subject.name} has no raw outputs")
            assert quantised_problems(exports.reference, outputs_on_tiny_frames(model.runner)) == []

    def test_same_input_gives_the_same_bits(self, model: Model) -> None:
        """Nothing of another run is left over."""
        first = _copy(model.runner.run({INPUT_NAME: images(model.metadata.batch)}))
        model.runner.run({INPUT_NAME: images(model.metadata.batch, seed=1)})
        again = model.runner.run({INPUT_NAME: images(model.metadata.batch)})
        assert [name for name in first if not np.array_equal(first[name], again[name])] == []

    def test_outputs_belong_to_the_caller(self, model: Model) -> None:
        """A later run does not write into the arrays of an earlier one, and a caller may."""
        given = images(model.metadata.batch)
        kept = model.runner.run({INPUT_NAME: given})
        before = _copy(kept)
        model.runner.run({INPUT_NAME: images(model.metadata.batch, seed=1)})
        assert [name for name in kept if not np.array_equal(kept[name], before[name])] == []
        assert all(array.flags.writeable for array in kept.values())
        np.testing.assert_array_equal(given, images(model.metadata.batch))

    def test_fixed_batch_equals_single_runs(self, subject: Target, exports: Exports, model: Model) -> None:
        """A file with a batch of two gives for each picture what the file with one gives."""
        _need_option(subject, "batch")
        pair = images(2)
        with opened(subject, exports.get(subject, batch=2).path) as two:
            assert two.metadata.batch == 2
            _check_batch(two, model, pair)
            if "batch" not in two.metadata.dynamic:
                with pytest.raises(ContractError, match=INPUT_NAME):
                    two.runner.run({INPUT_NAME: pair[:1]})

    def test_open_batch_equals_single_runs(self, subject: Target, exports: Exports, model: Model) -> None:
        """One file takes one, two and three pictures."""
        with self._open_shapes(subject, exports) as wide:
            assert "batch" in wide.metadata.dynamic
            for batch in (1, 2, 3):
                _check_batch(wide, model, images(batch))

    def test_open_size_equals_the_reference(self, subject: Target, exports: Exports) -> None:
        """One file takes another height and width."""
        other = {INPUT_NAME: images(size=OTHER_SIZE)}
        with self._open_shapes(subject, exports) as wide:
            assert "size" in wide.metadata.dynamic
            found, wanted = wide.runner.run(other), exports.reference.runner.run(other)
        assert found.keys() == wanted.keys()
        assert max(_relative(found[name], wanted[name]) for name in wanted) < SAME_NETWORK

    def test_open_size_refuses_what_the_strides_do_not_divide(self, subject: Target, exports: Exports) -> None:
        """The refusal is ours, with the nearest size, not the runtime's."""
        with self._open_shapes(subject, exports) as wide, pytest.raises(UsageError, match="multiples of 32"):
            wide.runner.run({INPUT_NAME: images(size=(100, 64))})

    def _open_shapes(self, subject: Target, exports: Exports) -> Model:
        if not subject.capabilities.dynamic_shapes:
            pytest.skip(f"{subject.name} fixes batch and size")
        known = subject.options_type.model_fields
        asked: dict[str, Any] = {name: True for name in ("dynamic_batch", "dynamic_size") if name in known}
        return opened(subject, exports.get(subject, **asked).path)

    @pytest.mark.parametrize("wrong", WRONG_INPUTS)
    def test_wrong_input_is_refused(self, model: Model, wrong: str) -> None:
        """Before the runtime sees it, with what was expected."""
        with pytest.raises(ContractError) as caught:
            model.runner.run(WRONG_INPUTS[wrong](images(model.metadata.batch)))
        assert INPUT_NAME in str(caught.value)

    def test_closed_runner_refuses_to_run(self, subject: Target, artifact: Artifact) -> None:
        """A second close does nothing."""
        model = opened(subject, artifact.path)
        model.close()
        model.close()
        with pytest.raises(ContractError, match="closed"):
            model.runner.run({INPUT_NAME: images(model.metadata.batch)})

    def test_leaving_the_context_closes(self, subject: Target, artifact: Artifact) -> None:
        """An error inside closes as well, and goes on."""
        model = opened(subject, artifact.path)
        with pytest.raises(KeyError, match="mine"), model.runner:
            raise KeyError("mine")
        with pytest.raises(ContractError, match="closed"):
            model.runner.run({INPUT_NAME: images(model.metadata.batch)})

    def test_two_runners_of_one_file_agree(self, subject: Target, model: Model) -> None:
        """Closing one leaves the other open."""
        given = {INPUT_NAME: images(model.metadata.batch)}
        with opened(subject, model.path) as other:
            theirs = _copy(other.runner.run(given))
        ours = model.runner.run(given)
        assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []

    def test_execution_says_how_it_runs(self, model: Model) -> None:
        """Reports name the device or the threads behind a number."""
        execution = dict(model.runner.execution)
        assert execution
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in execution.items())

    def test_run_options_of_another_target_are_a_bug(self, subject: Target, artifact: Artifact) -> None:
        """`open` takes its own run options only."""
        from edgeseg.model.reference import ReferenceOptions

        with pytest.raises(TypeError):
            subject.open(artifact, ReferenceOptions())

    def test_unknown_run_option_is_refused(self, subject: Target) -> None:
        """`predict --option` with a misspelt key names it."""
        with pytest.raises(UsageError, match="no_such_option"):
            registry.parse_run_options(subject, {"no_such_option": 1})


def _sizes(metadata: ArtifactMetadata) -> tuple[tuple[Dimension, Dimension], Dimension]:
    """Size and batch as the head contract writes them for this file: numbers, or names where they are open."""
    size: tuple[Dimension, Dimension] = ("height", "width") if "size" in metadata.dynamic else IMAGE_SIZE
    return size, "batch" if "batch" in metadata.dynamic else metadata.batch


def _need_option(subject: Target, name: str) -> None:
    if name not in subject.options_type.model_fields:
        pytest.skip(f"{subject.name} has no option {name}")


def _check_batch(many: Model, single: Model, pictures: Array) -> None:
    """Every picture of a batch gives what it gives alone."""
    together = many.runner.run({INPUT_NAME: pictures})
    for index in range(len(pictures)):
        alone = single.runner.run({INPUT_NAME: pictures[index : index + 1]})
        wrong = [name for name in alone if _relative(together[name][index], alone[name][0]) > SAME_FILE]
        assert wrong == [], f"picture {index} of {len(pictures)}"


def _relative(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _copy(outputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in outputs.items()}
