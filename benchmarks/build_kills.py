"""Kill -9 at random points of a real build, then build again: what had to run, and are the artifacts the same bytes?

    python benchmarks/build_kills.py CARD WEIGHTS [KILLS] [-- BUILD ARGUMENTS...]

First the card is built once without disturbance. Then, KILLS times, a build in a fresh folder is killed with all that
it started, at a moment drawn evenly from the duration of the first; the same command then runs to its end. A row says
when it was killed, which stages had ended by then, which of them ran once more, and whether every artifact is equal
to the undisturbed one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEED = 0


def main() -> None:
    """Print the table; exit 1 where an artifact differs or a stage that had ended ran again."""
    given = sys.argv[1:]
    words, extra = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    card, weights, kills = Path(words[0]).resolve(), Path(words[1]).resolve(), int((words[2:] or ["20"])[0])
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "edgeseg", "build", str(card), "--weights", str(weights), *extra]
        wanted, seconds = undisturbed(command, Path(name) / "undisturbed")
        print(f"undisturbed: {seconds:.1f} s, {', '.join(f'{k} {v[:12]}' for k, v in wanted.items())}")
        print(f"{'kill':>4} {'at s':>6} {'ended':>6} {'again':>6} {'ran':>4}  artifacts")
        bad = 0
        for number in range(1, kills + 1):
            output = Path(name) / f"killed-{number}"
            at = moments.uniform(0, seconds)
            kill_at(command, output, at)
            ended = manifests(output)
            finish(command, output)
            ran = set(stages_run(output))
            again = ended & ran
            same = hashes(output) == wanted
            bad += not same or bool(again)
            print(
                f"{number:>4} {at:>6.1f} {len(ended):>6} {len(again):>6} {len(ran):>4}  {'same' if same else 'OTHER'}"
            )
    print(f"{kills} kills, {bad} with a difference or a lost stage")
    sys.exit(bool(bad))


def undisturbed(command: list[str], output: Path) -> tuple[dict[str, str], float]:
    """Hashes of the artifacts, and seconds, of one build."""
    start = time.perf_counter()
    finish(command, output)
    return hashes(output), time.perf_counter() - start


def finish(command: list[str], output: Path) -> None:
    """Build to the end."""
    done = subprocess.run([*command, "-o", str(output), "-q"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def kill_at(command: list[str], output: Path, seconds: float) -> None:
    """Start a build and kill it; the processes that it started notice and end."""
    process = subprocess.Popen(
        [*command, "-o", str(output), "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def manifests(output: Path) -> set[str]:
    """Target and stage of everything that had ended."""
    found = (json.loads(path.read_text()) for path in output.rglob("*.manifest.json"))
    return {f"{one['target']} {one['stage']}".strip() for one in found if one["outcome"] == "passed"}


def stages_run(output: Path) -> list[str]:
    """Target and stage of everything that the last build ran itself."""
    content = json.loads((output / "build.json").read_text())
    return [f"{target['id']} {stage}" for target in content["targets"] for stage in target["seconds"]]


def hashes(output: Path) -> dict[str, str]:
    """Target to the hash of its artifact's bytes."""
    content = json.loads((output / "build.json").read_text())
    paths = {target["id"]: output / target["artifact"]["path"] for target in content["targets"]}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


if __name__ == "__main__":
    main()
