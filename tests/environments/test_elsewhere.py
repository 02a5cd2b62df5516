"""Commands for a target that works in its venv only run there."""

from __future__ import annotations

from pathlib import Path

from tests.environments.third_party import ThirdParty


def _export(third_party: ThirdParty, weights: Path, output: Path, environments: Path, *more: str) -> tuple[int, str]:
    command: tuple[str | Path, ...] = ("export", weights, "--format", "small", "--output", output, *more)
    done = third_party.edgeseg(*command, EDGESEG_ENVIRONMENTS=str(environments))
    return done.returncode, done.stderr


def test_export_runs_in_the_venv(third_party: ThirdParty, made_venv: Path, tiny_weights: Path, tmp_path: Path) -> None:
    code, said = _export(third_party, tiny_weights, tmp_path / "out", made_venv)
    assert said.startswith(f"small is not usable here, but in its venv: running in {made_venv / 'small'}\n")
    # That small venv has nothing that reads weights: its own word is the last, and there is no other round.
    assert said.count("running in") == 1
    assert (code, "needs the package 'safetensors'" in said) == (3, True), said


def test_without_a_venv_the_target_is_missing(third_party: ThirdParty, tiny_weights: Path, tmp_path: Path) -> None:
    code, said = _export(third_party, tiny_weights, tmp_path / "out", tmp_path)
    assert (code, "humanize is not installed" in said, "running in" in said) == (3, True, False)


def test_a_wrong_request_is_said_before_what_is_missing(
    third_party: ThirdParty, tiny_weights: Path, tmp_path: Path
) -> None:
    code, said = _export(third_party, tiny_weights, tmp_path / "out", tmp_path, "--precision", "int4")
    assert (code, said) == (2, "error: small has no precision 'int4'\n  hint: supported: fp32\n")
