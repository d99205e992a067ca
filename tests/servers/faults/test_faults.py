"""Each fault once, with a few hundred requests; ``python -m proofs availability`` is the long form.

What a user may notice of it is in the promises of proofs/availability_run.py.
"""

import pytest

from proofs.availability_run import Plan
from proofs.load import Role


def short(database, server, fault, hit, **more):
    plan = {"requests": 300, "rate": 80.0, "users": 16, "workers": 2, "settle": 2.0, "busy": 2.0}
    return Plan(database=database, server=server, fault=fault, hit=hit, **{**plan, **more})


PLANS = [
    short("mariadb", "gunicorn", "kill", "one", seconds=3.0),
    short("mariadb", "uvicorn", "freeze", "one"),
    short("mariadb", "gunicorn", "stall", "all", seconds=5.0),
    short("mariadb", "gunicorn", "full", "one", seconds=3.0),
    short("mariadb", "uvicorn", "drop", "all", seconds=3.0),
    short("mariadb", "gunicorn", "flap", "one", seconds=12.0),
    short("mariadb", "gunicorn", "delay", "all", seconds=12.0, requests=600),
    short("mariadb", "gunicorn", "primary-freeze", "primary", seconds=8.0),
    short("mariadb", "gunicorn", "switchover", "primary", seconds=3.0),
    short("postgresql", "uvicorn", "kill", "all", seconds=3.0),
    short("postgresql", "gunicorn", "freeze", "one"),
    short("postgresql", "gunicorn", "restart", "all"),
    short("postgresql", "gunicorn", "reset", "one", seconds=3.0),
    short("postgresql", "uvicorn", "stop-applying", "all", seconds=7.0),
    short("postgresql", "gunicorn", "idle", "all", seconds=3.0),
    short("postgresql", "uvicorn", "primary-kill", "primary", seconds=3.0),
    short("postgresql", "gunicorn", "promotion", "primary", seconds=3.0),
]


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(
            plan,
            marks=pytest.mark.product(plan.database),
            id=f"{plan.database}-{plan.server}-{plan.fault}-{plan.hit}",
        )
        for plan in PLANS
    ],
)
def test_nobody_notices(play, plan):
    assert play(plan).broken == []


# --- the instrument finds what it looks for ------------------------------------------------------


def test_errors_are_found(play):
    """A user who names the database that dies."""
    insistent = (Role(level="eventual"), Role(level="eventual", using="replica1"))
    outcome = play(short("mariadb", "gunicorn", "kill", "one", seconds=2.0, roles=insistent))
    assert outcome.failed
    assert any("failed" in each for each in outcome.broken)


def test_stale_reads_are_found(play):
    """A user who writes, wants to see it, and reads what may be old."""
    careless = (Role(level="eventual", writes=0.1, excusable=False),)
    outcome = play(short("mariadb", "gunicorn", "stop-applying", "all", seconds=2.0, roles=careless))
    assert not outcome.failed
    assert any("stale" in each for each in outcome.broken)


@pytest.mark.product("postgresql")
def test_long_waits_are_found(play):
    """A user who names the database that says nothing."""
    insistent = (Role(level="eventual"), Role(level="eventual", using="replica1"))
    # A monitor would end the waits.
    environment = {"RWROUTER_MONITOR": "off"}
    more = {"seconds": 15.0, "roles": insistent, "environment": environment}
    outcome = play(short("postgresql", "gunicorn", "freeze", "one", **more))
    assert any("took longer" in each for each in outcome.broken)
