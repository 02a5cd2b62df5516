"""Conformance: what a target says about itself before anything is exported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeseg import registry
from edgeseg.errors import UsageError
from edgeseg.export import checked_precision
from edgeseg.gates import PARITY_DEFAULTS
from edgeseg.target import Capabilities, EnvReport, Options, Target
from edgeseg.testing.probe import VENDOR_MODULES, modules_of, run_probe
from edgeseg.testing.suite import Exports, TargetSuite

CHECK_ENV_S = 2.0
"""`check_env` reads package metadata, in milliseconds; the rest is for a machine that is busy."""

KINDS = pytest.mark.parametrize("kind", ["options_type", "run_options_type"])


class DeclarationTests(TargetSuite):
    """Attributes, options, environment."""

    def test_attributes_have_their_types(self, subject: Target) -> None:
        """Core reads these of every target."""
        assert isinstance(subject, Target)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", subject.name)
        assert subject.summary
        assert "\n" not in subject.summary
        assert isinstance(subject.capabilities, Capabilities)
        assert issubclass(subject.options_type, Options)
        assert issubclass(subject.run_options_type, Options)

    def test_capabilities_make_sense(self, subject: Target) -> None:
        """At least one precision, none twice, each with parity gates; a suffix with its dot."""
        precisions = subject.capabilities.precisions
        assert isinstance(precisions, tuple)
        assert precisions
        assert len(set(precisions)) == len(precisions)
        assert set(precisions) <= PARITY_DEFAULTS.keys()
        assert re.fullmatch(r"(\.[a-z0-9_]+)?", subject.capabilities.suffix)

    @KINDS
    def test_option_defaults_round_trip_through_json(self, subject: Target, kind: str) -> None:
        """A stage in another environment gets its options as JSON."""
        options = getattr(subject, kind)
        assert options.model_validate_json(options().model_dump_json()) == options()

    @KINDS
    def test_options_say_what_they_do(self, subject: Target, kind: str) -> None:
        """`edgeseg card show` and the READMEs print the description."""
        assert all(field.description for field in getattr(subject, kind).model_fields.values())

    @KINDS
    def test_unknown_option_is_refused_by_name(self, subject: Target, kind: str) -> None:
        """A misspelt option is an error, never ignored."""
        with pytest.raises(UsageError, match="no_such_option"):
            registry.parse_options(getattr(subject, kind), {"no_such_option": 1}, "option")

    def test_unsupported_precision_is_refused_with_the_supported_ones(self, subject: Target) -> None:
        """Never replaced by a near one."""
        with pytest.raises(UsageError, match="fp7") as caught:
            checked_precision(subject, "fp7")
        assert all(precision in caught.value.hint for precision in subject.capabilities.precisions)

    def test_check_env_names_versions_or_problems(self, subject: Target) -> None:
        """What is missing comes with what mends it."""
        report = subject.check_env()
        assert isinstance(report, EnvReport)
        assert report.usable or report.remedy

    def test_importing_and_checking_import_no_sdk(self, subject: Target) -> None:
        """`edgeseg targets` and `predict` import every target, so each must cost milliseconds."""
        result = run_probe(subject)
        sdk = VENDOR_MODULES | modules_of(set(subject.check_env().versions))
        assert not sdk & set(result.modules)
        assert result.seconds < CHECK_ENV_S

    def test_absent_sdk_is_a_sentence_and_not_a_crash(self, subject: Target, exports: Exports) -> None:
        """With every package hidden that it needs here, it says so, and opening gives an EnvironmentMissingError."""
        artifact = exports.get(subject)
        report = subject.check_env()
        packages = set(report.versions) - set(report.optional)
        if not packages:
            pytest.skip(f"{subject.name} needs no package of its own")
        result = run_probe(subject, "open", hidden=sorted(packages | modules_of(packages)), path=artifact.path)
        assert all(any(package in problem for problem in result.problems) for package in packages)
        assert result.error in ("", "EnvironmentMissingError"), result.message

    def test_a_path_that_does_not_exist_is_not_recognized(self, subject: Target, tmp_path: Path) -> None:
        """`recognizes` answers, it does not raise."""
        assert subject.recognizes(tmp_path / "absent") is False
