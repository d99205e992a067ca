"""Ways to run a site: in each of its processes a monitor of its own works, and replicas come and go."""

from pathlib import Path

import pytest

from tests.servers.faults.test_faults import short
from tests.servers.product import on

MONITOR_BEFORE_FORK = f"--config={Path(__file__).with_name('monitor_before_fork.py')}"
LEADER_THAT_FAILS = f"--config={Path(__file__).with_name('leader_that_fails.py')}"


@pytest.mark.parametrize("database", on("mariadb", "postgresql"))
@pytest.mark.parametrize(
    "arguments", [["--preload"], [MONITOR_BEFORE_FORK]], ids=["preload", "fork-after-monitor"]
)
def test_forked(play, database, arguments):
    outcome = play(short(database, "gunicorn", "kill", "one", seconds=3.0, arguments=arguments))
    assert outcome.broken == []


@pytest.mark.product("postgresql")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_the_leader_fails_while_replicas_are_late(play, number):
    """What its last snapshot says of them is soon not true any more."""
    environment = {"LEADER_SIGNAL": number}
    arguments = [LEADER_THAT_FAILS]
    plan = short(
        "postgresql",
        "gunicorn",
        "delay",
        "all",
        seconds=8.0,
        requests=600,
        arguments=arguments,
        environment=environment,
    )
    outcome = play(plan)
    assert "The leader has failed." in outcome.log
    assert "The leader may go on." in outcome.log
    assert outcome.failed == []
    assert outcome.stale == []


@pytest.mark.parametrize("database", on("mariadb", "postgresql"))
def test_greenlets(play, database):
    pytest.importorskip("gevent", reason="gevent is not installed: greenlets are not tested")
    plan = short(
        database,
        "gunicorn",
        "kill",
        "one",
        seconds=3.0,
        arguments=["--worker-class=gevent"],
        # A greenlet has connections of its own, as a thread has, and there is one for each client.
        environment={"CONN_MAX_AGE": "0"},
    )
    assert play(plan).broken == []
