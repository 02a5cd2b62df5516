"""How the threads of OpenMP wait for the next layer: said by environment variables, before a runtime is imported."""

from __future__ import annotations

from collections.abc import MutableMapping

WAIT_POLICY = "OMP_WAIT_POLICY"

BRIEFLY = "10000"
"""Turns of GNU OpenMP's waiting loop, about 0.1 ms: longer than the gap between two layers."""


def limit_spinning(variables: MutableMapping[str, str], *, alone: bool) -> None:
    """Set the variables, unless the user has said how threads wait.

    Args:
        variables: the environment of this process, or of one to be started.
        alone: whether the process mostly has the device to itself: sleeping between two layers would cost it a fifth
            of the time. Beside others, threads that spin take their processor.
    """
    if WAIT_POLICY in variables:
        return
    # By itself GNU OpenMP spins for some milliseconds: beside one busy process a run takes eight times as long.
    variables[WAIT_POLICY] = "PASSIVE"
    if alone:
        variables.setdefault("GOMP_SPINCOUNT", BRIEFLY)
