"""The elected process is killed or stopped under load; ``python -m proofs sharing`` is the long form."""

from functools import partial

import pytest

from proofs.sharing import in_a_process, run_alone


@pytest.mark.parametrize(
    ("database", "trouble"),
    [
        pytest.param("mariadb", "kill", marks=pytest.mark.product("mariadb")),
        pytest.param("postgresql", "stop", marks=pytest.mark.product("postgresql")),
    ],
)
def test_one_probes_for_all_and_the_next_takes_over(database, trouble):
    [outcome] = in_a_process(partial(run_alone, database, [(trouble, 8)], 1.0, times=1, settled=3))
    print(outcome.log)
    assert outcome.broken == []
