"""Written, received, replayed: what servers show of it, to whom, and what a replica is held up by."""

import threading
import time

import pytest
from django.db import connections

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.replication import Stage, ask_progress
from tests.app.models import Book
from tests.busy_clock import busy_clock

GRANTS = {
    "mariadb": ("GRANT {} ON *.* TO {}", "REVOKE {} ON *.* FROM {}", "REPLICA MONITOR"),
    "mysql": ("GRANT {} ON *.* TO {}", "REVOKE {} ON *.* FROM {}", "REPLICATION CLIENT"),
}


def steps(alias="replica1"):
    [found] = ask_progress([get_topology().clusters["default"]], timeout=2)
    return found, next(each for each in found.replicas if each.alias == alias)


@pytest.fixture
def privileged(product, cluster):
    """The application's user may see how replicas replicate; on PostgreSQL, everybody may."""
    if product not in GRANTS:
        yield
        return
    grant, revoke, privilege = GRANTS[product]
    user = connections.settings["default"]["USER"]
    [(host,)] = cluster.primary.sql(f"SELECT Host FROM mysql.user WHERE User = '{user}' LIMIT 1")
    account = f"'{user}'@'{host}'"
    cluster.primary.sql(grant.format(privilege, account))
    cluster.wait_all()
    yield
    cluster.heal()
    cluster.primary.sql(revoke.format(privilege, account))
    cluster.wait_all()


def test_level(product, cluster, privileged):
    Book.objects.create(title="new")
    cluster.wait_all()
    found, replica = wait_until(lambda each: each.stage is Stage.LEVEL)
    assert found.written
    assert (replica.to_receive, replica.to_replay) == (0, 0)
    assert replica.received
    assert replica.replayed
    assert found.unit == ("bytes" if product == "postgresql" else "transactions")


def test_a_paused_replica_receives_and_does_not_replay(cluster, privileged):
    replica = cluster.replicas[0]
    cluster.pause(replica)
    for number in range(3):
        Book.objects.create(title=str(number))
    found, one = wait_until(lambda each: each.to_receive == 0 and each.to_replay)
    assert one.stage is Stage.NOT_REPLAYING
    if found.unit == "transactions":
        assert one.to_replay == 3
    wait_until(lambda each: each.stage is Stage.LEVEL, "replica2")


def test_a_replica_that_receives_nothing(cluster, privileged):
    cluster.disconnect(cluster.replicas[0])
    Book.objects.create(title="new")
    _found, one = wait_until(lambda each: each.stage is Stage.NOT_RECEIVING)
    assert one.to_receive
    assert one.to_replay == 0
    cluster.heal()


def test_a_server_that_is_down(cluster):
    cluster.replicas[0].kill()
    _found, one = steps()
    assert one.stage is Stage.AWAY
    assert one.why
    assert str(cluster.replicas[0].port) not in one.why
    wait_until(lambda each: each.stage is Stage.LEVEL, "replica2")


def test_a_frozen_server_costs_two_seconds_and_one_thread(cluster):
    cluster.replicas[0].freeze()
    began = busy_clock()
    for _time in range(2):
        assert steps()[1].stage is Stage.AWAY
    assert busy_clock() - began < 12
    asking = [thread for thread in threading.enumerate() if thread.name == "rwrouter-survey-replica1"]
    assert len(asking) <= 1
    cluster.replicas[0].thaw()


def test_without_the_privilege_it_is_known_how_far_a_replica_is_and_not_why(product, cluster):
    if product not in GRANTS:
        pytest.skip("not for this product, which shows it to everybody")
    cluster.pause(cluster.replicas[0])
    Book.objects.create(title="new")
    _found, one = steps()
    assert one.stage is Stage.BEHIND
    assert (one.received, one.to_receive, one.to_replay) == ("", None, 1)
    assert one.progress.privilege == GRANTS[product][2]


def test_the_primary_is_down(cluster):
    cluster.primary.kill()
    try:
        found, one = steps()
        assert found.why
        assert found.written == ""
        assert one.replayed
        assert one.to_receive is None
    finally:
        cluster.primary.start()


def wait_until(condition, alias="replica1"):
    """Ask until it is so: PostgreSQL logs a little even while nobody writes."""
    deadline = time.monotonic() + 20
    while True:
        found, one = steps(alias)
        if condition(one):
            return found, one
        assert time.monotonic() < deadline, one
        time.sleep(0.05)
