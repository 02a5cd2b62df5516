"""No outcome and no gate without words."""

from __future__ import annotations

from edgeseg.build.steps import TARGET_STEPS
from edgeseg.environments.image import ImageEnvironment
from edgeseg.environments.process import ProcessEnvironment
from edgeseg.environments.venv import VenvEnvironment
from edgeseg.gates import Gates
from edgeseg.report.words import ENVIRONMENTS, GATES, OUTCOMES

DESIGNED = (
    "passed card_invalid env_missing deferred export_failed quantize_failed compile_failed inspect_failed "
    "load_failed run_failed parity_failed metric_failed budget_failed skipped"
)


def test_every_designed_outcome_has_words_of_its_own() -> None:
    assert sorted(OUTCOMES) == sorted(DESIGNED.split())
    assert len({words.label for words in OUTCOMES.values()}) == len(OUTCOMES)


def test_every_step_fails_with_an_outcome_that_has_words() -> None:
    assert {step.failure for step in TARGET_STEPS} <= OUTCOMES.keys()


def test_every_gate_has_words_and_the_unit_of_its_name() -> None:
    assert GATES.keys() == Gates.model_fields.keys()
    for name, words in GATES.items():
        assert words.unit.lower() in name
        assert bool(words.unit) == any(f"_{unit}_" in name for unit in ("px", "ms", "mb"))


def test_every_kind_of_environment_has_words() -> None:
    kinds = [of("onnx").kind for of in (ProcessEnvironment, VenvEnvironment, ImageEnvironment)]
    assert sorted(kinds) == sorted(ENVIRONMENTS)
