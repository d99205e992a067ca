"""``manage.py rwrouter status`` on real servers that are killed, frozen, late, or the wrong ones."""

import contextlib
import io
import json
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from django_rwrouter.operations import overrides
from tests.app.models import Book
from tests.busy_clock import busy_clock
from tests.servers.mariadb import settings as ours

SECONDS = 2 * 1.0 + 1.5
"""In which the status must be there whatever has become of the servers: the timeout, what a replica is given
to catch up, and what a busy machine adds."""


def rwrouter(*arguments):
    output = io.StringIO()
    call_command("rwrouter", *arguments, stdout=output, no_color=True)
    return output.getvalue()


def status():
    """Return the servers by alias, and how long it took to ask them."""
    started = busy_clock()
    output = io.StringIO()
    with contextlib.suppress(SystemExit):  # If the primary is away.
        call_command("rwrouter", "status", "--json", stdout=output)
    seconds = busy_clock() - started
    [cluster] = json.loads(output.getvalue())["clusters"]
    return {server["alias"]: server for server in cluster["servers"]}, seconds


def test_servers_that_are_well(cluster, administration):
    Book.objects.create(title="new")
    administration.level()
    servers, _seconds = status()
    assert {alias: (each["condition"], each["role"]) for alias, each in servers.items()} == {
        "default": ("healthy", "primary"),
        "replica1": ("healthy", "replica"),
        "replica2": ("healthy", "replica"),
    }
    assert servers["default"]["lag"] is None
    assert 0 < servers["replica1"]["lag"] < SECONDS
    assert servers["replica1"]["position"] == servers["default"]["position"] != ""
    assert [each["is_level"] for each in servers.values()] == [False, True, True]


def test_a_killed_replica(cluster, replica):
    replica.kill()
    servers, _seconds = status()
    assert servers["replica1"]["condition"] == "unreachable"
    assert servers["replica1"]["failure"] == "OperationalError 2002"
    assert servers["replica2"]["condition"] == "healthy"


def test_a_frozen_replica_is_waited_for_no_longer_than_the_timeout(cluster, replica):
    replica.freeze()
    servers, seconds = status()
    assert servers["replica1"]["condition"] == "unreachable"
    assert servers["replica2"]["condition"] == "healthy"
    assert seconds < SECONDS


def test_a_replica_that_lags(lagging):
    Book.objects.create(title="new")
    servers, seconds = status()
    assert servers["replica1"]["condition"] == "healthy"
    assert servers["replica1"]["lag"] is None
    assert servers["replica1"]["lag_at_least"] >= 0.9
    assert servers["replica1"]["position"] != servers["default"]["position"]
    assert seconds < SECONDS


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_a_primary_that_is_away(cluster, trouble):
    getattr(cluster.primary, trouble)()
    servers, seconds = status()
    assert servers["default"]["condition"] == "unreachable"
    assert {servers[alias]["condition"] for alias in ours.REPLICAS} == {"healthy"}
    assert seconds < SECONDS


def test_a_primary_that_takes_no_writes_is_shown_in_its_role(cluster, administration):
    administration.ask(cluster.primary, "SET GLOBAL read_only = ON")
    try:
        said = rwrouter("status")
    finally:
        administration.ask(cluster.primary, "SET GLOBAL read_only = OFF")
    assert "default: it takes no writes, as a replica" in said


def test_neither_address_nor_user_nor_password_is_shown(cluster, replica):
    replica.kill()
    said = rwrouter("status") + rwrouter("status", "--json")
    for secret in (ours.PASSWORD, "127.0.0.1", str(replica.port)):
        assert secret not in said


def test_a_drain_is_refused_plainly_while_the_primary_is_down(cluster):
    cluster.primary.kill()
    with pytest.raises(CommandError, match=r"The primary 'default' could not be asked \(OperationalError 20"):
        rwrouter("drain", "replica1")


def test_a_drained_replica_is_shown_to_a_process_that_has_just_begun(cluster):
    overrides.drain("replica1", "a new disk", "kim")
    servers, _seconds = status()
    assert servers["replica1"]["condition"] == "drained"
    assert servers["replica1"]["drained"]["by"] == "kim"


def test_a_read_at_the_level_causal_is_explained_with_positions(cluster):
    said = json.loads(rwrouter("explain", "app.Book", "--level", "causal", "--token-age", "1.5", "--json"))
    assert (said["outcome"]["reason"], said["outcome"]["among"]) == ("causal", ours.REPLICAS)
    assert (said["otherwise"]["reason"], said["otherwise"]["among"]) == ("behind", ["default"])


def test_a_replica_that_is_the_primary_under_another_name_is_never_behind(cluster, monkeypatch):
    port = str(cluster.primary.port)
    monkeypatch.setitem(connections.settings["replica1"], "PORT", port)
    monkeypatch.setitem(
        connections.settings["replica1"], "OPTIONS", connections.settings["default"]["OPTIONS"]
    )
    connections.close_all()
    servers, _seconds = status()
    assert servers["replica1"]["lag"] == 0


def test_what_the_running_processes_know_is_shown(cluster, replica, board):
    def status_when(there, else_):
        """Return the status of replica1 as soon as it is as wanted."""
        deadline = time.monotonic() + 60
        while True:
            said = json.loads(board.ask("rwrouter", "status", "--json"))
            [now] = said["clusters"]
            server = next(each for each in now["servers"] if each["alias"] == "replica1")
            if there(server["opinions"]):
                return server
            assert time.monotonic() < deadline, f"{else_} {said}"

    def visit_all(opinions):
        if opinions == {"healthy": 2}:
            return True
        for _ in range(8):
            browser = site.browser()
            assert browser.get("/api/latest/?author=nobody").status == 404
            browser.close()
        return False

    quick = {"RWROUTER_FLUSH_SECONDS": "0.5", "RWROUTER_MONITOR_INTERVAL": "0.2"}
    with board.serve(workers=2, RWROUTER_CONSISTENCY="eventual", **quick) as site:
        status_when(visit_all, "Not all processes have written.")
        replica.kill()
        now = status_when(lambda opinions: opinions == {"ejected": 2}, "Not all have ejected it.")
        assert (now["condition"], now["failure"]) == ("unreachable", "OperationalError 2002")
        cluster.heal()
        now = status_when(lambda opinions: opinions == {"healthy": 2}, "Not all have taken it back.")
        assert now["condition"] == "healthy"
        assert 0 <= now["lag"] < 5
