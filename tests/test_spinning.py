"""How OpenMP's threads wait."""

from __future__ import annotations

import pytest

from edgeseg.spinning import BRIEFLY, limit_spinning


@pytest.mark.parametrize(
    ("given", "alone", "expected"),
    [
        ({}, True, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": BRIEFLY}),
        ({}, False, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({"GOMP_SPINCOUNT": "7"}, True, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, True, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_spin_as_the_user_says_else_briefly_or_not_at_all(
    given: dict[str, str], alone: bool, expected: dict[str, str]
) -> None:
    limit_spinning(given, alone=alone)
    assert given == expected
