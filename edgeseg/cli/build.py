"""`edgeseg build`: cards to verified artifacts and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, is_quiet, verbosity

if TYPE_CHECKING:
    from edgeseg.build.execute import Build, ExecuteOptions
    from edgeseg.build.plan import Plan


@click.command()
@click.argument("card", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--weights", type=click.Path(path_type=Path), help="Build from these; nothing is trained.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder of the results [default: runs/<name>].")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the card.")
@click.option("--only", multiple=True, metavar="TARGET", help="Build this target only: id, format or device.")
@click.option(
    "--isolation",
    type=click.Choice(["auto", "process", "venv", "docker"]),
    default="auto",
    help="Where targets run: here, in their venv, in their image [default: the first of these that is there].",
)
@click.option("--engine", default="", help="Command of the container engine [default: docker or podman].")
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local", help="On this machine, or a cluster.")
@click.option(
    "--jobs", type=click.IntRange(1), default=1, help="Targets at once, as far as memory allows [default: 1]."
)
@click.option("--force", multiple=True, metavar="STAGE", help="Run this stage in any case; all for every one.")
@click.option("--keep-going", is_flag=True, help="After a failed stage run those of its target that still can run.")
@click.option("--sign", type=click.Path(path_type=Path), metavar="KEY", help="Sign build.json with this SSH key.")
@click.option("--dry-run", is_flag=True, help="Print what would run and why, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print build.json.")
@verbosity
def command(card: tuple[Path, ...], **asked: Any) -> None:
    """Build every target of each CARD: train, export, inspect, verify against PyTorch, time, judge, report.

    What was built before and has not changed is not built again. A card with a `train` section trains first; with
    --weights nothing is trained.
    """
    from edgeseg.errors import UsageError

    if len(card) > 1 and asked["output"] is not None:
        raise UsageError("--output names the folder of one card", hint="leave it out: each card has runs/<name>")
    if asked["sign"] is not None and not asked["sign"].is_file():
        raise UsageError(f"--sign {asked['sign']}: no such key", hint="ssh-keygen -t ed25519 -f KEY makes one")
    plans = [_plan(path, asked) for path in card]
    options = _options(asked)
    if asked["dry_run"]:
        from edgeseg.build.explain import plan_lines

        for plan in plans:
            click.echo("\n".join(plan_lines(plan, options)))
        return
    try:
        builds = _build_all(plans, options, ray=asked["executor"] == "ray")
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on from the stages that have ended", err=True)
        raise
    _conclude(builds, asked["sign"], as_json=asked["as_json"])


def _plan(card: Path, asked: dict[str, Any]) -> Plan:
    from edgeseg.build.plan import make_plan
    from edgeseg.card.load import load_card
    from edgeseg.card.resolve import resolve

    resolved = resolve(load_card(card, asked["overrides"]), weights=asked["weights"])
    given = asked["weights"] is not None
    return make_plan(resolved, weights_given=given, only=asked["only"], output=asked["output"])


def _options(asked: dict[str, Any]) -> ExecuteOptions:
    from edgeseg.build.execute import ExecuteOptions
    from edgeseg.build.steps import STEPS
    from edgeseg.errors import UsageError, did_you_mean

    known = {*STEPS, "train", "gates", "bundle", "all"}
    for stage in asked["force"]:
        if stage not in known:
            raise UsageError(f"--force {stage}: there is no such stage", hint=did_you_mean(stage, known))
    return ExecuteOptions(
        isolation=asked["isolation"],
        engine=asked["engine"],
        jobs=asked["jobs"],
        force=frozenset(asked["force"]),
        keep_going=asked["keep_going"],
    )


def _build_all(plans: list[Plan], options: ExecuteOptions, *, ray: bool) -> list[Build]:
    from rich.console import Console

    from edgeseg.build.execute import execute, train

    # It shows its own progress.
    plans = [train(plan, force=bool({"train", "all"} & options.force)) for plan in plans]
    console = Console(stderr=True)
    with console.status("building") as status:
        if is_quiet() or not console.is_terminal:
            status.stop()

        def tell(target: str, stage: str, outcome: str) -> None:
            _tell(status, target, stage, outcome)

        if ray:
            from edgeseg.build.ray_cluster import execute_on_cluster

            return execute_on_cluster(plans, options, tell)
        return [execute(plan, options, tell) for plan in plans]


def _conclude(builds: list[Build], key: Path | None, *, as_json: bool) -> None:
    """Write the reports, show them, and end with the worst of the builds' errors."""
    from edgeseg.cli.build_table import print_build
    from edgeseg.report.build_report import build_json, write_reports

    for build in builds:
        written, page = write_reports(build)
        if not as_json:
            print_build(build, page)
        if key is not None:
            from edgeseg.signature import sign

            sign(written, key)
    if as_json:
        contents = [build_json(build) for build in builds]
        emit_json(contents[0] if len(contents) == 1 else contents)
    errors = [error for build in builds if (error := build.error()) is not None]
    if errors:
        raise next((error for code in (4, 5, 3) for error in errors if error.exit_code == code), errors[0])


def _tell(status: object, target: str, stage: str, outcome: str) -> None:
    import logging

    from rich.status import Status

    what = f"{target} {stage}".strip()
    if isinstance(status, Status):
        status.update(what)
    if outcome:
        level = logging.DEBUG if outcome == "cached" else logging.INFO
        logging.getLogger("edgeseg").log(level, "%s: %s", what, outcome)
